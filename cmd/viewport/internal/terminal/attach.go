package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// PTY says whether the command gets a pseudo-terminal.
type PTY uint8

// With PTYAuto it gets one when input and output are terminals. PTYNever carries every byte as it is and keeps standard
// error apart.
const (
	PTYAuto PTY = iota
	PTYAlways
	PTYNever
)

// AttachOptions says what to run and what to join it to.
type AttachOptions struct {
	In       *os.File  // nil: no input
	Out, Err io.Writer // Err is for a command without a pseudo-terminal
	// Command is the command and its arguments; empty: what the daemon runs, or the login shell there.
	Command []string
	// Env is where TERM, COLORTERM, LANG and LC_… come from, as "NAME=value"; nil: the environment of this process.
	Env []string
	// PTY says whether to ask for a pseudo-terminal.
	PTY PTY
	// Escape, such as DefaultEscape, is the character that starts escape sequences in what is typed at a terminal in raw
	// mode (docs/terminal.md, Escape sequences); 0: none.
	Escape byte
	// Reachable reports whether what is sent reaches the daemon, and gives a channel that is closed when that changes; nil:
	// nobody knows. Attach shows a notice while it does not.
	Reachable func() (ok bool, changed <-chan struct{})
}

// ErrDetached says that the user ended the session with the escape sequence.
var ErrDetached = errors.New("detached")

const (
	// failed is the exit code for everything that is not the command's own, as with ssh.
	failed = 255
	// notStarted is the exit code for a command that could not be started, as with a shell.
	notStarted = 127
	// stopPatience is how long a message under way may take to leave; goroutines may take twice that to end. Only a
	// write to Out or Err that never returns takes longer.
	stopPatience = time.Second
)

// Attach runs a command at the other end of conn and joins it to the local terminal or files until it ends. It returns
// the command's exit code, 128+n after signal n, and nil; or an error and a code to exit with: 127 when the command
// could not be started, 128+n when signal n ended Attach itself, else 255.
//
// While it runs it handles SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGWINCH, SIGTSTP and SIGCONT of this process. A
// terminal is in raw mode meanwhile if the command has a pseudo-terminal, and is as before whenever Attach returns, is
// suspended or panics. The caller closes the session afterwards.
func Attach(ctx context.Context, conn Conn, o AttachOptions) (code int, err error) {
	defer func() { _ = conn.CloseWrite() }() // the session may be gone: its error is known
	l, err := openLocal(o.In)
	if err != nil {
		return failed, err
	}
	pty := o.PTY == PTYAlways || o.PTY == PTYAuto && l.terminal && isTerminal(o.Out)
	window, err := introduce(ctx, conn, o, hello{pty: pty, size: l.size(), command: o.Command})
	if err != nil {
		l.close()
		return codeOf(err), err
	}
	a := &attachment{conn: conn, o: o, local: l, pty: pty, raw: pty && l.terminal, out: newOutbox(int(window)),
		ends: make(chan end, 4), suspends: make(chan struct{}), inputs: make(chan struct{}, 1)}
	a.inputs <- struct{}{}
	return a.run(ctx)
}

