package sim

import (
	"io"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// forged is a frame of the session that neither end made.
func (p *pair) forged(typ relayv1.FrameType, sequence uint64, ciphertext []byte) frame {
	return frame{envelope.Header{
		Type: typ, Workspace: []byte(p.tenant.workspace), Target: []byte(target), Session: []byte(p.client.machine.ID()),
		Sequence: sequence, Encoding: relayv1.Encoding_ENCODING_NOISE,
	}, ciphertext}
}

func TestOneDirectionEndsAndTheOtherGoesOn(t *testing.T) {
	s, p := open(t, Options{})
	s.say(p.client, "question")
	s.close(p.client)
	s.flow()
	s.reconnect(s.clients[0])
	s.say(p.daemon, "answer 1", "answer 2")
	s.reconnect(s.daemon)
	s.pass(time.Second)
	s.wantHeard(p.daemon, "question")
	s.wantHeard(p.client, "answer 1", "answer 2")
	if s.app(p.daemon).err != io.EOF || s.app(p.client).err != nil {
		t.Fatalf("the daemon reads %v, the client %v", s.app(p.daemon).err, s.app(p.client).err)
	}
	s.close(p.daemon)
	s.flow()
	s.wantClean(p)
}

func TestAFullWindowDoesNotHoldUpTheEnd(t *testing.T) {
	s, p := open(t, Options{Window: 1})
	s.deaf[p.daemon] = true
	s.say(p.client, "a", "b")
	s.close(p.client)
	s.flow()
	if s.count(s.clients[0], typeClose) != 1 {
		t.Fatal("CLOSE waits for the window")
	}
	s.deaf[p.daemon] = false
	s.flow()
	s.wantHeard(p.daemon, "a", "b")
	if s.app(p.daemon).err != io.EOF {
		t.Errorf("got %v, want the end of data", s.app(p.daemon).err)
	}
}

func TestACloseWhoseAckIsLostStillEndsCleanlyAtBothEnds(t *testing.T) {
	for _, how := range []string{"lost on its way", "lost with the client's link", "lost with the relay"} {
		t.Run(how, func(t *testing.T) {
			s, p := open(t, Options{})
			s.close(p.client)
			s.flow()
			s.lose(func(_ *link, up bool, f frame) bool { return up && f.Type == typeAck })
			s.close(p.daemon)
			s.flow()
			s.alter = nil
			if p.client.machine.State() != session.Closed || p.daemon.machine.State() != session.Open {
				t.Fatalf("states %d and %d, want a tombstone and a session that waits",
					p.client.machine.State(), p.daemon.machine.State())
			}
			s.pass(4 * time.Second) // before the daemon's stall probe
			switch how {
			case "lost with the client's link":
				s.reconnect(s.clients[0])
			case "lost with the relay":
				s.kill()
				s.connect(s.clients[0]) // before the daemon, so that its RESUME meets nobody
				s.connect(s.daemon)
			default:
				s.pass(2 * time.Second)
			}
			s.pass(1600 * time.Millisecond) // PEER_AVAILABLE makes the tombstone ask again, a second after it did
			s.wantClean(p)
		})
	}
}

func TestAForgedCloseIsNoEnd(t *testing.T) {
	s, p := open(t, Options{})
	s.say(p.client, "half of it")
	s.flow()
	for _, n := range []uint64{1, 2, 3, 4, 5} {
		s.deliver(s.daemon.current, p.forged(typeClose, n, make([]byte, 20)))
		s.deliver(s.daemon.current, p.forged(typeClose, n, nil))
	}
	s.flow()
	if s.app(p.daemon).err != nil {
		t.Fatalf("a forged CLOSE: the daemon reads %v", s.app(p.daemon).err)
	}
	s.pass(2 * time.Second)
	s.wantAlive(p)
}

func TestSessionUnknownIsBelievedOnlyByWhoAsked(t *testing.T) {
	s, p := open(t, Options{})
	unknown := p.forged(typeReset, 0, nil)
	unknown.Status, unknown.Encoding = envelope.Status{Code: reason.SessionUnknown}.Append(nil), 0
	s.deliver(s.clients[0].current, unknown)
	s.deliver(s.daemon.current, unknown)
	s.wantAlive(p)
	s.lose(func(_ *link, up bool, f frame) bool { return !up && f.Type == typeResume })
	s.reconnect(s.clients[0])
	s.deliver(s.clients[0].current, unknown)
	s.wantEnd(p.client, session.Peer, reason.SessionUnknown)
}

func TestAnAbortReachesThePeerOverANewLink(t *testing.T) {
	for _, who := range []string{"client", "daemon"} {
		t.Run(who, func(t *testing.T) {
			s, p := open(t, Options{})
			from, e := p.client, s.clients[0]
			if who == "daemon" {
				from, e = p.daemon, s.daemon
			}
			s.cut(e.current)
			s.flow()
			from.apply(from.machine.Abort("", s.w.now))
			s.connect(e)
			s.pass(time.Second)
			s.wantEnd(from.peer(), session.Peer, reason.Cancelled)
		})
	}
}

func TestASessionThatClosedAcrossTwoRelaysIsOverAtTheSecond(t *testing.T) {
	s, p := open(t, Options{SessionsPerClient: 1})
	s.close(p.client) // passes at the first relay
	s.flow()
	s.kill()
	s.connect(s.daemon)
	s.connect(s.clients[0])
	s.close(p.daemon) // at the second
	s.pass(time.Second)
	s.wantClean(p)
	s.wantAlive(s.open(s.clients[0])) // the only place is free
}

func TestATombstoneTakesNoPlaceAtARestartedRelay(t *testing.T) {
	for _, order := range []string{"daemon first", "client first"} {
		t.Run(order, func(t *testing.T) {
			s, p := open(t, Options{SessionsPerClient: 1})
			s.close(p.client)
			s.close(p.daemon)
			s.flow()
			s.wantClean(p)
			s.kill()
			if order == "daemon first" {
				s.connect(s.daemon)
			}
			s.connect(s.clients[0])
			s.connect(s.daemon)
			s.wantAlive(s.open(s.clients[0]))
			before := s.count(s.clients[0], typeResume)
			s.pass(time.Minute)
			s.reconnect(s.clients[0])
			s.pass(time.Minute)
			if got := s.count(s.clients[0], typeResume) - before; got > 2 { // of the session that lives
				t.Errorf("%d RESUME later: the tombstone was answered and still asks", got)
			}
		})
	}
}

func TestARestartedRelayThatHasNoPlaceEndsNoSession(t *testing.T) {
	s := newScript(t, Options{})
	first, second := s.open(s.clients[0]), s.open(s.clients[0])
	s.w.SessionsPerClient = 1 // the next relay has less room
	s.kill()
	s.connect(s.daemon)
	s.connect(s.clients[0])
	s.pass(30 * time.Second)
	if s.told(s.clients[0], reason.Capacity) == 0 {
		t.Fatal("there was room for both")
	}
	s.say(second.client, "up")
	s.say(second.daemon, "down")
	s.say(first.client, "up")
	s.say(first.daemon, "down")
	s.flow()
	for _, p := range []*pair{first, second} {
		if p.client.machine.State() != session.Open || p.daemon.machine.State() != session.Open {
			t.Fatalf("session %d is in states %d and %d", p.n, p.client.machine.State(), p.daemon.machine.State())
		}
	}
	s.close(first.client)
	s.close(first.daemon)
	s.close(second.client)
	s.close(second.daemon)
	s.pass(time.Minute)
	s.wantClean(first)
	s.wantClean(second)
	s.wantHeard(second.daemon, "up")
	s.wantHeard(second.client, "down")
}
