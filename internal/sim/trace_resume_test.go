package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/session"
)

func TestOneCutWithAWindowOfOneFrameDoesNotWedge(t *testing.T) {
	s, p := open(t, Options{Window: 1})
	s.deaf[p.daemon] = true
	s.say(p.client, "a", "b", "c") // b is received and not consumed, c has no credit
	s.flow()
	s.reconnect(s.clients[0]) // RESUMED says what was consumed then
	s.deaf[p.daemon] = false  // and now the application consumes it
	s.pass(200 * time.Millisecond)
	s.wantHeard(p.daemon, "a", "b", "c")
	if got := s.count(s.clients[0], typeResume); got != 1 {
		t.Errorf("the client sent %d RESUME, want 1: nothing was left for a timer to heal", got)
	}
}

func TestFramesThatCrossTheReceiversResumeArriveOnce(t *testing.T) {
	s, p := open(t, Options{})
	s.lose(func(_ *link, up bool, f frame) bool { return up && f.Type == typeAck }) // so that the daemon asks
	s.say(p.daemon, "down")
	s.pass(5 * time.Second)
	s.say(p.client, "up 1")
	s.flowUntil(func() bool { return s.count(s.daemon, typeResume) > 0 })
	s.say(p.client, "up 2")
	s.alter = nil
	s.pass(time.Second)
	s.say(p.client, "up 3")
	s.pass(100 * time.Millisecond)
	s.wantHeard(p.daemon, "up 1", "up 2", "up 3")
	s.wantHeard(p.client, "down")
}

func TestKillingTheRelayLosesNoSessionAndNoByte(t *testing.T) {
	for _, order := range []string{"daemon first", "client first"} {
		t.Run(order, func(t *testing.T) {
			s, p := open(t, Options{Window: 20_000})
			up, down := texts(9, 5000), texts(9, 6000)
			s.say(p.client, up...)
			s.say(p.daemon, down...)
			s.flowUntil(func() bool { return len(s.app(p.daemon).heard) == 2 })
			s.kill()
			s.pass(time.Minute)
			if order == "daemon first" {
				s.connect(s.daemon)
				s.connect(s.clients[0])
			} else {
				s.connect(s.clients[0])
				s.connect(s.daemon)
			}
			s.pass(time.Second)
			s.wantHeard(p.daemon, up...)
			s.wantHeard(p.client, down...)
			s.close(p.client)
			s.close(p.daemon)
			s.flow()
			s.wantClean(p)
		})
	}
}

func TestAFrameOfAnOldLinkDoesNotTakeTheSessionBack(t *testing.T) {
	s, p := open(t, Options{})
	c := s.clients[0]
	s.cut(c.current)
	s.flow()
	c.connectAt = s.w.now
	c.connect()
	s.flowUntil(func() bool { return s.count(c, typeResume) == 1 })
	third := c.current // dies with its RESUME read by nobody yet
	third.lag = s.w.now.Add(2 * time.Second)
	third.breakAt(len(third.up), 0, true, true)
	if len(third.up) != 1 {
		t.Fatalf("%d messages on the link, want the RESUME", len(third.up))
	}
	s.flow()
	s.connect(c)
	s.pass(3 * time.Second)
	if got := s.w.front().drops.Count(route.DropStale); got != 1 {
		t.Errorf("the relay dropped %d frames of an older link, want 1", got)
	}
	s.wantAlive(p)
	if s.told(c, reason.PeerUnavailable)+s.told(c, reason.SequenceGap) > 0 {
		t.Error("the client was told of trouble that there was not")
	}
}

