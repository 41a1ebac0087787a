// Command viewport-relay is the relay as an operator runs it: `serve`, `check` and `version`. It parses the
// configuration, checks it and wires package server; what a setting means stands in docs/configuration.md, which it
// generates.
//
// Exit codes: 0 a clean end (after SIGTERM or SIGINT, or a good configuration), 1 a failure while it starts or runs, 2
// a bad configuration or command line. A second signal ends it at once, without draining.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/getviewport/relay/cmd/viewport-relay/internal/config"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitConfig  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run does one command and returns the exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	c, command, err := parse(args, stdout, stderr)
	if err != nil {
		say(stderr, "viewport-relay: %v\nTry viewport-relay --help.", err)
		return exitConfig
	}
	switch command {
	case "serve":
		return serve(c.Serve.options(), environ, stderr)
	case "check":
		if c.Check.Docs {
			_, _ = io.WriteString(stdout, config.Reference())
			return exitOK
		}
		return check(c.Check.options(), c.Check.Strict, environ, stdout)
	default:
		say(stdout, "viewport-relay %s", describe(buildVersion()))
		return exitOK
	}
}

// check prints what there is to know about the configuration and starts nothing.
func check(o config.Options, strict bool, environ []string, stdout io.Writer) int {
	cfg, problems := config.Load(environ, o)
	for _, p := range problems {
		say(stdout, "%s", p)
	}
	switch {
	case !config.Usable(problems, false):
		say(stdout, "The configuration is not usable.")
		return exitConfig
	case strict && !config.Usable(problems, true):
		say(stdout, "The relay would start, but there are warnings (--strict).")
		return exitConfig
	}
	admin := cfg.AdminListen
	if admin == "" {
		admin = "closed (no RELAY_ADMIN_TOKEN)"
	}
	transport := "plain"
	if cfg.TLSCert != "" {
		transport = "TLS"
	}
	say(stdout, "The configuration is good: public port %s (%s), admin listener %s.", cfg.Listen, transport, admin)
	return exitOK
}

// newLogger makes the relay's log.
func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// say prints for people. That nobody reads it is no reason to fail.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