// introduce says HELLO and returns the input window of the daemon that accepts it.
func introduce(ctx context.Context, conn Conn, o AttachOptions, h hello) (window uint32, err error) {
	env := o.Env
	if env == nil {
		env = os.Environ()
	}
	for _, v := range env {
		if name, value, ok := strings.Cut(v, "="); ok && clientVariable(name) {
			h.env = append(h.env, variable{name: name, value: value})
		}
	}
	m := message{kind: kindHello, version: Version, hello: h}
	b := m.append(nil)
	if len(b) > MaxMessage {
		return 0, fmt.Errorf("command and environment take %d bytes, at most %d fit", len(b), MaxMessage)
	}
	if err := conn.Send(ctx, b); err != nil {
		return 0, fmt.Errorf("say hello to the daemon: %w", err)
	}
	b, err = conn.Recv(ctx)
	if err != nil {
		return 0, fmt.Errorf("wait for the daemon to accept: %w", err)
	}
	m, err = parse(b)
	switch {
	case err != nil:
		return 0, fmt.Errorf("the other side does not speak the terminal protocol: %w", err)
	case m.kind == kindError:
		return 0, &Error{Code: Code(m.code), Text: printable(m.text)}
	case m.kind != kindAccept:
		return 0, fmt.Errorf("the other side does not speak the terminal protocol: want ACCEPT (2), got a message of kind %d",
			m.kind)
	case m.version != Version:
		return 0, fmt.Errorf(
			"the daemon speaks version %d of the terminal protocol, this client version %d: update the older one",
			m.version, Version)
	case m.credit < minWindow:
		return 0, fmt.Errorf("the daemon offers an input window of %d bytes, at least %d are needed", m.credit, minWindow)
	}
	return m.credit, nil
}

func codeOf(err error) int {
	var told *Error
	if errors.As(err, &told) && told.Code == CodeStart {
		return notStarted
	}
	return failed
}

// end is how an attachment ends.
type end struct {
	code int
	err  error
}

// attachment is one command that is joined to the local terminal.
type attachment struct {
	// static
	conn  Conn
	o     AttachOptions
	local *local
	pty   bool // the command has a pseudo-terminal
	raw   bool // and so the local terminal is in raw mode
	out   *outbox

	writing sync.Mutex // held while something is written to o.Out or o.Err

	ends     chan end      // each goroutine reports at most once; capacity for all
	suspends chan struct{} // the user asks for a suspension
	// inputs has its element while input may go on: not while suspended, and then only behind the window's new size.
	inputs chan struct{}

	// owned by run
	interrupted bool // SIGINT was passed on once
	suspended   bool // inputs is empty
	goroutines  sync.WaitGroup
}