func TestWhatWasReadFromAnOldLinkIsVoidOnceANewOneIsBound(t *testing.T) {
	s, p := open(t, Options{})
	c := s.clients[0]
	s.say(p.client, "a")
	old := c.current
	s.flowUntil(func() bool { return old.held != nil })
	old.lag = s.w.now.Add(2 * time.Second) // its reader has it in its hand
	s.cut(old)
	s.flow()
	s.connect(c)
	s.say(p.client, "b")
	s.flow()
	s.wantHeard(p.daemon, "a", "b")
	s.pass(3 * time.Second)
	s.wantHeard(p.daemon, "a", "b")
	if got := s.w.front().drops.Count(route.DropDiscarded); got == 0 {
		t.Error("what the old link brought was not discarded")
	}
	s.wantAlive(p)
}

func TestWhatADaemonsReplacedLinkStillBringsGoesNowhere(t *testing.T) {
	s, p := open(t, Options{})
	old := s.daemon.current
	s.say(p.daemon, "a")
	s.flowUntil(func() bool { return old.held != nil })
	old.lag = s.w.now.Add(2 * time.Second)
	s.connect(s.daemon) // takes over
	s.pass(time.Second)
	s.wantHeard(p.client, "a")
	s.pass(3 * time.Second)
	s.wantHeard(p.client, "a")
	s.wantAlive(p)
}

func TestTheLastFrameThatIsLostWithoutATraceArrivesAfterAProbe(t *testing.T) {
	s, p := open(t, Options{})
	s.lose(func(_ *link, up bool, f frame) bool { return !up && f.Type == typeData })
	s.say(p.client, "the last")
	s.flow()
	s.alter = nil
	s.pass(6 * time.Second)
	s.wantHeard(p.daemon, "the last")
}

func TestAResumeThatIsLostWithoutATraceIsSentAgain(t *testing.T) {
	s, p := open(t, Options{})
	s.lose(func(_ *link, up bool, f frame) bool { return !up && f.Type == typeResume })
	s.reconnect(s.clients[0])
	s.say(p.client, "up")
	s.say(p.daemon, "down")
	s.flow()
	s.alter = nil
	s.pass(6 * time.Second)
	s.wantHeard(p.daemon, "up")
	s.wantHeard(p.client, "down")
}

func TestAResumedThatIsLostWithoutATraceIsAskedForAgain(t *testing.T) {
	s, p := open(t, Options{})
	s.lose(func(_ *link, up bool, f frame) bool { return !up && f.Type == typeResumed })
	s.reconnect(s.clients[0])
	s.say(p.client, "up")
	s.flow()
	s.alter = nil
	s.pass(6 * time.Second)
	s.wantHeard(p.daemon, "up")
}

func TestALostAckOnADroppedFrameIsSentAgain(t *testing.T) {
	s, p := open(t, Options{})
	c := s.clients[0]
	s.lose(func(l *link, up bool, f frame) bool { return !up && l.endpoint == s.daemon && f.Type == typeData })
	s.say(p.client, "lost, and lost again")
	s.passUntil(6*time.Second, func() bool { return s.count(c, typeResume) == 1 })
	c.current.lostUp = inFlight // its network is slow just now
	s.say(p.daemon, "down")
	s.flow() // RESUMED and the daemon's message arrive
	c.current.lostUp = 0
	s.flow() // the client's message is sent again, with the newest ack, and lost again
	if got := s.last(c, typeData); !got.Resend || got.Ack != p.daemon.highest {
		t.Fatalf("the last DATA has resend %t, ack %d, want the one that was lost, with ack %d",
			got.Resend, got.Ack, p.daemon.highest)
	}
	s.pass(100 * time.Millisecond)
	s.wantHeard(p.client, "down")
	if out, _ := p.daemon.machine.Buffered(); out > 0 {
		t.Errorf("the daemon still holds %d bytes for want of an ack", out)
	}
	s.alter = nil
	s.pass(time.Minute)
	s.wantHeard(p.daemon, "lost, and lost again")
}

