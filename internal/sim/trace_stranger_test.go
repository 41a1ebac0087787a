package sim

import (
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

func TestAStrangerWhoKnowsTheSessionIdCannotTakeTheSession(t *testing.T) {
	for _, relay := range []string{"that knows the session", "that was restarted"} {
		t.Run(relay, func(t *testing.T) {
			s := newScript(t, Options{Clients: 2})
			victim, stranger := s.clients[0], s.clients[1]
			p := s.open(victim)
			if relay == "that was restarted" {
				s.kill()
				s.connect(s.daemon)
				s.connect(stranger) // before the owner
			}
			key := make([]byte, 16)
			for _, f := range []frame{
				p.forged(typeResume, 3, make([]byte, 32)),
				p.forged(typeResumed, 3, make([]byte, 32)),
				p.forged(typeData, 1_000_000, make([]byte, 40)),
				p.forged(typeClose, 4, make([]byte, 40)),
				p.forged(typeAck, 0, nil),
			} {
				if f.Type == typeResume {
					f.BindKey = key
				}
				f.Ack, f.Consumed = 1<<62, 1<<62
				s.inject(stranger.current, f)
			}
			s.flow()
			if s.told(stranger, reason.SessionConflict) != 1 {
				t.Errorf("the stranger is told SESSION_CONFLICT %d times, want 1", s.told(stranger, reason.SessionConflict))
			}
			if victim.current == nil {
				s.connect(victim)
			}
			s.wantAlive(p)
			if s.told(victim, reason.SessionConflict) > 0 {
				t.Error("the owner is told SESSION_CONFLICT")
			}
		})
	}
}

func TestAnOwnersFrameWithAHugeSequenceIsNotTheBaseAfterARestart(t *testing.T) {
	s, p := open(t, Options{})
	s.kill()
	s.connect(s.daemon)
	s.connect(s.clients[0])
	s.inject(s.clients[0].current, p.forged(typeData, 1_000_000, make([]byte, 40)))
	s.flow()
	s.pass(time.Second)
	s.wantAlive(p)
}

func TestJunkDoesNotEndASession(t *testing.T) {
	s, p := open(t, Options{})
	for range 63 {
		s.deliver(s.daemon.current, p.forged(typeData, s.w.tenants[0].pairs[0].client.highest+1, make([]byte, 40)))
	}
	s.wantAlive(p)
	for range 63 {
		f := p.forged(typeResume, 1, make([]byte, 32))
		f.ResumeAttempt = 1 << 40
		s.deliver(s.daemon.current, f)
	}
	s.wantAlive(p)
	s.reconnect(s.clients[0]) // and the attempt that nothing proved does not keep the true one out
	s.wantAlive(p)
}

func TestAReplayWithinABatchIsLeftOutAndTheRestGoesOn(t *testing.T) {
	s, p := open(t, Options{})
	s.say(p.client, "a")
	s.flow()
	old := s.last(s.clients[0], typeData)
	s.alter = func(_ *link, up bool, f frame) []frame {
		if up && f.Type == typeData {
			return []frame{old, f, old}
		}
		return []frame{f}
	}
	s.say(p.client, "b", "c")
	s.flow()
	s.wantHeard(p.daemon, "a", "b", "c")
	if got := s.w.front().drops.Count(route.DropReplay); got != 4 {
		t.Errorf("the relay dropped %d replays, want 4", got)
	}
	if got := s.told(s.clients[0], reason.SequenceReplay); got != 1 {
		t.Errorf("the client was told SEQUENCE_REPLAY %d times in a second, want 1", got)
	}
	s.pass(time.Second)
	if got := s.count(s.clients[0], typeResume); got != 0 {
		t.Errorf("%d RESUME for a replay, want none", got)
	}
}

func TestADaemonsFrameForASessionThatNobodyBoundGoesNowhere(t *testing.T) {
	s, p := open(t, Options{})
	s.kill()
	s.connect(s.daemon)
	s.connect(s.clients[0])
	sessions := s.w.front().targets[0].Stats().Sessions
	stranger := p.forged(typeResume, 1, make([]byte, 32))
	stranger.Session = []byte(envelope.SessionID(make([]byte, 16)))
	for _, typ := range []relayv1.FrameType{typeResume, typeResumed, typeResponse, typeData, typeReset} {
		f := stranger
		f.Type = typ
		if typ == typeReset {
			f.Sequence, f.Status = 0, envelope.Status{Code: reason.Cancelled}.Append(nil)
		}
		if typ == typeResponse {
			f.Profile = relayv1.Profile_PROFILE_NOISE_IK
		}
		s.inject(s.daemon.current, f)
	}
	if got := s.w.front().targets[0].Stats().Sessions; got != sessions {
		t.Errorf("the daemon made %d entries, want none", got-sessions)
	}
	if got := s.w.front().drops.Count(route.DropUnknown); got != 5 {
		t.Errorf("%d frames dropped, want 5", got)
	}
	s.wantAlive(p)
}
