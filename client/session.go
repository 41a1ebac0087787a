package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

const (
	// closeTimeout is how long Close waits for a peer that is reachable to have everything.
	closeTimeout = 5 * time.Second
	// closeLimit is how long it waits in all.
	closeLimit = time.Minute
)

// Session is an end-to-end encrypted session between a client and a daemon: ordered messages both ways, each delivered
// once or not at all, in order. Its methods may be called by several goroutines.
//
// A session outlives its link: while relay, network or peer are away, Send and Recv wait, for at most
// Config.SessionLifetime without a word of the peer. Nothing is lost, doubled or reordered by it.
//
// Send blocks while the peer's window is full, so two applications that only send and never Recv block each other, as
// over TCP.
//
// Package legacy makes sessions of another protocol behind this type, which promises less: they end with their link, and
// never cleanly. What its methods do then is said at each (Legacy tells), and the rest in that package.
type Session struct {
	// Static.
	id          string
	carrier     carrier
	sendTimeout time.Duration // see Config.SendTimeout
	peer        identity.Key
	profile     identity.Profile
	onOpen      func(*Session)   // the peer has proved itself; called once, must not block; nil: nobody cares
	native      *session.Machine // machine, as links know it; nil in a legacy session
	legacy      legacyMachine    // machine, as package legacy knows it; nil in a native session

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
	machine machine
	timer   *time.Timer // runs tick; nil until first armed
	armed   time.Time   // when timer fires; zero: not armed
	on      *link       // nil while there is none
	queued  *link       // in whose turn of those that want to send it is; nil: in none
	lost    *Error      // the link's end, which says more than the machine's LINK_LOST

	reachable    bool          // frames reach the peer as they are sent
	reachChanged chan struct{} // closed and replaced when that changes
}

func newSession(k *keeper, m *session.Machine, onOpen func(*Session)) *Session {
	s := makeSession(m, k, identity.Profile(m.Profile()))
	s.native, s.peer, s.onOpen, s.sendTimeout = m, m.PeerKey(), onOpen, k.cfg.SendTimeout
	return s
}

func makeSession(m machine, c carrier, profile identity.Profile) *Session {
	return &Session{
		id: m.ID(), carrier: c, profile: profile, machine: m, reachChanged: make(chan struct{}),
		sending: make(chan struct{}, 1), receiving: make(chan struct{}, 1),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), acked: make(chan struct{}, 1),
		opened: make(chan struct{}), over: make(chan struct{}), closed: make(chan struct{}),
	}
}

// ID is the session's id. Whoever shows it to people shows its first 6 characters.
func (s *Session) ID() string { return s.id }

// Peer is the peer's static public key, proved by the handshake. It is the zero Key in a legacy session, whose keys are
// of another kind: see PairingPeerID.
func (s *Session) Peer() identity.Key { return s.peer }

// Profile is the handshake that the session was opened with.
func (s *Session) Profile() identity.Profile { return s.profile }

