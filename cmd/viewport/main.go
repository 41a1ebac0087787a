// Command viewport is the endpoint: `daemon` serves terminals on this machine, `attach` opens one from anywhere, `pair`
// and `identity` manage who trusts whom. It parses, wires and reports; sessions are package client's, and what the two
// sides say to each other inside one is docs/terminal.md.
//
// Exit codes: those of docs/terminal.md for attach; otherwise 0, 1 for a failure. A bad command line is always 2.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128 // and the signal's number
	exitAttach  = 255 // attach itself failed, as with ssh
)

// version is set by the linker (Makefile).
var version = "unknown"

type cli struct {
	Home    string           `env:"VIEWPORT_HOME" help:"Where keys and pairings lie (default: ~/.viewport)." placeholder:"DIR"`
	Version kong.VersionFlag `help:"Print the version."`

	Identity identityCommand `cmd:"" help:"Show this machine's key for a workspace; make it if there is none."`
	Pair     pairCommand     `cmd:"" help:"Print a pairing string for a client of this machine's daemon: one use, 10 minutes."`
	Daemon   daemonCommand   `cmd:"" help:"Serve terminals on this machine until SIGINT, SIGTERM or SIGHUP."`
	Attach   attachCommand   `cmd:"" help:"Run a command, or a shell, on a daemon's machine."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, kong.Name("viewport"), kong.Vars{"version": "viewport " + version},
		kong.Exit(func(n int) { code = n }),
		kong.Description("A daemon's and a client's side of a Viewport relay. What passes the relay is encrypted between the two."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "viewport:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if code >= 0 { // --help or --version
		return code
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "viewport: %v\nTry viewport --help.\n", err)
		return exitUsage
	}
	failed := exitFailure
	switch parsed.Selected().Name {
	case "identity":
		err = c.Identity.run(c.Home, os.Stdout)
	case "pair":
		err = c.Pair.run(c.Home, os.Stdout, os.Stderr)
	case "daemon":
		c.Daemon.preferTyped(parsed)
		err = c.Daemon.run(c.Home, os.Stdout, os.Stderr)
	case "attach":
		c.Attach.preferTyped(parsed)
		failed, err = c.Attach.run(c.Home)
		if err == nil {
			return failed
		}
	}
	return report(err, failed)
}

// report says why a command failed, unless its user knows, and returns the exit code.
func report(err error, failed int) int {
	if err == nil {
		return exitOK
	}
	if code, known := quietEnd(err, failed); known {
		return code
	}
	fmt.Fprintln(os.Stderr, "viewport:", explain(err))
	if _, usage := errors.AsType[*usageError](err); usage {
		return exitUsage
	}
	return failed
}

// newLog writes to w; a terminal in raw mode needs a carriage return at each line's end, any other takes it.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w = carriageReturns{w}
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

type carriageReturns struct{ w io.Writer }

// Write is called with whole lines, one at a time (slog.TextHandler).
func (c carriageReturns) Write(line []byte) (int, error) {
	if _, err := c.w.Write(append(line[:len(line)-1:len(line)-1], "\r\n"...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// quietEnd tells the ends that need no words: Ctrl-C, and a reader of our output that has had enough, as head(1).
func quietEnd(err error, failed int) (code int, known bool) {
	switch {
	case failed == exitSignal+int(syscall.SIGINT):
		return failed, true
	case errors.Is(err, syscall.EPIPE):
		return exitSignal + int(syscall.SIGPIPE), true
	}
	return 0, false
}
