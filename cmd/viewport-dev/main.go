// Command viewport-dev is a relay and a platform for development in one process. Without a command it runs both and a
// daemon until Ctrl-C and prints commands to try (with --legacy also a daemon of today's protocol, and a page that is its
// client); `demo` runs a real encrypted session through a relay, reads both
// links while it does so, and says what they showed. `chaos` and `storm` run the real relay as a process, kill it and
// cut its links, and count what was lost.
//
// It is never part of a release: its platform gives tokens to anybody on this machine.
//
// Exit codes: 0 a clean end, 1 a failure, 2 a bad command line.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// version is set by the linker (Makefile).
var version = "unknown"

type cli struct {
	Version kong.VersionFlag `help:"Print the version."`

	Run      runCommand      `cmd:"" default:"withargs" help:"Run relay, development platform and one daemon until Ctrl-C."`
	Demo     demoCommand     `cmd:"" help:"Run a real encrypted session through a relay and show what the relay saw."`
	Chaos    chaosCommand    `cmd:"" help:"Kill the relay and cut its links at random, and count what is lost."`
	Storm    stormCommand    `cmd:"" help:"Cut thousands of clients at once, and see them come back."`
	Peer     peerCommand     `cmd:"" hidden:"" help:"The far end of the demo's push."`
	Endpoint endpointCommand `cmd:"" hidden:"" help:"A daemon or clients of chaos and storm."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run does one command and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, kong.Name("viewport-dev"), kong.Writers(stdout, stderr),
		kong.Vars{"version": "viewport-dev " + version}, kong.Exit(func(n int) { code = n }),
		kong.Description("Relay and development platform in one process. For this machine only: its platform gives tokens "+
			"to anybody here."))
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "viewport-dev:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if code >= 0 { // --help or --version
		return code
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "viewport-dev: %v\nTry viewport-dev --help.\n", err)
		return exitUsage
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it is
		signals = append(signals, syscall.SIGHUP)
	}
	// A second signal changes nothing: the end is bounded in time, and without it processes would be left behind.
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()

	switch parsed.Selected().Name {
	case "demo":
		err = c.Demo.run(ctx, stdout)
	case "chaos":
		err = c.Chaos.run(ctx, stdout, stderr)
	case "storm":
		err = c.Storm.run(ctx, stdout, stderr)
	case "endpoint":
		err = c.Endpoint.run(ctx, stdin, stdout, stderr)
	case "peer":
		err = c.Peer.run(stdin, stdout)
	default:
		err = c.Run.run(ctx, stdout, stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "viewport-dev:", err)
		return exitFailure
	}
	return exitOK
}
