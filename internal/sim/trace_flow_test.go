package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

func TestAMessageLongerThanTheWindowArrives(t *testing.T) {
	for _, window := range []int{1, 20_000} {
		s, p := open(t, Options{Window: window, MaxMessage: 400_000})
		long := strings.Repeat("long ", 80_000)
		s.say(p.client, long)
		s.say(p.daemon, long)
		s.reconnect(s.clients[0])
		s.pass(time.Second)
		s.wantHeard(p.daemon, long)
		s.wantHeard(p.client, long)
	}
}

func TestASlowReaderIsNotSentTwiceWhatItHasAndNotMoreThanItsWindow(t *testing.T) {
	s, p := open(t, Options{Window: 20_000})
	s.deaf[p.daemon] = true
	all := texts(30, 3000)
	s.say(p.client, all...)
	s.flow()
	sent := s.count(s.clients[0], typeData)
	for range 5 {
		s.reconnect(s.clients[0])
		s.pass(time.Minute)
	}
	if got := s.count(s.clients[0], typeData); got != sent {
		t.Errorf("%d frames were sent again to a reader that has them", got-sent)
	}
	if _, in := p.daemon.machine.Buffered(); in > 20_000+16_001 {
		t.Errorf("the daemon holds %d bytes, want a window and a message at most", in)
	}
	if p.client.machine.Reachable() != true {
		t.Error("a slow reader counts as away")
	}
	s.deaf[p.daemon] = false
	s.pass(time.Second)
	s.wantHeard(p.daemon, all...)
}

func TestAWindowThatIsSentTwiceFitsTheShareOfAQueue(t *testing.T) {
	s, p := open(t, Options{Window: 20_000})
	s.deaf[p.daemon] = true
	s.daemon.current.frozen = s.w.now.Add(10 * time.Second) // what is on the wire to it can't be called back
	all := texts(12, 1900)
	s.say(p.client, all...)
	s.flow()
	gap := p.forged(typeStatus, 0, nil)
	gap.Status, gap.Encoding = envelope.Status{Code: reason.SequenceGap, Expected: 3}.Append(nil), 0
	s.deliver(s.clients[0].current, gap)
	s.flow() // the whole window again
	if got := s.count(s.clients[0], typeData); got < 2*8 {
		t.Fatalf("%d frames, want a window twice", got)
	}
	s.deaf[p.daemon] = false
	s.pass(20 * time.Second)
	s.wantHeard(p.daemon, all...)
	if got := s.w.front().drops.Count(route.DropShare); got != 0 {
		t.Errorf("%d frames were over the share, want none", got)
	}
	s.wantAlive(p)
}

func TestASessionOverItsShareIsSentAgainAndLives(t *testing.T) {
	s := newScript(t, Options{Window: 1})
	s.w.Window = 80_000 // the endpoints have not heard of the relay's window
	p := s.open(s.clients[0])
	s.daemon.current.frozen = s.w.now.Add(100 * time.Millisecond)
	all := texts(40, 3000)
	s.say(p.client, all...)
	s.flow()
	if s.w.front().drops.Count(route.DropShare) == 0 || s.told(s.clients[0], reason.SequenceGap) == 0 {
		t.Fatal("nothing was over the share")
	}
	s.pass(time.Minute)
	s.wantHeard(p.daemon, all...)
	s.wantAlive(p)
}

func TestADaemonThatTakesNothingCostsNoClientItsLink(t *testing.T) {
	s := newScript(t, Options{Clients: 2, Window: 20_000})
	first, second := s.open(s.clients[0]), s.open(s.clients[1])
	links := []*link{s.clients[0].current, s.clients[1].current}
	up := texts(30, 3000)
	s.daemon.current.frozen = s.w.now.Add(55 * time.Second)
	s.say(first.client, up...)
	s.say(second.client, up...)
	s.pass(2 * time.Minute)
	for i, c := range s.clients {
		if c.current != links[i] {
			t.Errorf("%s lost its link", c.name)
		}
	}
	s.wantHeard(first.daemon, up...)
	s.wantHeard(second.daemon, up...)
	s.wantAlive(first)
	s.wantAlive(second)
}

func TestFramesAcrossARekeyAreSentAgainAfterTheRelayWasKilled(t *testing.T) {
	s, p := open(t, Options{Window: 1 << 20})
	const boundary = 65_537 // the last sequence of epoch 0
	n := 0
	for p.client.highest < boundary-2 {
		k := min(100, int(boundary-2-p.client.highest))
		for range k {
			s.say(p.client, "")
		}
		s.flow()
		s.pass(30 * time.Millisecond) // for the ack
		n += k
	}
	if got := len(s.app(p.daemon).heard); got != n {
		t.Fatalf("%d messages of %d arrived", got, n)
	}
	s.app(p.daemon).heard = nil
	s.lose(func(_ *link, up bool, f frame) bool { return !up && f.Type == typeData })
	want := []string{"in the old epoch", "last of the old epoch", "first of the new epoch", "in the new epoch"}
	s.say(p.client, want...)
	s.flow()
	if p.client.highest != boundary+2 {
		t.Fatalf("sent up to %d, want %d", p.client.highest, boundary+2)
	}
	s.alter = nil
	s.kill()
	s.connect(s.clients[0])
	s.connect(s.daemon)
	s.pass(time.Second)
	s.wantHeard(p.daemon, want...)
	s.wantAlive(p)
}

func TestManySmallMessagesOverManyLinksArriveOnceAndInOrder(t *testing.T) {
	s, p := open(t, Options{Window: 20_000})
	var up, down []string
	for i := range 60 {
		for k := range 7 {
			up, down = append(up, fmt.Sprint("up ", i, " ", k)), append(down, fmt.Sprint("down ", i, " ", k))
			s.say(p.client, up[len(up)-1])
			s.say(p.daemon, down[len(down)-1])
		}
		s.flowUntil(func() bool { return len(s.app(p.daemon).heard) >= len(up)-2 })
		switch i % 3 {
		case 0:
			s.reconnect(s.clients[0])
		case 1:
			s.connect(s.daemon)
		case 2:
			s.kill()
			s.connect(s.daemon)
			s.connect(s.clients[0])
		}
		s.pass(600 * time.Millisecond)
	}
	s.pass(time.Second)
	s.wantHeard(p.daemon, up...)
	s.wantHeard(p.client, down...)
}
