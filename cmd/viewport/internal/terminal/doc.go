// Package terminal is what `viewport attach` and `viewport daemon` say to each other inside a session: which command to
// run, its input and output, window sizes, signals and the exit status (docs/terminal.md).
//
// Serve is the daemon's side: it runs the command, in a pseudo-terminal or with pipes, and leaves no process behind.
// Attach is the client's side: it joins the local terminal to the command and puts the local terminal back at every
// end.
//
// The package knows nothing of links, keys and relays: it sends and receives messages through a Conn.
package terminal

import "context"

// Conn is one session as this package needs it; *client.Session is one.
type Conn interface {
	// Send sends one message, at most MaxMessage bytes here, and waits while the peer's window is full. It does not keep
	// message after it returned. Serve calls it from several goroutines, one at a time.
	Send(ctx context.Context, message []byte) error
	// Recv returns the next message, which is valid until the next Recv; io.EOF after the peer's clean close.
	Recv(ctx context.Context) ([]byte, error)
	// CloseWrite says that nothing more is sent. The caller of Serve or Attach closes the session itself.
	CloseWrite() error
}
