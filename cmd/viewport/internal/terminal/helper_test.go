package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
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

// desk is a terminal with a program that runs in it.
type desk struct {
	*testing.T
	master, tty *os.File
	cmd         *exec.Cmd
	before      string // the terminal's modes before the program
	seen        string
}

// sit starts a program at a new terminal, as a helper if mode is given.
func sit(t *testing.T, mode string, args ...string) *desk {
	t.Helper()
	d := &desk{T: t}
	var err error
	if d.master, d.tty, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(d.tty, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	blocking := d.master
	if d.master, err = pollable(blocking); err != nil {
		t.Fatal(err)
	}
	blocking.Close()
	if deadline, ok := guard(t).Deadline(); ok {
		_ = d.master.SetDeadline(deadline) // a guard: a test that hangs fails
	}
	d.before = d.modes()
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = d.tty, d.tty, d.tty
	d.cmd.Env = append(os.Environ(), "PS1=prompt> ", "ENV=", "HISTFILE=")
	if mode != "" {
		d.cmd.Env = append(d.cmd.Env, helperEnv+"="+mode)
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // has ended, unless the test failed
		_ = d.cmd.Wait()
		d.master.Close()
		d.tty.Close()
	})
	return d
}

// attach starts a helper that runs script by sh.
func attach(t *testing.T, mode, script string) *desk {
	t.Helper()
	return sit(t, mode, os.Args[0], "sh", "-c", script)
}

// modes describes the terminal's modes.
func (d *desk) modes() string {
	d.Helper()
	var modes string
	err := control(d.tty, func(fd int) {
		t, err := unix.IoctlGetTermios(fd, getTermios)
		if err != nil {
			d.Fatal(err)
		}
		modes = fmt.Sprintf("%x %x %x %x", t.Iflag, t.Oflag, t.Cflag, t.Lflag)
	})
	if err != nil {
		d.Fatal(err)
	}
	return modes
}

// wait reads until the screen shows text, and returns what it showed before.
func (d *desk) wait(text string) (before string) {
	d.Helper()
	buf := make([]byte, 65536)
	for !strings.Contains(d.seen, text) {
		n, err := d.master.Read(buf)
		if err != nil {
			d.Fatalf("%v; on the screen %q, want %q", err, d.seen, text)
		}
		d.seen += string(buf[:n])
	}
	before, d.seen, _ = strings.Cut(d.seen, text)
	return before
}

func (d *desk) typed(keys string) {
	d.Helper()
	if _, err := d.master.WriteString(keys); err != nil {
		d.Fatal(err)
	}
}

// ended waits for the program's end and checks its status and the terminal.
func (d *desk) ended(code int) {
	d.Helper()
	_ = d.cmd.Wait()
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.Errorf("got exit code %d, want %d; on the screen %q", got, code, d.seen)
	}
	if got := d.modes(); got != d.before {
		d.Errorf("the terminal's modes: got %s, want %s as before", got, d.before)
	}
}

func (d *desk) isRaw() {
	d.Helper()
	if d.modes() == d.before {
		d.Error("the terminal is not in raw mode")
	}
}
