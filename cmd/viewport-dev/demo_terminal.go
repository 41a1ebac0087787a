package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/creack/pty"
)

// What the demo types, and how big its window is.
const (
	prompt     = "demo$ "
	rows       = 29
	columns    = 103
	exitStatus = 7
)

var ttyName = regexp.MustCompile(`^/dev/\S+$`)

// runTerminal attaches in a terminal, types a command, and looks at what comes back.
func (d *demo) runTerminal(ctx context.Context) error {
	cmd := d.attach("-t", "--", "env", "PS1="+prompt, "ENV=", "/bin/sh")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: columns})
	if err != nil {
		return err
	}
	client := adopt("viewport attach -t", cmd)
	screen := &screen{more: make(chan struct{}, 1)}
	control := d.plain()
	var reading sync.WaitGroup
	// A terminal ends with an error when nobody has it open any more.
	reading.Go(func() { _, _ = io.Copy(io.MultiWriter(screen, control), terminal) })
	defer func() {
		_ = client.end()
		_ = terminal.Close()
		reading.Wait()
	}()

	if err := screen.waitFor(ctx, prompt, client.done); err != nil {
		return err
	}
	line := fmt.Sprintf("echo %s | tr a-z A-Z; tty; stty size; exit %d", d.typed, exitStatus)
	if _, err := io.WriteString(terminal, line+"\r"); err != nil {
		return err
	}
	if err := waitFor(ctx, client); err != nil {
		return fmt.Errorf("%w; on the screen: %q", err, screen.String())
	}
	reading.Wait()

	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(screen.String()), "\r\n", "\n"), "\n")
	d.say("a command was typed in a terminal at `viewport attach -t`; the client saw:")
	for _, l := range lines {
		_, _ = fmt.Fprintf(d.out, "         | %s\n", l)
	}
	var errs []error
	if !slices.Contains(lines, strings.ToUpper(d.typed)) {
		errs = append(errs, errors.New("the command's output is missing"))
	}
	if !slices.ContainsFunc(lines, ttyName.MatchString) {
		errs = append(errs, errors.New("the command did not run in a terminal: tty names none"))
	}
	if size := fmt.Sprintf("%d %d", rows, columns); !slices.Contains(lines, size) {
		errs = append(errs, fmt.Errorf("the window's size did not arrive: want %q", size))
	}
	if code := client.exitCode(); code != exitStatus {
		errs = append(errs, fmt.Errorf("the exit status did not arrive: got %d, want %d", code, exitStatus))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.say("the daemon ran it in a terminal of its own, of this window's size; exit status %d was passed on", exitStatus)
	return nil
}

// screen keeps what a terminal showed, at most screenSize bytes of it.
type screen struct {
	more chan struct{} // one slot: something came

	mu sync.Mutex
	// Guarded by mu.
	b []byte
}

const screenSize = 64 << 10

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.b = append(s.b, p[:min(len(p), screenSize-len(s.b))]...)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.b)
}

// waitFor waits until text is on the screen; ended is closed when nothing more can come.
func (s *screen) waitFor(ctx context.Context, text string, ended <-chan struct{}) error {
	for {
		if strings.Contains(s.String(), text) {
			return nil
		}
		select {
		case <-s.more:
		case <-ended:
			return fmt.Errorf("attach ended before it showed %q; on the screen: %q", text, s.String())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q: %w; on the screen: %q", text, context.Cause(ctx), s.String())
		}
	}
}
