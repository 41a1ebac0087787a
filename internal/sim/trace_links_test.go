package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

func TestANewLinkOfTheSameInstallTakesOverABlackHole(t *testing.T) {
	s, p := open(t, Options{})
	began := s.w.now
	old := s.daemon.current
	old.breakAt(0, 0, true, false) // the relay does not see it
	s.flow()
	s.connect(s.daemon)
	s.pass(600 * time.Millisecond)
	s.wantAlive(p)
	if old.why == nil || old.why.Code != reason.Replaced || s.w.now.Sub(began) > time.Second {
		t.Errorf("the old link ended with %v after %v, want REPLACED at once", old.why, s.w.now.Sub(began))
	}
}

// intruder is a daemon of another install that wants the place.
func (s *script) intruder() *endpoint {
	s.w.strikeEndpoint(Fight, s.daemon)
	i := s.w.tenants[0].intruder
	s.w.tenants[0].leaves = s.w.now.Add(time.Hour)
	return i
}

func TestAnotherInstallDoesNotGetThePlaceOfADaemonThatAnswers(t *testing.T) {
	s, p := open(t, Options{})
	i := s.intruder()
	s.pass(10 * time.Second)
	if i.current != nil || s.daemon.current == nil || len(i.links) != 0 {
		t.Fatal("another install got the place")
	}
	s.wantAlive(p)
	if got := s.count(s.clients[0], typeResume); got != 0 {
		t.Errorf("the session was resumed %d times, want it undisturbed", got)
	}
}

func TestAnotherInstallGetsThePlaceOfABlackHole(t *testing.T) {
	s, p := open(t, Options{})
	s.daemon.current.breakAt(0, 0, false, false)
	began := s.w.now
	i := s.intruder()
	s.passUntil(10*time.Second, func() bool { return i.current != nil })
	if d := s.w.now.Sub(began); i.current == nil || d < 2*time.Second || d > 3*time.Second {
		t.Fatalf("after %v the other install has a link: %t, want one after 2 s", d, i.current != nil)
	}
	s.pass(time.Second)
	s.wantEnd(p.client, session.Peer, reason.SessionUnknown) // it is another daemon
	s.pass(11 * time.Minute)
	s.wantEnd(p.daemon, session.Local, reason.PeerSilent)
}

func TestADaemonThatIsReplacedDoesNotFightBack(t *testing.T) {
	s, _ := open(t, Options{})
	d := s.daemon
	twin := &endpoint{world: s.w, tenant: d.tenant, name: d.name, role: d.role, static: d.static}
	s.w.tenants[0].intruder, s.w.tenants[0].leaves = twin, s.w.now.Add(time.Hour)
	s.passUntil(time.Second, func() bool { return twin.current != nil && s.daemon.current == nil })
	mine := twin.current
	if mine == nil || s.daemon.current != nil {
		t.Fatal("the newcomer did not take over")
	}
	s.pass(29 * time.Second)
	if twin.current != mine || s.daemon.current != nil {
		t.Error("the one that was replaced came back within 30 s")
	}
}

func TestAHigherGenerationTakesOverAtOnceAndALowerOneNeverDoes(t *testing.T) {
	s, p := open(t, Options{})
	i := s.intruder()
	i.generation = 1
	s.flow()
	if i.current == nil || s.daemon.current != nil {
		t.Fatal("the higher generation did not take over at once")
	}
	s.pass(time.Second)
	s.wantEnd(p.client, session.Peer, reason.SessionUnknown) // PEER_AVAILABLE made it ask
	s.pass(time.Minute)
	s.wantEnd(p.daemon, session.Link, reason.LinkLost) // STALE_GENERATION is final
	if s.daemon.current != nil || !s.daemon.stopped || i.current == nil {
		t.Error("the lower generation goes on trying")
	}
}

