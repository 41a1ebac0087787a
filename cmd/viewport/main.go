// Command viewport is the endpoint: `daemon` serves terminals on this machine, `attach` opens one from anywhere, `pair`
// and `identity` manage who trusts whom. It parses, wires and reports; sessions are package client's, and what the two
// sides say to each other inside one is docs/terminal.md.
//
// Exit codes: those of the remote command for attach; otherwise 0, 1 for a failure and 2 for a bad command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/getviewport/relay/client"
)

const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitAttach  = 255 // attach itself failed, as with ssh
)

// version is set by the linker (Makefile).
var version = "unknown"

type cli struct {
	Home    string           `env:"VIEWPORT_HOME" help:"Where keys and pairings lie (default: ~/.viewport)." placeholder:"DIR"`
	Version kong.VersionFlag `help:"Print the version."`

	Identity identityCommand `cmd:"" help:"Show this machine's key for a workspace; make it if there is none."`
	Pair     pairCommand     `cmd:"" help:"Print a pairing string for a client of this machine's daemon: one use, 10 minutes."`
	Daemon   daemonCommand   `cmd:"" help:"Serve terminals on this machine until SIGTERM or SIGINT."`
	Attach   attachCommand   `cmd:"" help:"Run a command, or a shell, on a daemon's machine."`
}

// connection are the flags that say where to connect and as whom.
type connection struct {
	Relay      string `env:"VIEWPORT_RELAY" required:"" help:"The relay: https://host[:port], http://host[:port] or host:port (plain on loopback, else TLS)." placeholder:"ADDRESS"`
	Workspace  string `env:"VIEWPORT_WORKSPACE" help:"The workspace." placeholder:"ID"`
	Target     string `env:"VIEWPORT_TARGET" help:"The runtime target: the machine that the daemon serves." placeholder:"ID"`
	Token      string `env:"VIEWPORT_TOKEN" help:"The relay token. On a command line others can see it: prefer the variable or the file." placeholder:"JWT"`
	TokenFile  string `env:"VIEWPORT_TOKEN_FILE" help:"File with the relay token, read before each connection." placeholder:"FILE" type:"path"`
	RequirePSK bool   `name:"require-psk" env:"VIEWPORT_REQUIRE_PSK" help:"Refuse handshakes without a pre-shared key (policy crypto_pairing)."`
	Verbose    bool   `short:"v" help:"Say more on standard error."`
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
	switch parsed.Selected().Name {
	case "identity":
		err = c.Identity.run(c.Home, os.Stdout)
	case "pair":
		err = c.Pair.run(c.Home, os.Stdout, os.Stderr)
	case "daemon":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = c.Daemon.run(ctx, c.Home, os.Stdout, os.Stderr)
	case "attach":
		return c.Attach.run(c.Home)
	}
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "viewport:", err)
		return exitUsage
	case err != nil:
		fmt.Fprintln(os.Stderr, "viewport:", err)
		return exitFailure
	}
	return exitOK
}

// usageError is a mistake of whoever typed the command.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// config is the connection as package client takes it.
func (c *connection) config(log *slog.Logger) (client.Config, error) {
	if c.Workspace == "" || c.Target == "" {
		return client.Config{}, &usageError{"--workspace and --target are needed (or VIEWPORT_WORKSPACE and VIEWPORT_TARGET)"}
	}
	source, err := c.tokenSource()
	if err != nil {
		return client.Config{}, err
	}
	return client.Config{
		Relay: c.Relay, Workspace: c.Workspace, Target: c.Target, Token: source,
		Version: "viewport " + shorten(version, 48), RequirePSK: c.RequirePSK, Log: log,
	}, nil
}

func shorten(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func newLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// command is what stands behind "--".
type command struct {
	Command []string `arg:"" optional:"" passthrough:"" help:"-- and the command with its arguments."`
}

func (c *command) words() []string {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		return c.Command[1:]
	}
	return c.Command
}
