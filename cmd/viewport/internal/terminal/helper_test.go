package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/getviewport/relay/cmd/viewport/internal/desk"
)

// helper runs in a process of its own, at its own terminal: it attaches to a Serve in the same process. Its arguments
// are the command.
func helper(mode string) int {
	client, daemon := newPair()
	served := make(chan error, 1)
	go func() { served <- Serve(context.Background(), daemon, ServeOptions{}) }()
	var out io.Writer = os.Stdout
	o := AttachOptions{In: os.Stdin, Err: os.Stderr, Command: os.Args[1:], Escape: DefaultEscape, PTY: PTYAlways}
	switch mode {
	case "panic":
		out = saboteur{os.Stdout, func() { panic("on purpose") }}
	case "lose":
		out = saboteur{os.Stdout, client.lose}
	case "broken pipe":
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		out = saboteur{os.Stdout, func() { r.Close() }}
		out = io.MultiWriter(out, w)
	}
	o.Out = out
	code, err := Attach(context.Background(), client, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attach:", err)
	}
	<-served
	fmt.Fprintln(os.Stderr, "served")
	return code
}

// saboteur does what it does when the word "now" is written.
type saboteur struct {
	io.Writer
	strike func()
}

func (s saboteur) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	if strings.Contains(string(b), "now") {
		s.strike()
	}
	return n, err
}

// sit starts a program at a new terminal, as a helper if mode is given.
func sit(t *testing.T, mode string, args ...string) *desk.Desk {
	t.Helper()
	env := append(os.Environ(), "PS1=prompt> ", "ENV=", "HISTFILE=")
	if mode != "" {
		env = append(env, helperEnv+"="+mode)
	}
	return desk.Sit(t, env, args...)
}

// attach starts a helper that runs script by sh.
func attach(t *testing.T, mode, script string) *desk.Desk {
	t.Helper()
	return sit(t, mode, os.Args[0], "sh", "-c", script)
}