func (a *attachment) run(ctx context.Context) (int, error) {
	defer a.local.restore()
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, syscall.SIGPIPE)
	defer signal.Stop(caught)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // as nohup and a shell's & arrange it
			signal.Notify(caught, s)
		}
	}
	if a.raw {
		signal.Notify(caught, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
		if err := a.local.raw(); err != nil {
			a.local.close()
			return failed, err
		}
		a.out.setSize(a.local.size()) // it may have changed while the daemon was asked
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.start(func() { a.receive(ctx) })
	a.start(func() { a.readInput(ctx) })
	a.start(func() { a.watch(ctx) })
	// A message that is cut off in the middle ends the session with an error: sending goes on after ctx, until stop.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	a.start(func() { a.transmit(ctx, sending) })

	e := a.await(ctx, caught)
	a.local.restore()
	cancel()
	a.local.stop()
	ended := make(chan struct{})
	go func() {
		a.goroutines.Wait()
		a.local.close()
		close(ended)
	}()
	defer time.AfterFunc(stopPatience, stop).Stop()
	select {
	case <-ended:
	case <-time.After(2 * stopPatience):
	}
	return e.code, e.err
}

// start runs f in a goroutine, which restores the terminal before a panic is printed to it.
func (a *attachment) start(f func()) {
	a.goroutines.Go(func() {
		defer func() {
			if why := recover(); why != nil {
				a.local.restore()
				panic(why)
			}
		}()
		f()
	})
}

// await handles signals and suspensions until the attachment ends.
func (a *attachment) await(ctx context.Context, caught chan os.Signal) end {
	for {
		select {
		case e := <-a.ends:
			return e
		case <-ctx.Done():
			return end{failed, context.Cause(ctx)}
		case <-a.suspends:
			a.suspend()
		case s := <-caught:
			switch s {
			case syscall.SIGTSTP:
				a.suspend()
			case syscall.SIGCONT:
				a.resume(caught)
			case syscall.SIGWINCH:
				a.out.setSize(a.local.size())
			case syscall.SIGPIPE: // the write that caused it fails and ends the attachment
			default:
				if s == syscall.SIGINT && !a.pty && !a.interrupted {
					a.interrupted = true
					a.out.signal("INT")
					continue
				}
				return end{128 + int(s.(syscall.Signal)), fmt.Errorf("ended by signal: %v", s)}
			}
		}
	}
}

// suspend gives the terminal back and stops this process; SIGCONT then calls resume. Where no shell with job control
// could continue it, it does nothing.
func (a *attachment) suspend() {
	if !hasJobControl() {
		return
	}
	a.local.restore()
	if !a.suspended {
		a.suspended = true
		<-a.inputs
	}
	// Ignored, so that the kernel drops what stopJob sends here: a handler that had begun when the process stopped would run
	// after SIGCONT, and stop it again.
	signal.Ignore(syscall.SIGTSTP)
	stopJob()
}

func (a *attachment) resume(caught chan os.Signal) {
	signal.Notify(caught, syscall.SIGTSTP)
	if err := a.local.raw(); err != nil {
		a.ends <- end{failed, err}
		return
	}
	a.out.setSize(a.local.size())
	if a.suspended {
		a.suspended = false
		a.inputs <- struct{}{}
	}
}

// receive writes the command's output until it ends. It alone receives, and waits for nothing but Out and Err.
func (a *attachment) receive(ctx context.Context) {
	for {
		b, err := a.conn.Recv(ctx)
		if err == io.EOF {
			err = errors.New("the daemon closed the session without an exit status")
		} else if err != nil {
			err = fmt.Errorf("session: %w", err)
		}
		var m message
		if err == nil {
			m, err = parse(b)
		}
		if err == nil {
			err = a.handle(&m)
		}
		if err != nil {
			a.ends <- end{codeOf(err), err}
			return
		}
		if m.kind == kindExit {
			a.ends <- end{int(m.code), nil}
			return
		}
	}
}

func (a *attachment) handle(m *message) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	var err error
	switch m.kind {
	case kindStdout:
		_, err = a.o.Out.Write(m.data)
	case kindStderr:
		_, err = a.o.Err.Write(m.data)
	case kindCredit:
		a.out.grant(m.credit)
	case kindError:
		return &Error{Code: Code(m.code), Text: printable(m.text)}
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// readInput queues what is typed. It reads on while the daemon gives no credit, as far as the queue goes, so that an
// escape sequence is seen when the session hangs.
func (a *attachment) readInput(ctx context.Context) {
	defer a.out.input.end()
	var esc escapes
	if a.raw {
		esc.char = a.o.Escape
	}
	typed := make([]byte, maxData)
	passed := make([]byte, 0, maxData+1)
	for {
		n, err := a.local.read(typed)
		if err != nil {
			if errors.Is(err, syscall.EIO) && a.local.terminal {
				// The terminal is gone; its SIGHUP may come later than this.
				a.ends <- end{128 + int(syscall.SIGHUP), fmt.Errorf("ended by signal: %v", syscall.SIGHUP)}
			} else if err != io.EOF && err != errStopped {
				a.ends <- end{failed, fmt.Errorf("read input: %w", err)}
			}
			return
		}
		select {
		case <-a.inputs:
			a.inputs <- struct{}{}
		case <-ctx.Done():
			return
		}
		for rest := typed[:n]; len(rest) > 0; {
			var b []byte
			var what action
			b, what, rest = esc.next(passed, rest)
			if a.out.input.put(ctx, b) != nil {
				return
			}
			switch what {
			case detach:
				a.ends <- end{failed, ErrDetached}
				return
			case suspend:
				select {
				case a.suspends <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

// transmit sends input, sizes and signals. When the session takes nothing more, what was received before its end may
// still hold the exit status, so receive has a moment to find it.
func (a *attachment) transmit(ctx, sending context.Context) {
	err := a.out.run(ctx, func(b []byte) error { return a.conn.Send(sending, b) })
	if ctx.Err() != nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(stopPatience):
		a.ends <- end{failed, fmt.Errorf("send input: %w", err)}
	}
}