func TestAStaleResumeDoesNotEndAHealthySession(t *testing.T) {
	s, p := open(t, Options{})
	s.reconnect(s.clients[0])
	stale := s.last(s.clients[0], typeResume) // its ack and first are those of the beginning
	for i := range 20 {
		s.say(p.client, fmt.Sprint("up ", i))
		s.say(p.daemon, fmt.Sprint("down ", i))
		s.pass(100 * time.Millisecond)
	}
	s.reconnect(s.clients[0])
	before := len(s.seen)
	s.deliver(s.daemon.current, stale)
	s.flow()
	if len(s.seen) != before {
		t.Errorf("a stale RESUME was answered with %v", s.seen[before].Type)
	}
	s.wantAlive(p)
}

func TestAResumeThatAnAckOvertookEndsNothing(t *testing.T) {
	s, p := open(t, Options{})
	var late frame
	s.alter = func(l *link, up bool, f frame) []frame {
		if !up && f.Type == typeResume {
			late = f
			return nil
		}
		if !up && f.Type == typeAck && l.endpoint.role == route.Client {
			return nil // so that the client asks
		}
		return []frame{f}
	}
	s.say(p.client, "up")
	s.passUntil(6*time.Second, func() bool { return late.Type == typeResume })
	s.alter = nil
	for range 5 {
		s.say(p.daemon, "down")
		s.pass(100 * time.Millisecond)
	}
	late.Workspace, late.Target = []byte(p.tenant.workspace), []byte(target)
	s.deliver(s.daemon.current, late)
	s.flow()
	s.wantHeard(p.client, "down", "down", "down", "down", "down")
	s.wantAlive(p)
	if s.count(s.daemon, typeResumed) != 1 {
		t.Errorf("the daemon answered %d times, want once: nothing proves that the RESUME is old", s.count(s.daemon, typeResumed))
	}
}

func TestAClientSendsNothingSequencedToADaemonThatIsAway(t *testing.T) {
	s, p := open(t, Options{})
	s.cut(s.daemon.current)
	s.flow()
	s.daemon.connectAt = s.w.now.Add(time.Hour)
	before := s.count(s.clients[0], typeData)
	s.say(p.client, texts(5, 9000)...)
	s.pass(time.Minute)
	if got := s.count(s.clients[0], typeData) - before; got != 0 {
		t.Errorf("%d DATA went to nobody", got)
	}
	s.connect(s.daemon)
	s.pass(1100 * time.Millisecond)
	s.wantHeard(p.daemon, texts(5, 9000)...)
}

func TestAResumeThatTheRelayTurnsIntoAResumedIsDropped(t *testing.T) {
	s, p := open(t, Options{})
	s.alter = func(_ *link, up bool, f frame) []frame {
		if !up && f.Type == typeResume {
			f.Type = typeResumed
		}
		return []frame{f}
	}
	s.reconnect(s.clients[0])
	s.flow()
	if got := s.count(s.daemon, typeResumed); got != 0 || p.client.machine.Reachable() {
		t.Fatalf("the daemon sent %d RESUMED, want none", got)
	}
	s.alter = nil
	s.pass(6 * time.Second)
	s.wantAlive(p)
}

func TestAfterTheDaemonReconnectsEachSessionIsResumedOnceByItsClient(t *testing.T) {
	s := newScript(t, Options{Clients: 2})
	var all []*pair
	for range 3 {
		all = append(all, s.open(s.clients[0]), s.open(s.clients[1]))
	}
	s.reconnect(s.daemon)
	s.pass(600 * time.Millisecond)
	up := s.count(s.clients[0], typeResume) + s.count(s.clients[1], typeResume)
	down, answers := s.count(s.daemon, typeResume), s.count(s.daemon, typeResumed)
	if up != 6 || down != 0 || answers != 6 {
		t.Errorf("clients sent %d RESUME, the daemon %d and %d RESUMED, want 6, 0 and 6", up, down, answers)
	}
	for _, p := range all {
		s.wantAlive(p)
	}
}

