package route_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/route"
)

// narrow has the smallest share there is: 36,642 bytes, two of the longest DATA frames and two CLOSEs.
var narrow = route.Limits{SessionWindow: 1}

func TestTheShareIsTwoWindowsAndTwoCloses(t *testing.T) {
	for window, want := range map[int]int64{1: 2*16273 + 4096, 16273: 2*16273 + 4096, 1 << 20: 2<<20 + 4096} {
		if got := route.Share(window); got != want {
			t.Errorf("window %d: got a share of %d, want %d", window, got, want)
		}
	}
}

// The trace of finding 12: a sender that keeps its window never meets the share, though a whole window is on the wire
// when it sends the window again.
func TestTrace12ASenderThatKeepsItsWindowNeverMeetsTheShare(t *testing.T) {
	const window = 4 * 16273
	w := play(t, route.Limits{SessionWindow: window}, opened)
	send := func(flag string) {
		for i := range 4 {
			w.play(fmt.Sprintf("c: DATA %d%s a bytes=16017", 2+i, flag))
			flag = ""
		}
	}
	send("")
	w.play("c: CLOSE 6 a bytes=200")
	// All of it is on the wire, for how long the receiver likes.
	for {
		if _, more := w.take(w.links["d"], 1<<20); more {
			break
		}
	}
	for range 5 {
		send("!")
		w.play("c: CLOSE 6 a bytes=200\nc> nothing")
	}
	w.play("d> DATA 2! a, DATA 3 a, DATA 4 a, DATA 5 a, CLOSE 6 a\nc> nothing")
}

func TestOverItsShareASessionsFramesAreDroppedAndItsSenderGoesBackToTheLowest(t *testing.T) {
	w := play(t, narrow, opened+`
		c: DATA 2 a bytes=100
		d> DATA 2 a
		c: DATA 3 a bytes=16000
		c: DATA 4 a bytes=16000, ACK a
		c: DATA 5 a bytes=16000
		c> STATUS SEQUENCE_GAP 3 a
		c: DATA 6 a, DATA 7 a
		c> nothing
		+1s
		c: DATA 8 a
		c> STATUS SEQUENCE_GAP 3 a
		# what is not sequenced stays, the session lives
		d> ACK a
		c: DATA 3! a bytes=16000
		c: DATA 4 a bytes=16000
		d> DATA 3! a, DATA 4 a
		c> nothing
	`)
	if got := w.drops.Count(route.DropShare); got != 6 {
		t.Errorf("got %d frames dropped for the share, want 6", got)
	}
}

func TestTheLowestDroppedMayNotBeForwardedYet(t *testing.T) {
	play(t, narrow, opened+`
		c reads: DATA 2 a bytes=16000, DATA 3 a bytes=16000, ACK a, DATA 4 a bytes=16000
		c forwards
		c> STATUS SEQUENCE_GAP 2 a
		d> ACK a
	`)
}

// What is left of a run that was cut inside costs what its frames do, to a few bytes.
func TestWhatASenderWentBackFromDoesNotCostItsShareAnyMore(t *testing.T) {
	const rest = "c: DATA 3! a bytes=15000\nc: DATA 4 a bytes=2600\nc> nothing\nd> DATA 2 a, DATA 3! a, DATA 4 a"
	play(t, narrow, opened+"c: DATA 2 a bytes=15000, DATA 3 a bytes=15000\n"+rest)
	play(t, narrow, opened+`
		c reads: DATA 2 a bytes=15000, DATA 3 a bytes=15000, DATA 3! a bytes=1
		c forwards
	`+rest)
}

func TestASessionOverItsShareDoesNotDisturbAnother(t *testing.T) {
	play(t, narrow, opened+`
		c: INIT b
		d> INIT b
		d: RESPONSE b
		c> RESPONSE b
		c: DATA 2 a bytes=16000
		c: DATA 2 b bytes=16000
		c: DATA 3 a bytes=16000
		c: DATA 4 a bytes=16000
		c: DATA 3 b bytes=100
		c> STATUS SEQUENCE_GAP 2 a
		d> DATA 2 b, DATA 3 b
	`)
}

// overflow puts a session over its share and lets the sender go back.
const overflow = `
	c: DATA 2! a bytes=16000
	c: DATA 3 a bytes=16000
	c: DATA 4 a bytes=16000
	c> STATUS SEQUENCE_GAP 2 a
`

