package main

import (
	"log/slog"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
)

// connection are the flags that say where to connect and as whom.
type connection struct {
	Relay      string `env:"VIEWPORT_RELAY" help:"The relay: https://host[:port], http://host[:port] or host:port (plain on loopback, else TLS); wss://host[:port][/path] or ws://… for WebSocket alone." placeholder:"ADDRESS"`
	Workspace  string `env:"VIEWPORT_WORKSPACE" help:"The workspace." placeholder:"ID"`
	Target     string `env:"VIEWPORT_TARGET" help:"The runtime target: the machine that the daemon serves." placeholder:"ID"`
	Token      string `env:"VIEWPORT_TOKEN" help:"The relay token. On a command line others can see it: prefer the variable or the file." placeholder:"JWT"`
	TokenFile  string `env:"VIEWPORT_TOKEN_FILE" help:"File with the relay token, read before each connection." placeholder:"FILE"`
	RequirePSK bool   `name:"require-psk" env:"VIEWPORT_REQUIRE_PSK" help:"Refuse handshakes without a pre-shared key (policy crypto_pairing)."`
	Verbose    bool   `short:"v" env:"VIEWPORT_VERBOSE" help:"Say more on standard error."`
}

// preferTyped drops the token that came from the environment where the other kind was typed.
func (c *connection) preferTyped(parsed *kong.Context) {
	token, file := false, false
	for _, p := range parsed.Path {
		token = token || p.Flag != nil && p.Flag.Name == "token"
		file = file || p.Flag != nil && p.Flag.Name == "token-file"
	}
	switch {
	case token && !file:
		c.TokenFile = ""
	case file && !token:
		c.Token = ""
	}
}

// config is the connection as package client takes it.
func (c *connection) config(log *slog.Logger) (client.Config, error) {
	token := c.Token + c.TokenFile
	if err := need("--relay", c.Relay, "--workspace", c.Workspace, "--target", c.Target, "--token-file", token); err != nil {
		return client.Config{}, err
	}
	if err := checkNames("--workspace", c.Workspace, "--target", c.Target); err != nil {
		return client.Config{}, err
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

// need takes flags with their values and names those that have none.
func need(flags ...string) error {
	var missing []string
	for i := 0; i < len(flags); i += 2 {
		if flags[i+1] == "" {
			variable := "VIEWPORT_" + strings.ReplaceAll(strings.ToUpper(flags[i][2:]), "-", "_")
			missing = append(missing, flags[i]+" (or "+variable+")")
		}
	}
	if missing != nil {
		return &usageError{"missing: " + strings.Join(missing, ", ")}
	}
	return nil
}

// checkNames takes flags with their values.
func checkNames(flags ...string) error {
	for i := 0; i < len(flags); i += 2 {
		if !identity.ValidName(flags[i+1]) {
			return &usageError{flags[i] + " takes 1 to 128 characters of A-Z a-z 0-9 . _ : -"}
		}
	}
	return nil
}

func shorten(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// command is what stands behind "--".
type command struct {
	Command arguments `arg:"" optional:"" passthrough:"partial" help:"-- and the command with its arguments."`
}

// arguments are taken as they are: the parser's own lists of strings pass through JSON, which knows no bytes but UTF-8.
type arguments []string

// Decode takes all that follows (kong.MapperValue).
func (a *arguments) Decode(ctx *kong.DecodeContext) error {
	for token := ctx.Scan.Pop(); !token.IsEOL(); token = ctx.Scan.Pop() {
		*a = append(*a, token.String())
	}
	return nil
}

func (c *command) words() []string {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		return c.Command[1:]
	}
	return c.Command
}
