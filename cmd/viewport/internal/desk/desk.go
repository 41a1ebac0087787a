// Package desk is a terminal with a program that runs in it, for tests: what the program writes is on the screen, what the
// test types is the program's input, and the terminal's modes tell whether it was left as it was.
//
// What this package does not do: it is no terminal emulator. The screen is the bytes, as they came.
package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// guard ends a test that hangs; none waits for it.
const guard = 60 * time.Second

// Columns and Rows are the size of the window at first.
const (
	Columns = 77
	Rows    = 33
)

// Desk is a terminal with a program in it. Its methods fail the test that it belongs to, and are for one goroutine.
type Desk struct {
	// Master is the side of the person: what is written is typed. Reads and writes have a deadline.
	Master *os.File
	// TTY is the side of the programs.
	TTY *os.File
	// Cmd is the program; it leads a session whose terminal this is.
	Cmd *exec.Cmd

	t      testing.TB
	before string // the terminal's modes before the program
	seen   []byte // on the screen and not taken by Wait yet
	err    error  // of cmd.Wait
	waited bool
}

// Sit starts a program at a new terminal. Its environment is env; nil: that of this process. It ends with the test.
func Sit(t testing.TB, env []string, args ...string) *Desk {
	t.Helper()
	d := &Desk{t: t}
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	t.Cleanup(cancel)
	d.open(ctx)
	d.before = d.Modes()
	d.Cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	d.Cmd.Stdin, d.Cmd.Stdout, d.Cmd.Stderr, d.Cmd.Env = d.TTY, d.TTY, d.TTY, env
	d.Cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	d.must(d.Cmd.Start())
	t.Cleanup(func() {
		_ = d.Cmd.Process.Kill() // has ended, unless the test failed
		d.wait()
		_ = d.Master.Close()
		_ = d.TTY.Close()
	})
	return d
}

func (d *Desk) open(ctx context.Context) {
	d.t.Helper()
	blocking, tty, err := pty.Open()
	d.must(err)
	d.TTY = tty
	d.Resize(Columns, Rows)
	// The library leaves the master in blocking mode, where a read has no deadline.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	d.must(err)
	d.must(unix.SetNonblock(fd, true))
	d.Master = os.NewFile(uintptr(fd), blocking.Name())
	_ = blocking.Close()
	deadline, _ := ctx.Deadline()
	d.must(d.Master.SetDeadline(deadline))
}

func (d *Desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// Resize changes the window's size; the kernel tells the programs.
func (d *Desk) Resize(columns, rows uint16) {
	d.t.Helper()
	d.must(pty.Setsize(d.TTY, &pty.Winsize{Cols: columns, Rows: rows}))
}

// Type types keys.
func (d *Desk) Type(keys string) {
	d.t.Helper()
	_, err := d.Master.WriteString(keys)
	d.must(err)
}

// Wait reads until the screen shows text, and returns what it showed before.
func (d *Desk) Wait(text string) (before string) {
	d.t.Helper()
	i := d.await(text)
	before, d.seen = string(d.seen[:i]), d.seen[i+len(text):]
	return before
}

// await reads until the screen shows text and returns where.
func (d *Desk) await(text string) int {
	d.t.Helper()
	buf := make([]byte, 65536)
	for from := 0; ; {
		if i := bytes.Index(d.seen[from:], []byte(text)); i >= 0 {
			return from + i
		}
		from = max(0, len(d.seen)-len(text))
		n, err := d.Master.Read(buf)
		if err != nil {
			d.t.Fatalf("%v; on the screen %q, want %q", err, shorten(d.seen), text)
		}
		d.seen = append(d.seen, buf[:n]...)
	}
}

func shorten(b []byte) []byte { return b[max(0, len(b)-4000):] }

// Rest returns what is on the screen and was not taken. The program has ended.
func (d *Desk) Rest() string {
	d.t.Helper()
	const mark = "-- the rest of the screen --"
	_, err := d.TTY.WriteString(mark)
	d.must(err)
	return d.Wait(mark)
}

// Ended waits for the program's end, and wants this exit code (-1: a signal that it does not handle) and the terminal
// as it was before it.
func (d *Desk) Ended(code int) {
	d.t.Helper()
	d.wait()
	if got := d.Cmd.ProcessState.ExitCode(); got != code {
		d.t.Errorf("got exit code %d (%v), want %d; on the screen %q", got, d.err, code, shorten([]byte(d.Rest())))
	}
	if got := d.Modes(); got != d.before {
		d.t.Errorf("the terminal's modes: got %s, want %s as before", got, d.before)
	}
}

func (d *Desk) wait() {
	if !d.waited {
		d.err, d.waited = d.Cmd.Wait(), true
	}
}

// Raw wants the terminal in raw mode.
func (d *Desk) Raw() {
	d.t.Helper()
	for _, mode := range []string{"icanon", "echo", "isig", "opost"} {
		if !strings.Contains(d.Modes(), " -"+mode) {
			d.t.Errorf("the terminal is not in raw mode: want -%s in %s", mode, d.Modes())
		}
	}
}

// Modes is what stty(1) says of the terminal.
func (d *Desk) Modes() string {
	d.t.Helper()
	stty := exec.Command("stty", "-a")
	stty.Stdin = d.TTY
	out, err := stty.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	d.must(err)
	_, modes, _ := strings.Cut(string(out), "\n") // the first line has the size
	return " " + strings.Join(strings.Fields(modes), " ")
}
