// Package guard is the relay's sequence guard of one direction of one session: it says of each sequenced frame whether
// it may pass and what its sender is told (docs/protocol.md, "Sequencing: the guard").
//
// It is a pure state machine: no I/O, goroutine or clock. Who may send for a session, where frames go and how much is
// queued belongs to package route.
package guard

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Again is the shortest time between two STATUS of one kind while what they tell of lasts.
const Again = time.Second

// Guard knows the next sequence of one direction. The zero value is unset: it knows none.
type Guard struct {
	// next is the only sequence that passes without resend; 0: unset.
	next uint64
	// gap: a frame above next, or one that an unset guard can't place, was dropped since the last that passed.
	gap bool
	// toldGap is when SEQUENCE_GAP was told last in this gap; it means nothing outside one.
	toldGap time.Time
	// toldReplay is when SEQUENCE_REPLAY was told last; zero: never.
	toldReplay time.Time
}

// Event is a sequenced frame that arrived from the link its side is bound to.
type Event struct {
	// Sequence is the frame's, from 1.
	Sequence uint64
	// Resend: the sender goes on from here.
	Resend bool
	// Handshake: the frame is a HANDSHAKE_INIT or HANDSHAKE_RESPONSE.
	Handshake bool
}

// Verdict is what becomes of a frame.
type Verdict struct {
	// Pass: the frame goes on; next is now one above it.
	Pass bool
	// Purge: what is still queued of this direction from the frame's sequence on goes first. Only with Pass.
	Purge bool
	// Tell is what the frame's sender is told now: "", SEQUENCE_GAP or SEQUENCE_REPLAY. Never with Pass.
	Tell reason.Code
	// Expected goes with Tell: the next sequence that would pass, 0 if unset.
	Expected uint64
}

// Step takes the next frame at the time now.
func (g *Guard) Step(e Event, now time.Time) Verdict {
	switch {
	case e.Resend:
		return g.pass(e.Sequence, true)
	case g.next == 0 && e.Handshake && e.Sequence == 1, g.next != 0 && e.Sequence == g.next:
		return g.pass(e.Sequence, false)
	case g.next == 0 || e.Sequence > g.next:
		return g.dropGap(now)
	default:
		return g.dropReplay(now)
	}
}

// Unset forgets the next sequence: the sender's side was bound to another link.
func (g *Guard) Unset() { g.next, g.gap = 0, false }

// Next is the sequence that passes next without resend; 0: unset.
func (g *Guard) Next() uint64 { return g.next }

func (g *Guard) pass(sequence uint64, purge bool) Verdict {
	g.next, g.gap = sequence+1, false
	return Verdict{Pass: true, Purge: purge}
}

// dropGap tells at the start of a gap, and again each second: the STATUS before may have been lost in a full queue.
func (g *Guard) dropGap(now time.Time) Verdict {
	if g.gap && now.Sub(g.toldGap) < Again {
		return Verdict{}
	}
	g.gap, g.toldGap = true, now
	return Verdict{Tell: reason.SequenceGap, Expected: g.next}
}

func (g *Guard) dropReplay(now time.Time) Verdict {
	if !g.toldReplay.IsZero() && now.Sub(g.toldReplay) < Again {
		return Verdict{}
	}
	g.toldReplay = now
	return Verdict{Tell: reason.SequenceReplay, Expected: g.next}
}