func TestOverItsShareThreeTimesAMinuteASessionEndsAtBothEnds(t *testing.T) {
	w := play(t, narrow, opened+overflow+"+29s"+overflow+`
		+30s
		c: DATA 2! a bytes=16000
		c: DATA 3 a bytes=16000
		c: DATA 4 a bytes=16000
		c> STATUS SLOW_CONSUMER a
		d> STATUS SLOW_CONSUMER a
		# both are told again when they go on
		+1s
		c: RESUME a, RESUME a
		d: ACK a
		c> STATUS SLOW_CONSUMER a
		d> STATUS SLOW_CONSUMER a
		# anybody may send this: it is not told about the session
		c: DATA 5 a
		c> STATUS SEQUENCE_GAP 0 a
		+10m
	`)
	if got := w.target.Stats().Sessions; got != 0 {
		t.Errorf("got %d sessions ten minutes later, want 0", got)
	}
}

func TestOverItsShareLessOftenASessionLives(t *testing.T) {
	play(t, narrow, opened+overflow+"+30s"+overflow+"+30s"+overflow+"+31s"+overflow+"c: DATA 2! a\nd> DATA 2! a")
}

func TestFramesWithoutASequenceHaveAShareOfTheirOwn(t *testing.T) {
	w := play(t, narrow, opened)
	for range 200 {
		w.play("c: ACK a")
	}
	if got, want := len(w.takeAll(w.links["d"])), 143; got != want {
		t.Errorf("got %d ACKs of 256 bytes in a share of 36,642, want %d", got, want)
	}
	w.play("c> nothing\nc: ACK a, DATA 2 a\nd> ACK a, DATA 2 a")
}

func TestOverALinksBudgetSessionsStillMoveAndAreNotToBlame(t *testing.T) {
	script := opened + "c: INIT b\nd> INIT b\nd: RESPONSE b\nc> RESPONSE b"
	for i := range 5 {
		script += fmt.Sprintf("\nc: DATA %d a bytes=16000", 2+i)
	}
	w := play(t, route.Limits{LinkBytes: 60000}, script+`
		c> STATUS SEQUENCE_GAP 5 a
		c: DATA 2 b bytes=16000
		c: DATA 3 b bytes=15000
		c: DATA 4 b bytes=16000
		c> STATUS SEQUENCE_GAP 4 b
		+1s
		c: DATA 7 a, DATA 5 b, ACK a
		c> STATUS SEQUENCE_GAP 5 a, STATUS SEQUENCE_GAP 4 b
		d> DATA 2 a, DATA 2 b, DATA 3 a, DATA 3 b, DATA 4 a, ACK a
		c: DATA 5! a, DATA 4! b
		d> DATA 5! a, DATA 4! b
	`)
	if got := w.drops.Count(route.DropBudget); got != 2 {
		t.Errorf("got %d dropped for the budget, want 2", got)
	}
}

func TestBytesOnTheWireCountUntilTheNextTake(t *testing.T) {
	w := play(t, route.Limits{}, opened+"c: DATA 2 a bytes=5000\nd takes: DATA 2 a")
	if got := w.links["d"].Stats().Queued; got < 5256 {
		t.Errorf("got %d bytes on the wire, want at least 5256", got)
	}
	w.play("d> nothing")
	if got := w.links["d"].Stats().Queued; got != 0 {
		t.Errorf("got %d bytes after the next Take, want 0", got)
	}
	w.play("c: DATA 3 a bytes=5000\nd takes: DATA 3 a\ndetach d")
	if got := w.budget.Used(); got != 0 {
		t.Errorf("got %d bytes after the link ended, want 0", got)
	}
}

func TestMemoryIsChargedByWhatARunPins(t *testing.T) {
	w := play(t, route.Limits{}, opened+"c: DATA 2 a bytes=5000, DATA 3 b bytes=5000\nc> STATUS SEQUENCE_GAP 0 b")
	// One frame of the batch is queued, and keeps the buffer of both.
	if got := w.links["d"].Stats().Queued; got < 10000 {
		t.Errorf("got %d bytes charged, want the batch's 10,000 and more", got)
	}
	w.play("d> DATA 2 a")
}

func TestCountersOfLinksAndTarget(t *testing.T) {
	w := play(t, route.Limits{}, opened+"c: DATA 2 a bytes=1000, ACK a\nd> DATA 2 a, ACK a")
	c, d, s := w.links["c"].Stats(), w.links["d"].Stats(), w.target.Stats()
	if c.In.Frames != 3 || c.In.Bytes < 1000 || c.In != d.Out || c.Out != d.In || d.In.Frames != 1 {
		t.Errorf("got %+v and %+v, want 3 frames up and 1 down at both", c, d)
	}
	if c.Sessions != 1 || d.Sessions != 1 || c.Role != route.Client || d.Serial != 1 {
		t.Errorf("got %+v and %+v", c, d)
	}
	if s.Sessions != 1 || s.Clients != 1 || !s.Daemon || s.DaemonSerial != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestDropReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	new(route.Drops).Each(func(d route.Drop, _ uint64) {
		if d.String() == "" || seen[d.String()] {
			t.Errorf("reason %d is called %q", d, d.String())
		}
		seen[d.String()] = true
	})
	if len(seen) < 10 {
		t.Errorf("got %d reasons", len(seen))
	}
}

