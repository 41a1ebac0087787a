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
	if s.machine.WantsToSend() {
		s.link.wants(s)
	}
	if s.machine.Done() {
		s.link.remove(s)
	}
	s.arm()
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

func (s *Session) receive(h *envelope.Header, ciphertext []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(s.machine.Receive(h, ciphertext, now))
}

func (s *Session) linkStatus(st envelope.Status, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(s.machine.LinkStatus(st, now))
}

func (s *Session) linkLost(why *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = why
	s.apply(s.machine.LinkLost(time.Now()))
}

// transmit makes one message of what the session has to send, at most max bytes or one envelope.
func (s *Session) transmit(max int) (out []byte, frames int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, frames = s.machine.Transmit(make([]byte, 0, max), max, time.Now())
	if s.machine.WantsToSend() {
		s.link.wants(s)
	}
	if s.machine.Done() {
		s.link.remove(s)
	}
	s.arm()
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
			e.cause, e.Text = s.lost, s.lost.Text
		}
	default:
		e.By = "local"
	}
	return e
}
