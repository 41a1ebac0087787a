package route_test

import (
	"testing"

	"github.com/getviewport/relay/internal/route"
)

// opened is a session between client c and daemon d whose handshake is done.
const opened = `
	attach d daemon
	attach c client
	c: INIT a
	d> INIT a
	d: RESPONSE a
	c> RESPONSE a
`

func TestASessionIsForwardedBothWaysInOrder(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c: DATA 2 a, DATA 3 a, ACK a, DATA 4 a
		d> DATA 2 a, DATA 3 a, ACK a, DATA 4 a
		d: DATA 2 a, ACK a, CLOSE 3 a
		c> DATA 2 a, ACK a, CLOSE 3 a
		d> nothing
	`)
}

// The trace of finding 1: what the receiver has moves on by another path than its RESUME, so the sender no longer holds
// what a guard set by that RESUME expects. Only the sender says where it goes on.
func TestTrace1AfterACutTheSenderGoesOnFromWhatItStillHolds(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c: DATA 2 a
		d> DATA 2 a
		detach c
		attach c2 client
		c2: RESUME a
		d> RESUME a
		d: RESUMED a, ACK a
		c2> RESUMED a, ACK a
		# frame 2 is acked and freed
		c2: DATA 3! a, DATA 4 a
		d> DATA 3! a, DATA 4 a
	`)
}

// The trace of finding 6: the sender hears that a frame was a replay, so that it sends the ack which the frame carried
// again.
func TestTrace6AReplayIsToldToItsSender(t *testing.T) {
	w := play(t, route.Limits{}, opened+`
		c: DATA 2 a, DATA 3 a
		d> DATA 2 a, DATA 3 a
		c: DATA 3 a, DATA 2 a
		d> nothing
		c> STATUS SEQUENCE_REPLAY 4 a
		+1s
		c: DATA 3 a
		c> STATUS SEQUENCE_REPLAY 4 a
	`)
	if got := w.drops.Count(route.DropReplay); got != 3 {
		t.Errorf("got %d replays counted, want 3", got)
	}
}

func TestAGapIsToldWithWhatIsExpectedUntilTheSenderGoesBack(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c: DATA 2 a, DATA 4 a, DATA 5 a
		d> DATA 2 a
		c> STATUS SEQUENCE_GAP 3 a
		+1s
		c: DATA 6 a
		c> STATUS SEQUENCE_GAP 3 a
		c: DATA 3! a, DATA 4 a
		d> DATA 3! a, DATA 4 a
		c> nothing
	`)
}

func TestAfterARestartOfTheRelayAFrameMakesItsSenderResume(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon
		attach c client
		c: DATA 7 a, ACK a
		d> nothing
		c> STATUS SEQUENCE_GAP 0 a
		# a daemon is not answered: its client comes back by itself
		d: DATA 9 a
		d> nothing
		c: RESUME a, DATA 7 a
		d> RESUME a
		c> STATUS SEQUENCE_GAP 0 a
		d: RESUMED a
		c> RESUMED a
		d: DATA 9! a
		c: DATA 7! a
		c> DATA 9! a
		d> DATA 7! a
	`)
}