// PeerVersion is what the peer says it runs; at most 64 bytes. Empty in a legacy session.
func (s *Session) PeerVersion() string {
	if s.native == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.native.PeerVersion()
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

// Reachable reports whether frames reach the peer as they are sent: there is a link to the relay and the peer has
// answered on it. While it is false Send and Recv merely wait. changed is closed at the next change. A client learns that
// its daemon is away; a daemon does not learn that a client is.
func (s *Session) Reachable() (ok bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reachable, s.reachChanged
}

// Send sends one message of at most MaxMessage bytes and returns when the session holds all of it, which is not yet when
// the peer does. It blocks while the window is full. If ctx ends before the first byte was taken nothing was sent; later,
// the message can't be finished or taken back, and the session ends with Cancelled. So it is with Config.SendTimeout,
// when the error is PeerSlow.
func (s *Session) Send(ctx context.Context, msg []byte) error {
	if err := acquire(ctx, s.sending); err != nil {
		return err
	}
	defer release(s.sending)
	taken := 0
	patience := newPatience(s.sendTimeout)
	defer patience.stop()
	for {
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
		reachable, changed := s.Reachable()
		select {
		case <-s.writable:
			continue
		case <-s.over:
			continue
		case <-changed:
			continue
		case <-patience.over(n > 0, reachable):
			if !s.heardSince(patience.began) {
				patience.stop()
				continue // a client that is away is not slow; a daemon is not told that it is
			}
			err = &Error{Reason: PeerSlow, By: "peer", Text: fmt.Sprintf("the peer has not read for %v", s.sendTimeout)}
		case <-ctx.Done():
			err = ctx.Err()
		}
		if taken > 0 {
			s.abort(reason.Cancelled)
		}
		return err
	}
}

// heardSince reports whether the peer has shown that it is there; if not, it is asked to.
func (s *Session) heardSince(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.native.Heard().After(t) {
		return true
	}
	s.apply(s.native.Ask(time.Now()))
	return false
}

// Recv returns the next message, which the caller owns. It returns io.EOF after the peer's clean close and only then;
// every other end is an *Error. A legacy session has no clean close, so there it never is io.EOF.
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
// works. Closing twice is no error. A legacy session can't be closed by halves: the error is errors.ErrUnsupported, and
// nothing happens.
func (s *Session) CloseWrite() error { return s.closeWrite(context.Background(), "", "") }

// CloseWithError is Close, but the peer's Recv returns an *Error of this code (at most 64 bytes) and text (at most 1,024)
// in place of io.EOF, after everything that was sent. In a legacy session it is Close: the peer is told nothing.
func (s *Session) CloseWithError(code, text string) error {
	return s.close(code, text)
}

func (s *Session) closeWrite(ctx context.Context, code, text string) error {
	if s.native == nil {
		return fmt.Errorf("client: a legacy session can't be closed by halves: %w", errors.ErrUnsupported)
	}
	if err := acquire(ctx, s.sending); err != nil {
		return err
	}
	defer release(s.sending)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.machine.Err(); err != nil {
		return s.endError(err)
	}
	s.apply(s.native.CloseWrite(code, text, time.Now()))
	return nil
}

// peerClose is what Recv returns after the peer's CLOSE.
func (s *Session) peerClose() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, text, ok := s.native.PeerClose(); ok && code != "" {
		return &Error{Reason: Reason(code), By: "peer", Text: text}
	}
	return io.EOF
}

// Close ends the session: Recv fails from now on, what was sent is still delivered, what comes is dropped. It waits until
// the peer has everything and has ended its own direction: at most 5 s of the time that the peer is reachable, and a
// minute in all. Else the session is cancelled, and Close says so. That the peer has everything is the relay's word:
// an ack is not proved. Closing twice is no error.
//
// In a legacy session nobody acks and the peer is not told: Close waits, as long, until what was sent is with the link.
func (s *Session) Close() error { return s.close("", "") }

func (s *Session) close(code, text string) error {
	s.closing.Do(func() { close(s.closed) })
	ctx, stop := s.closeContext()
	defer stop()
	if s.legacy != nil {
		return s.closeLegacy(ctx)
	}
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

// closeContext ends when Close has waited long enough.
func (s *Session) closeContext() (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeout(context.Background(), closeLimit)
	go func() {
		p := newPatience(closeTimeout)
		defer p.stop()
		for {
			reachable, changed := s.Reachable()
			select {
			case <-p.over(false, reachable):
				stop()
				return
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, stop
}

// Abort ends the session at once: the peer gets Cancelled, unsent and unread messages are dropped. The peer of a legacy
// session gets nothing.
func (s *Session) Abort() { s.abort(reason.Cancelled) }

func (s *Session) abort(code reason.Code) {
	s.mu.Lock()
	s.apply(s.machine.Abort(code, time.Now()))
	s.mu.Unlock()
}

// flush waits until the session holds nothing that was sent, which the peer has then acked (in a legacy session: the
// link has taken), and reports whether it is so.
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
