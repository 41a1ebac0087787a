package guard_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/guard"
	"github.com/getviewport/relay/internal/reason"
)

// arrival is a frame, when it comes, and what must become of it.
type arrival struct {
	at     time.Duration
	event  guard.Event
	unset  bool // the sender's side is bound to another link first
	want   guard.Verdict
	expect uint64 // Next afterwards
}

func data(sequence uint64) guard.Event   { return guard.Event{Sequence: sequence} }
func resend(sequence uint64) guard.Event { return guard.Event{Sequence: sequence, Resend: true} }

// handshake1 is a HANDSHAKE_INIT or HANDSHAKE_RESPONSE.
func handshake1() guard.Event { return guard.Event{Sequence: 1, Handshake: true} }

func gap(expected uint64) guard.Verdict {
	return guard.Verdict{Tell: reason.SequenceGap, Expected: expected}
}

func replay(expected uint64) guard.Verdict {
	return guard.Verdict{Tell: reason.SequenceReplay, Expected: expected}
}

// TestGuard has every row of the table in docs/protocol.md, "Sequencing: the guard".
func TestGuard(t *testing.T) {
	pass, goesBack, silent := guard.Verdict{Pass: true}, guard.Verdict{Pass: true, Purge: true}, guard.Verdict{}
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		arrivals []arrival
	}{
		{"a session that starts is forwarded in order", []arrival{
			{event: handshake1(), want: pass, expect: 2},
			{event: data(2), want: pass, expect: 3},
			{event: data(3), want: pass, expect: 4},
		}},
		{"resend goes on from any sequence, when the next is unset", []arrival{
			{event: resend(9), want: goesBack, expect: 10},
			{event: data(10), want: pass, expect: 11},
		}},
		{"resend goes on from any sequence, below and above the next", []arrival{
			{event: resend(9), want: goesBack, expect: 10},
			{event: resend(4), want: goesBack, expect: 5},
			{event: resend(5), want: goesBack, expect: 6},
			{event: resend(1000), want: goesBack, expect: 1001},
		}},
		{"resend of a handshake frame is a resend", []arrival{
			{event: data(7), want: gap(0)},
			{event: guard.Event{Sequence: 1, Resend: true, Handshake: true}, want: goesBack, expect: 2},
		}},
		{"sequence 1 starts nothing but on a handshake frame", []arrival{
			{event: data(1), want: gap(0)},
			{event: guard.Event{Sequence: 2, Handshake: true}, want: silent},
		}},
		{"a handshake frame that comes again is a replay", []arrival{
			{event: handshake1(), want: pass, expect: 2},
			{event: handshake1(), want: replay(2), expect: 2},
		}},
		{"a frame of a session that the relay does not know is told to resume, once a second", []arrival{
			{event: data(5), want: gap(0)},
			{at: 999 * ms, event: data(6), want: silent},
			{at: 1000 * ms, event: data(7), want: gap(0)},
			{at: 1999 * ms, event: data(8), want: silent},
		}},
		{"a replay is told once a second and changes nothing", []arrival{
			{event: resend(5), want: goesBack, expect: 6},
			{event: data(5), want: replay(6), expect: 6},
			{at: 10 * ms, event: data(2), want: silent, expect: 6},
			{at: 20 * ms, event: data(6), want: pass, expect: 7},
			{at: 30 * ms, event: data(6), want: silent, expect: 7},
			{at: 1000 * ms, event: data(6), want: replay(7), expect: 7},
		}},
		{"a gap is told at its start and then once a second while it lasts", []arrival{
			{event: resend(1), want: goesBack, expect: 2},
			{event: data(4), want: gap(2), expect: 2},
			{at: 500 * ms, event: data(5), want: silent, expect: 2},
			{at: 1000 * ms, event: data(6), want: gap(2), expect: 2},
			{at: 1500 * ms, event: data(7), want: silent, expect: 2},
		}},
		{"a frame that is expected ends a gap: the next gap is told at once", []arrival{
			{event: resend(1), want: goesBack, expect: 2},
			{event: data(4), want: gap(2), expect: 2},
			{at: 1 * ms, event: data(2), want: pass, expect: 3},
			{at: 2 * ms, event: data(4), want: gap(3), expect: 3},
		}},
		{"resend ends a gap: the next gap is told at once", []arrival{
			{event: resend(1), want: goesBack, expect: 2},
			{event: data(4), want: gap(2), expect: 2},
			{at: 1 * ms, event: resend(2), want: goesBack, expect: 3},
			{at: 2 * ms, event: data(4), want: gap(3), expect: 3},
		}},
		{"a replay within a gap does not end it", []arrival{
			{event: resend(5), want: goesBack, expect: 6},
			{event: data(8), want: gap(6), expect: 6},
			{at: 1 * ms, event: data(5), want: replay(6), expect: 6},
			{at: 2 * ms, event: data(9), want: silent, expect: 6},
		}},
		{"another link of the sender starts unset, and is told at once", []arrival{
			{event: resend(5), want: goesBack, expect: 6},
			{event: data(9), want: gap(6), expect: 6},
			{at: 1 * ms, unset: true, event: data(6), want: gap(0)},
			{at: 2 * ms, event: resend(4), want: goesBack, expect: 5},
		}},
		{"the highest sequence passes", []arrival{
			{event: resend(1<<63 - 1), want: goesBack, expect: 1 << 63},
			{event: data(1<<63 - 1), want: replay(1 << 63), expect: 1 << 63},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var g guard.Guard
			for i, a := range tt.arrivals {
				if a.unset {
					g.Unset()
				}
				if got := g.Step(a.event, start.Add(a.at)); got != a.want {
					t.Errorf("arrival %d, %+v: got %+v, want %+v", i, a.event, got, a.want)
				}
				if got := g.Next(); got != a.expect {
					t.Errorf("arrival %d, %+v: next is %d, want %d", i, a.event, got, a.expect)
				}
			}
		})
	}
}

// TestWhatPassesWithoutResendIsContiguous: between two frames with resend, whatever arrives, a receiver sees no hole,
// no repetition and no change of order, and a verdict never both passes and tells.
func TestWhatPassesWithoutResendIsContiguous(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var g guard.Guard
		now := time.Unix(0, 0)
		last := uint64(0)
		for range 500 {
			e := guard.Event{Sequence: 1 + rnd.Uint64N(12), Resend: rnd.IntN(10) == 0, Handshake: rnd.IntN(4) == 0}
			now = now.Add(time.Duration(rnd.IntN(400)) * time.Millisecond)
			if rnd.IntN(50) == 0 {
				g.Unset()
				last = 0
			}
			v := g.Step(e, now)
			if v.Pass && (v.Tell != "" || v.Purge != e.Resend) {
				t.Fatalf("seed %d: %+v got %+v", seed, e, v)
			}
			if v.Pass && !e.Resend && last != 0 && e.Sequence != last+1 {
				t.Fatalf("seed %d: %d passed behind %d", seed, e.Sequence, last)
			}
			if v.Pass {
				last = e.Sequence
			}
		}
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	var g guard.Guard
	now := time.Unix(0, 0)
	g.Step(resend(1), now)
	if n := testing.AllocsPerRun(100, func() { g.Step(data(g.Next()), now); g.Step(data(1), now) }); n != 0 {
		t.Errorf("got %v allocations a frame, want 0", n)
	}
}

func BenchmarkStep(b *testing.B) {
	var g guard.Guard
	now := time.Unix(0, 0)
	g.Step(resend(1), now)
	b.ReportAllocs()
	for b.Loop() {
		if !g.Step(data(g.Next()), now).Pass {
			b.Fatal("dropped")
		}
	}
}
