package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	// inputWindow is how many bytes of input a client may have under way: what a session's window carries.
	inputWindow = 1 << 20
	// helloPatience is how long a client may take to say what it wants.
	helloPatience = 30 * time.Second
	// farewell is how long a client may take to close its side after EXIT or ERROR, which tells that it has arrived.
	farewell = 5 * time.Second
	// lastWords is the same when the daemon is shutting down, and how long a message under way may take to leave.
	lastWords = time.Second
)

// ServeOptions says how a daemon runs commands. The zero value runs what the client asks for, or the login shell.
type ServeOptions struct {
	// Command, if set, is the only command this daemon runs: a client that asks for another one is refused.
	Command []string
	// Shell is the login shell, for a client that asks for no command; "": SHELL of this process, else /bin/sh.
	Shell string
	// Dir is the command's working directory; "": that of this process.
	Dir string
	// Env is the command's environment, to which the client adds TERM, COLORTERM, LANG and LC_…; nil: that of this
	// process without VIEWPORT_TOKEN, which is the daemon's and not the user's.
	Env []string
	// Grace is how long processes may go on after SIGHUP until SIGKILL ends them; 0: 2 seconds.
	Grace time.Duration
}

// Serve serves one session: it waits for the client's HELLO, runs the command, and returns when the command and all
// that it left in its session (setsid(2)) have ended. It returns nil when the client was told the exit status; *Error
// when it was told something else (ctx ended, a foreign version), and what ended the session otherwise. Processes end
// with the session: when it is closed or lost, or when ctx ends, they get SIGHUP, and SIGKILL after o.Grace. The caller
// closes conn afterwards.
func Serve(ctx context.Context, conn Conn, o ServeOptions) error {
	s := &server{
		conn: conn, grace: o.Grace,
		sending: make(chan struct{}, 1), in: newFIFO(inputWindow), ending: make(chan struct{}),
	}
	if s.grace == 0 {
		s.grace = 2 * time.Second
	}
	h, err := awaitHello(ctx, conn)
	if err == nil {
		err = s.start(o, h)
	}
	if err != nil {
		return s.fail(ctx, err)
	}
	return s.run(ctx)
}

// server is one session of a daemon.
type server struct {
	// static
	conn  Conn
	grace time.Duration
	p     *process

	sending chan struct{} // capacity 1: held while a message is sent
	in      *fifo         // from receive to writeInput
	ending  chan struct{} // closed when the command has ended: what it wrote is all there is to read
}

// awaitHello returns the client's first message, or *Error for what a client of this version would not send.
func awaitHello(ctx context.Context, conn Conn) (hello, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helloPatience,
		failure(CodeProtocol, "no HELLO within %v", helloPatience))
	defer cancel()
	b, err := conn.Recv(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return hello{}, fmt.Errorf("wait for HELLO: %w", err)
	}
	m, err := parse(b)
	switch {
	case err != nil:
		return hello{}, failure(CodeProtocol, "this daemon speaks the terminal protocol: %v", err)
	case m.kind != kindHello:
		return hello{}, failure(CodeProtocol,
			"this daemon speaks the terminal protocol: want HELLO (1) first, got a message of kind %d", m.kind)
	case m.version != Version:
		return hello{}, failure(CodeVersion,
			"this daemon speaks version %d of the terminal protocol, the client version %d: update the older one",
			Version, m.version)
	}
	return m.hello, nil
}

// start starts the command that o and h make together.
func (s *server) start(o ServeOptions, h hello) error {
	args := h.command
	if len(o.Command) > 0 {
		if len(args) > 0 && !slices.Equal(args, o.Command) {
			return failure(CodeRefused, "this daemon runs %q only: attach without a command", o.Command[0])
		}
		args = o.Command
	}
	shell := o.Shell
	if shell == "" {
		shell = os.Getenv("SHELL")
	}
	if shell == "" {
		shell = "/bin/sh"
	}
	env := o.Env
	if env == nil {
		env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VIEWPORT_TOKEN=") })
	}
	cmd := command(args, shell, o.Dir, mergeEnv(env, h.env))
	var err error
	if s.p, err = start(cmd, h); err != nil {
		where := ""
		if o.Dir != "" {
			where = fmt.Sprintf(" in %q", o.Dir) // the system says "no such file" about the command when it means this
		}
		return failure(CodeStart, "cannot start %q%s: %v", cmd.Args[0], where, err)
	}
	return nil
}