func TestNothingSequencedGoesOutOnANewLinkBeforeThePeerHasAnswered(t *testing.T) {
	s, p := open(t, Options{})
	answered := map[*endpoint]bool{}
	s.reconnect(s.daemon)
	s.kill()
	s.say(p.client, texts(5, 9000)...)
	s.say(p.daemon, texts(5, 9000)...)
	s.alter = func(l *link, up bool, f frame) []frame {
		if !up && (f.Type == typeResume || f.Type == typeResumed) {
			answered[l.endpoint] = true
		}
		if up && f.Type == typeData && !answered[l.endpoint] {
			t.Errorf("%s sends DATA %d before it has heard of its peer", l.endpoint.name, f.Sequence)
		}
		return []frame{f}
	}
	s.connect(s.daemon)
	s.connect(s.clients[0])
	s.pass(time.Second)
	s.wantHeard(p.daemon, texts(5, 9000)...)
	s.wantHeard(p.client, texts(5, 9000)...)
	if got := s.told(s.clients[0], reason.SequenceGap) + s.told(s.daemon, reason.SequenceGap); got != 0 {
		t.Errorf("the relay told SEQUENCE_GAP %d times, want 0: each sender says where it goes on", got)
	}
}

func TestADaemonThatLostItsKeysEndsTheSessionWithOneClearErrorAndServesNewOnes(t *testing.T) {
	s, p := open(t, Options{})
	s.say(p.client, "before")
	s.flow()
	p.daemon.gone = true
	s.daemon.restart()
	s.w.now = s.w.now.Add(5 * time.Second)
	s.say(p.client, "into the void")
	s.connect(s.daemon)
	s.pass(time.Second)
	s.wantEnd(p.client, session.Peer, reason.SessionUnknown)
	s.wantAlive(s.open(s.clients[0]))
}

func TestASecondGapWithinAFifthOfASecondIsActedOnWhenThatIsOver(t *testing.T) {
	s, p := open(t, Options{})
	lost := map[uint64]bool{}
	s.lose(func(_ *link, up bool, f frame) bool {
		first := up && f.Type == typeData && (f.Sequence == 4 || f.Sequence == 7) && !lost[f.Sequence]
		if first {
			lost[f.Sequence] = true
		}
		return first
	})
	s.say(p.client, "3", "4", "5")
	s.flow()
	s.pass(50 * time.Millisecond)
	s.say(p.client, "6", "7", "8")
	s.flow()
	s.wantHeard(p.daemon, "3", "4", "5", "6")
	s.pass(200 * time.Millisecond)
	s.wantHeard(p.daemon, "3", "4", "5", "6", "7", "8")
	if s.told(s.clients[0], reason.SequenceGap) != 2 || s.count(s.clients[0], typeResume) != 0 {
		t.Errorf("SEQUENCE_GAP told %d times, %d RESUME, want 2 and none", s.told(s.clients[0], reason.SequenceGap),
			s.count(s.clients[0], typeResume))
	}
}

func TestAFrameInSequenceDoesNotPassOnANewLinkBeforeItsSenderSaysWhereItGoesOn(t *testing.T) {
	s, p := open(t, Options{})
	c := s.clients[0]
	next := p.client.highest + 1
	s.lose(func(l *link, up bool, f frame) bool { return up && l.endpoint == s.daemon }) // nobody answers RESUME
	s.reconnect(c)
	s.inject(c.current, p.forged(typeData, next, make([]byte, 40)))
	s.flow()
	if s.told(c, reason.SequenceGap) != 1 || s.w.front().drops.Count(route.DropGap) != 1 {
		t.Errorf("a frame that fits the old link's place was not dropped: SEQUENCE_GAP told %d times, %d dropped",
			s.told(c, reason.SequenceGap), s.w.front().drops.Count(route.DropGap))
	}
	s.alter = nil
	s.pass(6 * time.Second)
	s.wantAlive(p)
}
