package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// process is the command of a session. It leads its own session and process group, so that everything it starts can be
// found and ended with it (endSession).
type process struct {
	// static
	cmd    *exec.Cmd
	pty    *os.File   // the master side; nil in pipe mode
	stdin  *os.File   // the pty or our end of a pipe
	output []*os.File // the pty, or stdout and stderr

	exited chan struct{} // closed when the leader has ended; its id stays taken until reap

	mu     sync.Mutex
	reaped bool // guarded by mu: the id may belong to somebody else
	state  *os.ProcessState
	err    error

	// owned by the goroutine that writes input
	lineOpen bool // what was written does not end with a line's end
}

// start starts what command and h ask for; the command's environment is env with the client's words added.
func start(cmd *exec.Cmd, h hello) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	var err error
	if h.pty {
		err = p.startPTY(h.size)
	} else {
		err = p.startPipes()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		p.awaitExit()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) startPTY(s size) error {
	if s.cols == 0 || s.rows == 0 {
		s.cols, s.rows = 80, 24
	}
	master, err := pty.StartWithSize(p.cmd, &pty.Winsize{Cols: s.cols, Rows: s.rows, X: s.xpixel, Y: s.ypixel})
	if err != nil {
		return err
	}
	defer master.Close()
	// The library leaves the master in blocking mode, where neither Close nor a deadline ends a Read.
	p.pty, err = pollable(master)
	if err != nil {
		return p.abandon(err)
	}
	p.stdin, p.output = p.pty, []*os.File{p.pty}
	return nil
}

// abandon ends a process that was started and can't be used.
func (p *process) abandon(err error) error {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	return err
}

func pollable(f *os.File) (*os.File, error) {
	var fd int
	var dupErr error
	err := control(f, func(from int) {
		if fd, dupErr = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0); dupErr == nil {
			dupErr = unix.SetNonblock(fd, true)
		}
	})
	if err == nil {
		err = dupErr
	}
	if err != nil {
		return nil, fmt.Errorf("duplicate the pseudo-terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (p *process) startPipes() (err error) {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			p.close()
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	inR, inW := pipe()
	outR, outW := pipe()
	errR, errW := pipe()
	p.stdin, p.output = inW, []*os.File{outR, errR}
	theirs = []*os.File{inR, outW, errW}
	if err != nil {
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inR, outW, errW
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return p.cmd.Start()
}

// write hands input to the process. It waits while the process does not read.
func (p *process) write(b []byte) error {
	if len(b) > 0 {
		p.lineOpen = !strings.ContainsRune("\r\n", rune(b[len(b)-1]))
	}
	_, err := p.stdin.Write(b)
	return err
}

// endInput closes the pipe, or types the end-of-file character where the terminal's line discipline makes an end of
// input of it: once at the start of a line, twice within one, where the first only hands over what was typed.
func (p *process) endInput() error {
	if p.pty == nil {
		return p.stdin.Close()
	}
	var eof []byte
	err := control(p.pty, func(fd int) {
		t, err := unix.IoctlGetTermios(fd, getTermios)
		if err == nil && t.Lflag&unix.ICANON != 0 {
			eof = []byte{t.Cc[unix.VEOF]}
		}
	})
	if err != nil || eof == nil {
		return err
	}
	if p.lineOpen {
		eof = append(eof, eof[0])
	}
	_, err = p.pty.Write(eof)
	return err
}

// resize tells the terminal its window's size; the kernel sends SIGWINCH.
func (p *process) resize(s size) {
	if p.pty == nil || s.cols == 0 || s.rows == 0 {
		return
	}
	// An error means that the process has just ended: there is nobody to tell.
	_ = control(p.pty, func(fd int) {
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ,
			&unix.Winsize{Col: s.cols, Row: s.rows, Xpixel: s.xpixel, Ypixel: s.ypixel})
	})
}

// signals are those that a client may send: the ones that mean the same everywhere, by name.
var signals = []string{"HUP", "INT", "QUIT", "TERM", "KILL", "USR1", "USR2", "TSTP", "CONT"}

// signal signals the terminal's foreground group, or the command's group in pipe mode. Unknown names are ignored.
func (p *process) signal(name string) {
	if !slices.Contains(signals, name) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	group := p.cmd.Process.Pid
	if p.pty != nil {
		_ = control(p.pty, func(fd int) {
			if foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && foreground > 0 {
				group = foreground
			}
		})
	}
	_ = unix.Kill(-group, unix.SignalNum("SIG"+name))
}

// limitOutput ends reads that find nothing for idle: for output that somebody outside of the session keeps open.
func (p *process) limitOutput(idle time.Duration) {
	for _, f := range p.output {
		_ = f.SetReadDeadline(time.Now().Add(idle))
	}
}

// close closes our ends. With a pseudo-terminal the kernel then hangs up on what runs in it.
func (p *process) close() {
	for _, f := range append([]*os.File{p.stdin}, p.output...) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// reap returns the exit status, once exited is closed: the number, 128+n after signal n, and the signal's name or "".
func (p *process) reap() (status uint8, signal string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.wait()
	}
	if p.state == nil {
		return 0, "", fmt.Errorf("wait for the command: %w", p.err)
	}
	w := p.state.Sys().(syscall.WaitStatus)
	if w.Signaled() {
		return uint8(128 + int(w.Signal())), strings.TrimPrefix(unix.SignalName(w.Signal()), "SIG"), nil
	}
	return uint8(w.ExitStatus()), "", nil
}

// wait frees the leader's id. The caller holds mu.
func (p *process) wait() {
	p.err = p.cmd.Wait()
	p.state, p.reaped = p.cmd.ProcessState, true
}

// control runs f with the file's descriptor, which stays open and in its mode meanwhile.
func control(file *os.File, f func(fd int)) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// command builds the command to run: args, or shell as a login shell.
func command(args []string, shell, dir string, env []string) *exec.Cmd {
	var cmd *exec.Cmd
	if len(args) > 0 {
		cmd = exec.Command(args[0], args[1:]...)
	} else {
		cmd = exec.Command(shell)
		// A leading dash is how a shell knows that it is a login shell (login(1)).
		cmd.Args[0] = "-" + filepath.Base(shell)
	}
	cmd.Dir, cmd.Env = dir, env
	return cmd
}
