package client

import (
	"errors"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// This file is what stands between a session's machine and the world: it hands inputs to the machine and acts on the
// effects. Everything here holds s.mu for one step of the machine.

var errClosed = &Error{Reason: Closed, By: "local", Text: "the session was closed here"}

// apply acts on what an input changed.
func (s *Session) apply(e session.Effects) {
	if e.Has(session.Opened) {
		close(s.opened)
		if s.onOpen != nil {
			s.onOpen(s)
		}
	}
	s.settleReach()
	if e.Has(session.Readable) {
		signal(s.readable)
	}
	if e.Has(session.Writable) {
		signal(s.writable)
	}
	if e.Has(session.EndedClean) || e.Has(session.EndedUnclean) {
		close(s.over)
		signal(s.readable)
		signal(s.writable)
	}
	signal(s.acked)
	s.settle()
}

// settle ends a step of the machine: whatever it wants next will come.
func (s *Session) settle() {
	if s.machine.WantsToSend() {
		s.carrier.wants(s)
	}
	if s.machine.Done() {
		s.carrier.remove(s)
	}
	s.arm()
}

// wants sees to it that s is asked for what it has to send; while there is no link nobody is, and linkUp says it again.
// It makes keeper a carrier, with remove.
func (k *keeper) wants(s *Session) {
	if s.on != nil {
		s.on.wants(s)
	}
}

// start gives the machine its first turn.
func (s *Session) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(0)
}

// arm makes the timer fire at the machine's deadline.
func (s *Session) arm() {
	deadline := s.machine.Deadline()
	switch {
	case deadline.IsZero():
		if s.timer != nil {
			s.timer.Stop()
		}
		s.armed = time.Time{}
	case s.armed.IsZero() || deadline.Before(s.armed):
		s.armed = deadline
		if s.timer == nil {
			s.timer = time.AfterFunc(time.Until(deadline), s.tick)
		} else {
			s.timer.Reset(time.Until(deadline))
		}
	}
	// A deadline that moved back leaves the timer as it is: tick finds nothing due and arms it again.
}

func (s *Session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = time.Time{}
	s.apply(s.machine.Tick(time.Now()))
}

// receive takes an envelope that came on l. What an older link still brings is dropped: the machine has told its peer
// where it stood when the new one began, and gets it again.
func (s *Session) receive(l *link, h *envelope.Header, ciphertext []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on == l {
		s.apply(s.native.Receive(h, ciphertext, now))
	}
}

func (s *Session) linkStatus(l *link, st envelope.Status, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on == l {
		s.apply(s.native.LinkStatus(st, now))
	}
}

// linkLost tells that l has ended; a session that is on another one does not care.
func (s *Session) linkLost(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on == l {
		s.on, s.lost = nil, l.err
		s.apply(s.native.LinkLost(time.Now()))
	}
}

// linkUp moves the session to l.
func (s *Session) linkUp(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = l
	s.apply(s.native.LinkUp(time.Now()))
}

// abandon ends the session, for there will be no link any more.
func (s *Session) abandon(why *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on, s.lost = nil, why
	s.apply(s.native.Abandon(time.Now()))
}

// settleReach notes whether frames reach the peer now, and tells it when that changes.
func (s *Session) settleReach() {
	if now := s.machine.Reachable(); now != s.reachable {
		s.reachable = now
		close(s.reachChanged)
		s.reachChanged = make(chan struct{})
	}
}

// transmit makes one message for l of what the session has to send, at most max bytes or one envelope.
func (s *Session) transmit(l *link, max int) (out []byte, frames int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued == l {
		s.queued = nil
	}
	if s.on != l {
		return nil, 0
	}
	out, frames = s.native.Transmit(make([]byte, 0, max), max, time.Now())
	s.settle()
	return out, frames
}

// endError turns the machine's error into this package's. Called with or without s.mu: what it reads is set before the
// session ends.
func (s *Session) endError(err error) error {
	var end *session.End
	if !errors.As(err, &end) {
		var r *reason.Error
		if errors.As(err, &r) {
			return &Error{Reason: Reason(r.Code), By: "local", Text: r.Message()}
		}
		return err
	}
	e := &Error{Reason: Reason(end.Code()), Text: end.Reason.Message(), RetryAfter: end.Reason.RetryAfter}
	switch end.By {
	case session.Peer:
		e.By = "peer"
	case session.Relay:
		e.By = "relay"
	case session.Link:
		e.By = "link"
		if s.lost != nil {
			return s.lost
		}
	default:
		e.By = "local"
	}
	return e
}