func TestAnotherLinkOfTheSenderStartsUnset(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c: DATA 2 a
		d> DATA 2 a
		attach c2 client
		c2: RESUME a
		c2: DATA 3 a
		d> RESUME a
		c2> STATUS SEQUENCE_GAP 0 a
	`)
}

func TestTheGuardMovesOnWhenThePeerIsAbsent(t *testing.T) {
	w := play(t, route.Limits{}, opened+`
		detach d
		c> STATUS PEER_UNAVAILABLE
		c: DATA 2 a
		c: DATA 3 a
		c> nothing
		c: DATA 3 a
		c> STATUS SEQUENCE_REPLAY 4 a
	`)
	if got := w.drops.Count(route.DropNoPeer); got != 2 {
		t.Errorf("got %d frames without a peer, want 2", got)
	}
}

func TestGoingBackDropsWhatIsStillQueuedFromThereOn(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"whole runs", `
			c: DATA 2 a
			c: DATA 3 a
			c: ACK a
			c: DATA 4 a
			c: DATA 3! a
			d> DATA 2 a, ACK a, DATA 3! a`},
		{"a run inside", `
			c: DATA 2 a, DATA 3 a, DATA 4 a, DATA 5 a
			c: DATA 6 a, ACK a, DATA 7 a
			c: DATA 4! a, DATA 5 a
			d> DATA 2 a, DATA 3 a, ACK a, DATA 4! a, DATA 5 a`},
		{"a run inside, more than once", `
			c: DATA 2 a, DATA 3 a, DATA 4 a, DATA 5 a
			c: DATA 5! a
			c: DATA 4! a
			c: DATA 3! a
			d> DATA 2 a, DATA 3! a`},
		{"not what is on the wire", `
			c: DATA 2 a, DATA 3 a
			d takes: DATA 2 a, DATA 3 a
			c: DATA 4 a
			c: DATA 2! a
			d> DATA 2! a`},
		{"not another session's frames, nor the other direction's", `
			c: INIT b
			d: RESPONSE b
			c: DATA 2 b, DATA 2 a, DATA 3 a
			d: DATA 2 a, DATA 3 a
			c: DATA 2! a
			d> INIT b, DATA 2 b, DATA 2! a
			c> RESPONSE b, DATA 2 a, DATA 3 a`},
		{"what was sequenced and not forwarded yet", `
			c reads: DATA 2 a, DATA 3 a, DATA 4 a, ACK a, DATA 3! a, DATA 4 a
			c forwards
			d> DATA 2 a, ACK a, DATA 3! a, DATA 4 a`},
		{"nothing, when the sender only says that it goes on", `
			c reads: DATA 2 a, DATA 3 a, DATA 4! a, DATA 5 a
			c forwards
			d> DATA 2 a, DATA 3 a, DATA 4! a, DATA 5 a`},
		{"nothing below, when it goes on above", `
			c: DATA 2 a, DATA 3 a
			c: DATA 9! a
			c: DATA 5! a
			d> DATA 2 a, DATA 3 a, DATA 5! a`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, route.Limits{}, opened+tt.script+"\nc> nothing\nd> nothing") })
	}
}

// Finding 20.
func TestAFrameThatEndsItsLinkDoesNotUndoThoseBeforeIt(t *testing.T) {
	for _, bad := range []struct{ frame, code string }{
		{"DATA 4 a workspace=other", "ENVELOPE_MISMATCH"},
		{"DATA 4 a target=other", "ENVELOPE_MISMATCH"},
		{"HEARTBEAT workspace=other", "ENVELOPE_MISMATCH"},
		{"STATUS a", "FRAME_INVALID"},
		{"RESPONSE a", "FRAME_INVALID"},
		{"ACK plain session=short", "FRAME_INVALID"},
	} {
		t.Run(bad.frame, func(t *testing.T) {
			play(t, route.Limits{}, opened+`
				c: DATA 2 a, DATA 3 a, `+bad.frame+`, DATA 4 a
				! c ends `+bad.code+`
				detach c
				d> DATA 2 a, DATA 3 a
			`)
		})
	}
	t.Run("a daemon's INIT", func(t *testing.T) {
		play(t, route.Limits{}, opened+"d: ACK a, INIT a key=a\n! d ends FRAME_INVALID")
	})
}

func TestUnknownUnsequencedTypesAreForwardedOnBoundLinksLikeAck(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c: TYPE11 a, TYPE31 a
		d> TYPE11 a, TYPE31 a
		d: TYPE31 a
		c> TYPE31 a
		c: TYPE11 b
		d> nothing
		c> STATUS SEQUENCE_GAP 0 b
	`)
}