// mergeEnv adds what the client may say about its terminal and language to env; a later entry of a name wins (os/exec).
func mergeEnv(env []string, client []variable) []string {
	env = slices.Clone(env)
	for _, v := range client {
		if clientVariable(v.name) && !strings.ContainsRune(v.value, 0) {
			env = append(env, v.name+"="+v.value)
		}
	}
	return env
}

// clientVariable tells the names that a client may set: what describes its terminal and its language.
func clientVariable(name string) bool {
	category, isLocale := strings.CutPrefix(name, "LC_")
	return slices.Contains([]string{"TERM", "COLORTERM", "LANG"}, name) ||
		isLocale && category != "" && strings.Trim(category, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// run moves bytes until the command or the session has ended.
func (s *server) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	received := make(chan struct{})
	written := make(chan struct{})
	// A message that is cut off in the middle ends the session, and nobody would hear the last words: sending goes on
	// after ctx, until stop.
	sending, stop := context.WithCancel(context.WithoutCancel(parent))
	defer stop()
	input, stopInput := context.WithCancel(ctx)
	defer stopInput()

	drained := make(chan struct{})
	if err := s.send(ctx, &message{kind: kindAccept, version: Version, credit: inputWindow}); err != nil {
		cancel(fmt.Errorf("accept the client: %w", err))
	}
	go func() { defer close(received); cancel(s.receive(ctx)) }()
	go func() { defer close(written); s.writeInput(input, sending) }()
	go func() { defer close(drained); s.sendOutput(sending, cancel) }()

	err := s.await(ctx, drained)
	s.p.close()
	stopInput()
	patience := time.AfterFunc(lastWords, stop)
	<-written
	<-drained
	patience.Stop()
	if err == nil {
		err = s.sayExit(ctx, received)
	}
	cancel(nil)
	<-received
	if err != nil {
		err = s.fail(parent, err)
	}
	return err
}

// await returns nil when the command has ended by itself, its session is empty and its output is sent; else, after the
// same, what ended the session.
func (s *server) await(ctx context.Context, drained <-chan struct{}) error {
	select {
	case <-s.p.exited:
	case <-ctx.Done():
	}
	if ctx.Err() == nil && s.p.pty == nil {
		// Without a terminal what the command started may still be writing, as tee in `command > >(tee log)`.
		grace := time.NewTimer(s.grace)
		defer grace.Stop()
		select {
		case <-drained:
		case <-grace.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		s.p.close() // a terminal that is gone: writes fail from here on instead of waiting
	}
	if err := endSession(s.p.cmd.Process.Pid, s.grace); err != nil {
		return err
	}
	<-s.p.exited
	close(s.ending)
	s.p.limitOutput(s.grace)
	select {
	case <-drained:
	case <-ctx.Done():
	}
	_, _, err := s.p.reap()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// sayExit sends EXIT, the last message, and waits for the client to close its side too: then it has arrived.
func (s *server) sayExit(ctx context.Context, received <-chan struct{}) error {
	status, signal, err := s.p.reap()
	if err != nil {
		return err
	}
	if err := s.send(ctx, &message{kind: kindExit, code: status, signal: signal}); err != nil {
		return fmt.Errorf("send the exit status: %w", err)
	}
	if err := s.conn.CloseWrite(); err != nil {
		return fmt.Errorf("close after the exit status: %w", err)
	}
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	select {
	case <-received:
	case <-patience.C:
	}
	return nil
}

// fail tells the client why the session ends, when there is something to tell, and returns that reason. Nobody else
// receives any more.
func (s *server) fail(ctx context.Context, err error) error {
	patience := farewell
	if ctx.Err() != nil {
		err = failure(CodeStopped, "the daemon is shutting down")
		patience = lastWords
	}
	var told *Error
	if !errors.As(err, &told) {
		_ = s.conn.CloseWrite()
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	// The client may be gone already; the reason to return stays the same.
	sent := s.send(last, &message{kind: kindError, code: uint8(told.Code), text: told.Text})
	_ = s.conn.CloseWrite()
	for sent == nil {
		_, sent = s.conn.Recv(last)
	}
	return err
}

// send sends one message: one at a time, in whole.
func (s *server) send(ctx context.Context, m *message) error {
	return s.sendBytes(ctx, m.append(nil))
}

func (s *server) sendBytes(ctx context.Context, b []byte) error {
	select {
	case s.sending <- struct{}{}:
		defer func() { <-s.sending }()
		return s.conn.Send(ctx, b)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