// TestLifetimes has the times after which the relay forgets.
func TestLifetimes(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		lives        time.Duration
	}{
		{"ten minutes after its client's link ended", "detach c", 10 * time.Minute},
		{"ten minutes after its client's link ended, whatever the daemon sends",
			"detach c\n+5m\nd: DATA 2 a, ACK a", 5 * time.Minute},
		{"ten minutes after both CLOSE", "c: CLOSE 2 a\nd: CLOSE 2 a\nd> CLOSE 2 a\nc> CLOSE 2 a", 10 * time.Minute},
		{"ten minutes after the last frame after both CLOSE",
			"c: CLOSE 2 a\nd: CLOSE 2 a\n+599s\nc: ACK a\nd> CLOSE 2 a, ACK a\nc> CLOSE 2 a", 10 * time.Minute},
		{"ten minutes after a RESET", "d: RESET a\nc> RESET a", 10 * time.Minute},
		{"ten minutes after both CLOSE also when its client's link has ended",
			"c: CLOSE 2 a\nd: CLOSE 2 a\nd> CLOSE 2 a\n+1m\ndetach c", 9 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := play(t, route.Limits{}, opened+tt.script)
			w.advance(tt.lives - 1)
			if got := w.target.Stats().Sessions; got != 1 {
				t.Errorf("got %d sessions just before %v, want 1", got, tt.lives)
			}
			w.advance(1)
			if got := w.target.Stats().Sessions; got != 0 {
				t.Errorf("got %d sessions at %v, want 0", got, tt.lives)
			}
			if err := w.check(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("not while its client's link lives, nor after one CLOSE, nor when the client came back", func(t *testing.T) {
		w := play(t, route.Limits{}, opened+"c: CLOSE 2 a\n+1h\ndetach c\n+9m\nattach c client\nc: RESUME a\n+1h")
		if got := w.target.Stats().Sessions; got != 1 {
			t.Errorf("got %d sessions, want 1", got)
		}
	})
	t.Run("a target without links, sessions and a generation holds nothing", func(t *testing.T) {
		w := play(t, route.Limits{}, "attach d daemon gen=3\nattach c client\nc: INIT a\ndetach c\n+10m\ndetach d")
		if w.target.Idle() {
			t.Error("idle while a generation is remembered")
		}
		w.advance(10 * time.Minute)
		if !w.target.Idle() || !w.target.Deadline().IsZero() {
			t.Errorf("got idle %v and a deadline %v, want none", w.target.Idle(), w.target.Deadline())
		}
	})
}

// Whoever waits for the mutex brings a time from before.
func TestATimeThatGoesBackDoesNoHarm(t *testing.T) {
	w := play(t, route.Limits{}, opened+"c: INIT b\nd> INIT b\nc: RESET a\nd> RESET a")
	w.now = w.now.Add(-time.Second)
	w.play("c: RESET b\nd> RESET b")
}

func TestHeartbeats(t *testing.T) {
	beat := route.Limits{Heartbeat: 20 * time.Second}
	t.Run("go out when nothing was sent for the interval; a link silent for three is dead", func(t *testing.T) {
		play(t, beat, `
			attach c client
			+19999ms
			c> nothing
			+1ms
			c> HEARTBEAT
			+19s
			c: HEARTBEAT
			+1s
			c> HEARTBEAT
			+20s
			c> HEARTBEAT
			+38999ms
			c> HEARTBEAT
			+1ms
			! c closed LINK_DEAD
			+1h
		`)
	})
	t.Run("are not needed on a busy link", func(t *testing.T) {
		play(t, beat, opened+`
			+10s
			c: ACK a
			d: ACK a
			d> ACK a
			c> ACK a
			+19s
			d> nothing
			c> nothing
			+1s
			d> HEARTBEAT
			c> HEARTBEAT
		`)
	})
	t.Run("do not pile up on a link that takes nothing", func(t *testing.T) {
		play(t, beat, "attach c client\n+59s\nc> HEARTBEAT")
	})
	t.Run("a daemon that is dead is told to its clients", func(t *testing.T) {
		play(t, beat, opened+`
			+50s
			c: HEARTBEAT
			+10s
			! d closed LINK_DEAD
			c> HEARTBEAT, STATUS PEER_UNAVAILABLE
		`)
	})
	t.Run("off", func(t *testing.T) {
		w := play(t, route.Limits{}, "attach c client\n+24h\nc> nothing")
		if !w.target.Deadline().IsZero() {
			t.Error("there is a deadline")
		}
	})
}
