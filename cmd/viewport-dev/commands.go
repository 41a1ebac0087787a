package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

// commands is what people are told when everything is ready.
type commands struct {
	ready
	Viewport, Home         string
	ClientFile, DaemonFile string // hold the tokens
	LegacyFile             string // holds Legacy's
	HasDaemon              bool
}

var commandsText = template.Must(template.New("").Funcs(template.FuncMap{"sh": shellWord}).Parse(
	`Ready; Ctrl-C ends all of it.

  relay     {{.Relay}}, plain gRPC
  admin     {{.Admin}}
  platform  {{.Platform}}, keys at {{.JWKS}}
  daemon    {{if .HasDaemon}}serves target {{.Target}} of workspace {{.Workspace}}{{else}}none (--no-daemon){{end}}
  keys      {{.Home}}

Paste these in another terminal, here, as often as you like.
{{if .HasDaemon}}
A shell on the daemon, through the relay (~. at the start of a line ends it):
  {{.Attach}}
One command, with its exit status:
  {{.Attach}} -- uname -a
{{else}}
A daemon:
  {{.DaemonCommand}}
A shell on it, through the relay (~. at the start of a line ends it):
  {{.Attach}}
{{end}}
What the relay can tell its operator:
  {{.Grpcurl}} list
  {{.Grpcurl}} viewport.relay.v1.AdminService/GetStatus
  {{.Grpcurl}} viewport.relay.v1.AdminService/ListTargets
  {{.Grpcurl}} viewport.relay.v1.AdminService/ListConnections
  curl -s http://{{.Relay}}/health
  curl -s -H {{sh .Bearer}} http://{{.Admin}}/metrics
A token for anything else:
  curl -s {{.Platform}}/dev/tokens -d {{sh .Claims}}
A pairing string for another client's --pair (one use, 10 minutes):
  {{.Pairing}}
{{with .Legacy}}
Today's protocol (--legacy), as target {{.Target}}: a daemon that answers each message with itself, and its client.
In a browser on this machine:
  {{.Page}}
The daemon's key, and the client's token for 24 hours:
  {{.DaemonKey}}
  {{$.LegacyFile}}
Whether the relay opens a WebSocket for it:
  {{$.Upgrade}}
{{end}}`))

func printCommands(w io.Writer, c commands) error { return commandsText.Execute(w, c) }

// Bearer is the admin token as a header.
func (c commands) Bearer() string { return "authorization: Bearer " + c.AdminToken }

// Claims are those of a client's token.
func (c commands) Claims() string {
	return `{"role":"client","workspaceId":"` + c.Workspace + `","runtimeTargetId":"` + c.Target + `","ttlSeconds":3600}`
}

// Attach is the command for a shell.
func (c commands) Attach() string { return c.endpoint("attach", c.ClientFile) }

// DaemonCommand is the command for a daemon.
func (c commands) DaemonCommand() string { return c.endpoint("daemon", c.DaemonFile) }

// Upgrade is a command that opens a WebSocket as a page does, and says nothing on it.
func (c commands) Upgrade() string {
	return `curl -si --max-time 1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' ` +
		`-H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' ` +
		`-H "Sec-WebSocket-Protocol: viewport.v1, auth.$(cat ` + shellWord(c.LegacyFile) + `)" ` +
		shellWord("http"+strings.TrimPrefix(c.Legacy.URL, "ws"))
}

// Grpcurl is how to ask the admin listener, up to what to ask.
func (c commands) Grpcurl() string {
	return "go tool -modfile=tools/go.mod grpcurl -plaintext -H " + shellWord(c.Bearer()) + " " + c.Admin
}

func (c commands) endpoint(command, token string) string {
	words := []string{"VIEWPORT_HOME=" + shellWord(c.Home), shellWord(c.Viewport), command, "--relay", c.Relay,
		"--workspace", shellWord(c.Workspace), "--target", shellWord(c.Target), "--token-file", shellWord(token)}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// shellWord is s as one word of a shell command.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// relative is path as it is shortest to type from here.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	short, err := filepath.Rel(here, path)
	if err != nil || strings.HasPrefix(short, "..") || !strings.Contains(short, "/") {
		return path
	}
	return short
}
