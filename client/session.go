package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// closeTimeout is how long Close waits for the peer to have everything.
const closeTimeout = 5 * time.Second

// Session is an end-to-end encrypted session between a client and a daemon: ordered messages both ways, each delivered
// once or not at all, in order. Its methods may be called by several goroutines.
//
// Send blocks while the peer's window is full, so two applications that only send and never Recv block each other, as
// over TCP.
type Session struct {
	// Static.
	id      string
	link    *link
	peer    identity.Key
	profile identity.Profile
	onOpen  func(*Session) // the peer has proved itself; called once, must not block

	sending   chan struct{} // held by the one Send or CloseWrite that runs
	receiving chan struct{} // held by the one Recv that runs
	readable  chan struct{} // has an element when Recv may find something
	writable  chan struct{} // has an element when Send may go on
	opened    chan struct{} // closed when the peer has proved itself
	over      chan struct{} // closed when the session has ended, cleanly or not
	acked     chan struct{} // has an element when flush may find everything acked
	closed    chan struct{} // closed by Close, through closing
	closing   sync.Once

	// mu guards what follows: the machine takes one step at a time. Taken before link.mu.
	mu      sync.Mutex
	machine *session.Machine
	timer   *time.Timer // runs tick; nil until first armed
	armed   time.Time   // when timer fires; zero: not armed
	lost    *Error      // the link's end, which says more than the machine's LINK_LOST

	// queued is guarded by link.mu: the session is in link.ready.
	queued bool
}

func newSession(l *link, m *session.Machine, onOpen func(*Session)) *Session {
	return &Session{
		id: m.ID(), link: l, peer: m.PeerKey(), profile: identity.Profile(m.Profile()), onOpen: onOpen,
		sending: make(chan struct{}, 1), receiving: make(chan struct{}, 1),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), acked: make(chan struct{}, 1),
		opened: make(chan struct{}), over: make(chan struct{}), closed: make(chan struct{}),
		machine: m,
	}
}

// ID is the session's id. Whoever shows it to people shows its first 6 characters.
func (s *Session) ID() string { return s.id }

// Peer is the peer's static public key, proved by the handshake.
func (s *Session) Peer() identity.Key { return s.peer }

// Profile is the handshake that the session was opened with.
func (s *Session) Profile() identity.Profile { return s.profile }

// PeerVersion is what the peer says it runs; at most 64 bytes.
func (s *Session) PeerVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.PeerVersion()
}

// MaxMessage is the longest message in bytes that Send takes.
func (s *Session) MaxMessage() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.MaxMessage()
}

// Done is closed when the session has ended, cleanly or with an error.
func (s *Session) Done() <-chan struct{} { return s.over }

// Err is the error that the session ended with; nil while it lives and after a clean end.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.machine.Err(); err != nil {
		return s.endError(err)
	}
	return nil
}

// Send sends one message of at most MaxMessage bytes and returns when the session holds all of it, which is not yet when
// the peer does. It blocks while the window is full. If ctx ends before the first byte was taken nothing was sent; later,
// the message can't be finished or taken back, and the session ends with Cancelled.
func (s *Session) Send(ctx context.Context, msg []byte) error {
	if err := acquire(ctx, s.sending); err != nil {
		return err
	}
	defer release(s.sending)
	taken := 0
	for first := true; ; first = false {
		s.mu.Lock()
		n, done, e, err := s.machine.Send(msg[taken:], time.Now())
		s.apply(e)
		s.mu.Unlock()
		taken += n
		if err != nil {
			return s.endError(err)
		}
		if done {
			return nil
		}
		select {
		case <-s.writable:
		case <-s.over:
		case <-ctx.Done():
			if first && taken == 0 {
				return ctx.Err()
			}
			s.abort(reason.Cancelled)
			return ctx.Err()
		}
	}
}