func TestASecondLinkBeforeTheFirstEndsLosesNothing(t *testing.T) {
	for _, who := range []string{"client", "daemon"} {
		t.Run(who, func(t *testing.T) {
			s, p := open(t, Options{Window: 20_000})
			e := s.clients[0]
			if who == "daemon" {
				e = s.daemon
			}
			var up, down []string
			for i := range 10 {
				a, b := texts(3, 4000+i), texts(3, 5000+i)
				up, down = append(up, a...), append(down, b...)
				s.say(p.client, a...)
				s.say(p.daemon, b...)
				s.flowUntil(func() bool { return len(s.app(p.daemon).heard) >= len(up)-2 })
				old := e.current
				if s.connect(e) == old {
					t.Fatal("still on the old link")
				}
				s.pass(time.Second)
			}
			s.wantHeard(p.daemon, up...)
			s.wantHeard(p.client, down...)
			s.wantAlive(p)
		})
	}
}

func TestATokenThatExpiresEndsTheLinkAndNoSession(t *testing.T) {
	s, p := open(t, Options{})
	for range 3 {
		for _, e := range []*endpoint{s.clients[0], s.daemon} {
			s.say(p.client, "up")
			s.say(p.daemon, "down")
			l := e.current
			l.node.end(l, reason.New(reason.TokenExpired, ""))
			s.passUntil(2*time.Second, func() bool { return e.current != nil && e.current != l })
			if e.current == nil || e.current == l {
				t.Fatalf("%s has no new link", e.name)
			}
		}
	}
	s.pass(time.Second)
	s.wantHeard(p.daemon, "up", "up", "up", "up", "up", "up")
	s.wantHeard(p.client, "down", "down", "down", "down", "down", "down")
	s.wantAlive(p)
}

func TestARevokedClientsSessionsEndAtTheDaemonAtOnceAndNoOthers(t *testing.T) {
	s := newScript(t, Options{Clients: 2})
	revoked, second, other := s.open(s.clients[0]), s.open(s.clients[0]), s.open(s.clients[1])
	s.say(revoked.daemon, "on its way")
	began := s.w.now
	s.clients[0].revoke()
	s.flow()
	for _, p := range []*pair{revoked, second} {
		s.wantEnd(p.daemon, session.Relay, reason.PeerRevoked)
		s.wantEnd(p.client, session.Link, reason.LinkLost) // its Client says why: PAIRING_REVOKED
	}
	if !s.clients[0].stopped || s.w.now != began {
		t.Errorf("the client has given up: %t, after %v", s.clients[0].stopped, s.w.now.Sub(began))
	}
	s.wantAlive(other)
	if got := s.count(s.clients[1], typeResume); got != 0 {
		t.Errorf("the other client's session was resumed %d times", got)
	}
}

func TestARevokedClientThatComesBackIsRefused(t *testing.T) {
	s, p := open(t, Options{})
	s.cut(s.clients[0].current)
	s.flow()
	s.clients[0].revoke()
	s.pass(time.Minute)
	s.wantEnd(p.client, session.Link, reason.LinkLost)
	if !s.clients[0].stopped {
		t.Error("it goes on trying")
	}
}

func TestSessionsMoveFromADrainingRelayToTheNext(t *testing.T) {
	s := newScript(t, Options{Clients: 2})
	var all []*pair
	for range 2 {
		all = append(all, s.open(s.clients[0]), s.open(s.clients[1]))
	}
	first := s.w.front()
	s.w.strikeRelay(Drain, first)
	var sent []string
	for i := range 30 {
		sent = append(sent, fmt.Sprint("at ", i))
		for _, p := range all {
			s.say(p.client, sent[i])
			s.say(p.daemon, sent[i])
		}
		s.pass(time.Second)
	}
	for _, p := range all {
		s.wantHeard(p.daemon, sent...)
		s.wantHeard(p.client, sent...)
	}
	if len(s.w.nodes) != 1 || s.w.nodes[0] == first {
		t.Fatal("the draining relay is still there")
	}
	s.w.endpoints(func(e *endpoint) {
		if e.current == nil || e.current.node != s.w.front() {
			t.Errorf("%s is not on the next relay", e.name)
		}
	})
}
