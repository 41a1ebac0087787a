package sim

import (
	"testing"
	"time"

	"github.com/getviewport/relay/internal/session"
)

// wantOpen fails unless the session opened at the n-th attempt, without waiting for longer than d.
func (s *script) wantOpen(p *pair, attempts int, began time.Time, d time.Duration) {
	s.t.Helper()
	if p.daemon == nil || !p.client.opened || !p.daemon.opened || p.attempt != attempts || s.w.now.Sub(began) > d {
		s.t.Fatalf("opened %t at attempt %d after %v, want attempt %d within %v\n%s",
			p.client.opened, p.attempt, s.w.now.Sub(began), attempts, d, s.w.tail())
	}
	s.wantAlive(p)
}

func TestAHandshakeWhoseInitIsLostWithTheDaemonsLinkBeginsAnew(t *testing.T) {
	for _, how := range []string{"the link ends first", "the new link takes over"} {
		t.Run(how, func(t *testing.T) {
			s := newScript(t, Options{})
			began := s.w.now
			p := s.dial(s.clients[0])
			l := s.daemon.current
			s.flowUntil(func() bool { return l.awake }) // INIT is queued for the daemon's link, and never leaves
			if how == "the link ends first" {
				s.cut(l)
				s.flow()
			}
			s.connect(s.daemon)
			s.flow()
			s.wantOpen(p, 2, began, 0)
		})
	}
}

func TestAHandshakeWhoseResponseIsLostWithTheClientsLinkBeginsAnew(t *testing.T) {
	s := newScript(t, Options{})
	began := s.w.now
	p := s.dial(s.clients[0])
	s.flowUntil(func() bool { return s.count(s.daemon, typeResponse) == 1 })
	s.reconnect(s.clients[0])
	s.flow()
	s.wantOpen(p, 2, began, 0)
}

func TestAHandshakeThatNobodyAnswersBeginsAnewAfterTenSeconds(t *testing.T) {
	for _, lost := range []string{"INIT", "RESPONSE"} {
		t.Run(lost, func(t *testing.T) {
			s := newScript(t, Options{})
			s.lose(func(_ *link, up bool, f frame) bool {
				return !up && (f.Type == typeInit && lost == "INIT" || f.Type == typeResponse && lost == "RESPONSE")
			})
			began := s.w.now
			p := s.dial(s.clients[0])
			s.flow()
			s.alter = nil
			s.pass(10 * time.Second)
			s.wantOpen(p, 2, began, 10*time.Second)
		})
	}
}

func TestAHandshakeWithoutADaemonBeginsAnewWhenThereIsOne(t *testing.T) {
	s := newScript(t, Options{})
	s.cut(s.daemon.current)
	s.flow()
	s.daemon.connectAt = s.w.now.Add(time.Hour)
	p := s.dial(s.clients[0])
	s.pass(20 * time.Second)
	began := s.w.now
	s.connect(s.daemon)
	s.flow()
	s.wantOpen(p, 2, began, 0)
}

func TestAReplayedInitReplacesNoSession(t *testing.T) {
	s, p := open(t, Options{})
	c := s.clients[0]
	init := s.last(c, typeInit)
	s.say(p.client, "before")
	s.flow()
	accepted := len(s.daemon.sessions)
	// On a new link the guard knows no place, so that an INIT passes.
	s.cut(c.current)
	s.flow()
	c.connectAt = s.w.now
	c.connect()
	s.inject(c.dialing, init)
	s.flow()
	s.pass(time.Second)
	s.wantAlive(p)
	s.close(p.client)
	s.close(p.daemon)
	s.flow()
	s.wantClean(p)
	for range 19 { // as a tombstone, and while the daemon remembers the id
		s.pass(time.Minute)
		s.deliver(s.daemon.current, init)
		s.flow()
	}
	if got, answers := len(s.daemon.sessions), s.count(s.daemon, typeResponse); got > accepted || answers != 1 {
		t.Errorf("the daemon has %d sessions and answered %d times, want at most %d and 1", got, answers, accepted)
	}
}

func TestAHandshakeThatItsClientNeverConfirmsIsForgotten(t *testing.T) {
	s := newScript(t, Options{})
	p := s.dial(s.clients[0])
	s.lose(func(_ *link, up bool, f frame) bool { return up && f.Type == typeData })
	s.flowUntil(func() bool { return s.count(s.daemon, typeResponse) == 1 })
	p.client.gone = true
	s.clients[0].restart()
	s.pass(10*time.Minute - 1)
	if p.daemon.opened || p.daemon.machine.State() != session.HalfOpen {
		t.Fatalf("opened %t, state %d, want a half-open session", p.daemon.opened, p.daemon.machine.State())
	}
	s.pass(time.Second)
	if got := p.daemon.machine.State(); got != session.Ended || len(s.daemon.sessions) != 0 {
		t.Errorf("state %d, %d sessions after ten minutes, want none", got, len(s.daemon.sessions))
	}
}