// Recv returns the next message, which the caller owns. It returns io.EOF after the peer's clean close and only then;
// every other end is an *Error.
func (s *Session) Recv(ctx context.Context) ([]byte, error) {
	if err := acquire(ctx, s.receiving); err != nil {
		return nil, err
	}
	defer release(s.receiving)
	return s.recv(ctx, s.closed)
}

// recv is Recv for the holder of s.receiving; closed interrupts it.
func (s *Session) recv(ctx context.Context, closed <-chan struct{}) ([]byte, error) {
	for {
		select {
		case <-closed:
			return nil, errClosed
		default:
		}
		s.mu.Lock()
		msg, ok, e, err := s.machine.Next(time.Now())
		s.apply(e)
		s.mu.Unlock()
		switch {
		case errors.Is(err, io.EOF):
			return nil, s.peerClose()
		case err != nil:
			return nil, s.endError(err)
		case ok:
			return msg, nil
		}
		select {
		case <-s.readable:
		case <-closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// CloseWrite ends this direction cleanly, after everything that was sent: the peer's Recv returns io.EOF. Recv still
// works. Closing twice is no error.
func (s *Session) CloseWrite() error { return s.closeWrite(context.Background(), "", "") }

// CloseWithError is Close, but the peer's Recv returns an *Error of this code (at most 64 bytes) and text (at most 1,024)
// in place of io.EOF, after everything that was sent.
func (s *Session) CloseWithError(code, text string) error {
	return s.close(code, text)
}

func (s *Session) closeWrite(ctx context.Context, code, text string) error {
	if err := acquire(ctx, s.sending); err != nil {
		return err
	}
	defer release(s.sending)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.machine.Err(); err != nil {
		return s.endError(err)
	}
	s.apply(s.machine.CloseWrite(code, text, time.Now()))
	return nil
}

// peerClose is what Recv returns after the peer's CLOSE.
func (s *Session) peerClose() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, text, ok := s.machine.PeerClose(); ok && code != "" {
		return &Error{Reason: Reason(code), By: "peer", Text: text}
	}
	return io.EOF
}

// Close ends the session: Recv fails from now on, what was sent is still delivered, what comes is dropped. It waits at
// most 5 s until the peer has everything and has ended its own direction; else the session is cancelled, and Close says
// so. Closing twice is no error.
func (s *Session) Close() error { return s.close("", "") }

func (s *Session) close(code, text string) error {
	s.closing.Do(func() { close(s.closed) })
	ctx, stop := context.WithTimeout(context.Background(), closeTimeout)
	defer stop()
	err := s.closeWrite(ctx, code, text)
	if err != nil && ctx.Err() == nil {
		return err // the session ended before
	}
	if err = acquire(ctx, s.receiving); err == nil {
		for err == nil {
			_, err = s.recv(ctx, nil)
		}
		release(s.receiving)
		// The peer's own end is clean whatever code it gave; anything else has ended the session already.
		if s.Err() == nil && ctx.Err() == nil && s.flush(ctx) {
			return nil
		}
	}
	s.abort(reason.Cancelled)
	return s.Err()
}

// Abort ends the session at once: the peer gets Cancelled, unsent and unread messages are dropped.
func (s *Session) Abort() { s.abort(reason.Cancelled) }

func (s *Session) abort(code reason.Code) {
	s.mu.Lock()
	s.apply(s.machine.Abort(code, time.Now()))
	s.mu.Unlock()
}

// flush waits until the peer has acked everything sent, and reports whether it has.
func (s *Session) flush(ctx context.Context) bool {
	for {
		s.mu.Lock()
		out, _ := s.machine.Buffered()
		s.mu.Unlock()
		if out == 0 {
			return true
		}
		select {
		case <-s.acked:
		case <-ctx.Done():
			return false
		}
	}
}

func acquire(ctx context.Context, sem chan struct{}) error {
	select {
	case sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func release(sem chan struct{}) { <-sem }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
