package client

import (
	"context"
	"errors"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// machine is what a Session makes its promises of: session.Machine for our protocol, legacysession.Machine for the one
// of today's daemons and browsers. Their methods are described there. How envelopes get into it and out of it is no
// part of this: that is between the machine and who carries it.
type machine interface {
	ID() string
	MaxMessage() int
	Send(msg []byte, now time.Time) (taken int, done bool, e session.Effects, err error)
	Next(now time.Time) (msg []byte, ok bool, e session.Effects, err error)
	Abort(code reason.Code, now time.Time) session.Effects
	Err() error
	Buffered() (out, in int)
	Reachable() bool
	WantsToSend() bool
	Deadline() time.Time
	Tick(now time.Time) session.Effects
	Done() bool
}

// legacyMachine is a machine of the other protocol.
type legacyMachine interface {
	machine
	PairingPeerID() string
}

// carrier takes what sessions have to send to the relay. Both methods are called with s.mu held, after each step of the
// machine for which it is so, and must not block.
type carrier interface {
	wants(s *Session)  // its machine WantsToSend
	remove(s *Session) // its machine is Done
}

// Carrier is package legacy's part in a session. Both functions are called after each step of the machine for which it
// is so, the session locked; they must not block, nor step a machine.
type Carrier struct {
	Wants func() // the machine WantsToSend
	Done  func() // the machine is Done
}

func (c Carrier) wants(*Session)  { c.Wants() }
func (c Carrier) remove(*Session) { c.Done() }

// NewLegacySession makes a Session of package legacy's machine. It is for that package alone: nobody else can make a
// machine. From then on the machine belongs to the Session: whoever carries it takes steps of it inside of step only,
// which acts on the effects and returns them.
func NewLegacySession(m legacyMachine, c Carrier, profile identity.Profile) (
	s *Session, step func(func(now time.Time) session.Effects) session.Effects,
) {
	s = makeSession(m, c, profile)
	s.legacy = m
	return s, func(f func(now time.Time) session.Effects) session.Effects {
		s.mu.Lock()
		defer s.mu.Unlock()
		e := f(time.Now())
		s.apply(e)
		return e
	}
}

// Legacy reports whether this is a session of package legacy: without resume, acks, flow control and a clean end.
func (s *Session) Legacy() bool { return s.legacy != nil }

// PairingPeerID is the pairing whose pre-shared key the peer of a legacy session of profile NoiseIKpsk2 has proved to
// hold: at a daemon it is empty until the first message came, because a handshake can be a replay. It is always empty
// with NoiseIK, where a daemon's peer is nobody, and in sessions of our own protocol, which have Peer.
func (s *Session) PairingPeerID() string {
	if s.legacy == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.legacy.PairingPeerID()
}

// closeLegacy is Close where there is nothing to tell the peer.
func (s *Session) closeLegacy(ctx context.Context) error {
	code := reason.Cancelled
	if acquire(ctx, s.sending) == nil {
		if s.flush(ctx) {
			code = reason.Closed
		}
		release(s.sending)
	}
	s.abort(code)
	if err := s.Err(); !errors.Is(err, Closed) {
		return err
	}
	return nil
}
