package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// local is the local end: a terminal, or a file or pipe that input comes from.
type local struct {
	// static
	in       *os.File
	terminal bool
	wakeR    *os.File // readable once stop was called
	wakeW    *os.File

	mu    sync.Mutex
	saved *term.State // guarded by mu: the terminal's state before raw mode; nil while it is not in raw mode
}

// openLocal prepares in, which stays the caller's; nil stands for no input. close must be called.
func openLocal(in *os.File) (*local, error) {
	l := &local{in: in, terminal: isTerminal(in)}
	var err error
	l.wakeR, l.wakeW, err = os.Pipe()
	return l, err
}

func isTerminal(v any) (is bool) {
	if f, ok := v.(*os.File); ok && f != nil {
		_ = control(f, func(fd int) { is = term.IsTerminal(fd) })
	}
	return is
}

// raw puts the terminal into raw mode, again if somebody else has changed it.
func (l *local) raw() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var before *term.State
	var rawErr error
	if err := control(l.in, func(fd int) { before, rawErr = term.MakeRaw(fd) }); err != nil {
		return err
	}
	if rawErr != nil {
		return fmt.Errorf("put the terminal into raw mode: %w", rawErr)
	}
	if l.saved == nil {
		l.saved = before
	}
	return nil
}

// restore puts the terminal back as it was before raw. It may be called at any time, from any goroutine.
func (l *local) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.saved == nil {
		return
	}
	// An error means that the terminal is gone: there is nothing to restore.
	_ = control(l.in, func(fd int) { _ = term.Restore(fd, l.saved) })
	l.saved = nil
}

// size returns the window's size; zero when unknown.
func (l *local) size() (s size) {
	if !l.terminal {
		return s
	}
	_ = control(l.in, func(fd int) {
		if w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			s = size{cols: w.Col, rows: w.Row, xpixel: w.Xpixel, ypixel: w.Ypixel}
		}
	})
	return s
}

var errStopped = errors.New("input stopped")

// read is Read of the input, except that stop ends it, which nothing does for a terminal that blocks: it waits for
// input or stop, and then reads. io.EOF also stands for a terminal that is gone.
func (l *local) read(p []byte) (n int, err error) {
	if l.in == nil {
		return 0, io.EOF
	}
	outer := control(l.in, func(fd int) {
		inner := control(l.wakeR, func(wake int) { n, err = readUnless(fd, wake, p) })
		if inner != nil {
			err = inner
		}
	})
	if outer != nil {
		return 0, outer
	}
	return n, err
}

// readUnless uses select(2) because poll(2) does not serve terminals on macOS.
func readUnless(fd, wake int, p []byte) (int, error) {
	if fd >= unix.FD_SETSIZE || wake >= unix.FD_SETSIZE {
		return 0, fmt.Errorf("input is file %d, at most %d can be waited for", max(fd, wake), unix.FD_SETSIZE-1)
	}
	for {
		var ready unix.FdSet
		ready.Set(fd)
		ready.Set(wake)
		if _, err := unix.Select(max(fd, wake)+1, &ready, nil, nil, nil); err != nil {
			if err == unix.EINTR {
				continue
			}
			return 0, os.NewSyscallError("select", err)
		}
		if ready.IsSet(wake) {
			return 0, errStopped
		}
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue // somebody else was faster
		case err == unix.EIO || err == nil && n == 0:
			return 0, io.EOF
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		}
		return n, nil
	}
}

// stop ends read, now and for ever.
func (l *local) stop() { _ = l.wakeW.Close() }

// close restores the terminal and frees what openLocal made. Nobody reads any more.
func (l *local) close() {
	l.restore()
	_ = l.wakeW.Close()
	_ = l.wakeR.Close()
}

// hasJobControl tells whether this process belongs to a job that a shell has put into a process group of its own. The
// session's first group has nobody in its session who could continue it.
func hasJobControl() bool {
	session, err := unix.Getsid(0)
	return err == nil && session != unix.Getpgrp()
}

// stopJob stops this process and its job, as Ctrl-Z does. This process ignores SIGTSTP by now and needs SIGSTOP. Errors
// can't occur for the own process group.
func stopJob() {
	_ = unix.Kill(0, unix.SIGTSTP)
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
}
