// Package endpoint is the body of a process that is a daemon, or any number of clients, of the SDK: it plays sessions
// that push numbered blocks (package ledger) both ways, and tells what it sent and what it got. `viewport-dev chaos`
// and `storm` run it as a child process.
//
// It is told what to do on its standard input, a line of JSON (Config) and then commands, and tells what happens on its
// standard output, lines of JSON (Event). When its input ends it ends, whatever it is at: nothing outlives its parent.
package endpoint
