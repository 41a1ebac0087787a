package route_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/route"
)

// The trace of finding 3: L3's RESUME is handled after L4's, and then L3 ends.
func TestTrace3AFrameOfAnOlderLinkDoesNotTakeTheSessionBack(t *testing.T) {
	w := play(t, route.Limits{}, opened+`
		detach c
		attach l3 client
		attach l4 client
		l4: RESUME a
		l3: RESUME a
		detach l3
		d> RESUME a
		d: RESUMED a
		l4> RESUMED a
		l4: DATA 2! a
		d> DATA 2! a
	`)
	if got := w.drops.Count(route.DropStale); got != 1 {
		t.Errorf("got %d frames of older links, want 1", got)
	}
}

func TestTheFenceStaysWhenTheNewerLinkHasEnded(t *testing.T) {
	play(t, route.Limits{}, opened+`
		attach l3 client
		l3: RESUME a
		d> RESUME a
		detach l3
		c: DATA 2 a, RESUME a
		d> nothing
		c> nothing
	`)
}

func TestWhatALinkBroughtBeforeItEndedIsNotForwardedAfterwards(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c reads: DATA 2 a, DATA 3 a, ACK a
		detach c
		attach c2 client
		c2: RESUME a
		c forwards
		d> RESUME a
	`)
}

func TestWhatALinkBroughtBeforeANewerOneWasBoundIsNotForwardedAfterwards(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c reads: DATA 2 a, DATA 3 a
		attach c2 client
		c2: RESUME a, DATA 7! a
		c forwards
		d> RESUME a, DATA 7! a
	`)
}

func TestTheQueueOfALinkEndsWithIt(t *testing.T) {
	play(t, route.Limits{}, opened+`
		d: DATA 2 a, DATA 3 a
		c: DATA 2 a
		detach c
		attach c2 client
		c2: RESUME a
		c2> nothing
		d> DATA 2 a, RESUME a
		detach d
		attach d2 daemon
		d2> nothing
		c2> STATUS PEER_AVAILABLE
	`)
}

// Finding 19: a client opens a second link before it closes the first.
func TestASessionMovesToASecondLinkBeforeTheFirstEnds(t *testing.T) {
	play(t, route.Limits{}, opened+`
		d: DATA 2 a
		attach c2 client
		c2: RESUME a
		c> nothing
		d> RESUME a
		d: RESUMED a, DATA 2! a
		c2> RESUMED a, DATA 2! a
		detach c
		c2: DATA 2! a
		d> DATA 2! a
	`)
}

func TestFramesOfAnUnboundLinkMakeItsSenderResume(t *testing.T) {
	play(t, route.Limits{}, opened+`
		attach c2 client
		c2: DATA 2 a, ACK a
		c2> STATUS SEQUENCE_GAP 0 a
		+1s
		c2: CLOSE 3 a
		c2> STATUS SEQUENCE_GAP 0 a
		d> nothing
		attach d2 daemon
		! d closed REPLACED
		! d2 admitted
		d2: DATA 2 a, ACK a
		d2> STATUS SEQUENCE_GAP 0 a
		c> STATUS PEER_AVAILABLE
		c2> STATUS PEER_AVAILABLE
	`)
}

func TestDataGoesOnlyToABoundDaemonTheRestToTheCurrentOne(t *testing.T) {
	play(t, route.Limits{}, opened+`
		attach d2 daemon
		! d closed REPLACED
		! d2 admitted
		c: DATA 2 a, ACK a, CLOSE 3 a, TYPE11 a, RESUMED a, RESET a
		d2> RESUMED a, RESET a
		c: RESUME a
		d2> RESUME a
		d2: RESUMED a
		c> STATUS PEER_AVAILABLE, RESUMED a
		c: DATA 2! a, ACK a
		d2> DATA 2! a, ACK a
	`)
}

func TestWhatBindsADaemon(t *testing.T) {
	for _, frame := range []string{"RESPONSE a", "RESUME a", "RESUMED a", "RESET a"} {
		play(t, route.Limits{}, opened+`
			attach d2 daemon
			! d closed REPLACED
			! d2 admitted
			d2: `+frame+`
			c> STATUS PEER_AVAILABLE, `+frame+`
			c: ACK a
			d2> ACK a
		`)
	}
}

// The trace of finding 8: whoever knows a session id, from a log, can do nothing with it.
func TestTrace8ASessionIdWithoutItsBindKeyOpensNothing(t *testing.T) {
	for _, claim := range []string{"RESUME a key=x", "RESUME a nokey", "INIT a key=x", "INIT a nokey"} {
		t.Run(claim, func(t *testing.T) {
			play(t, route.Limits{}, opened+`
				attach thief client
				thief: `+claim+`
				thief> STATUS SESSION_CONFLICT a
				d> nothing
				c: DATA 2 a
				d> DATA 2 a
				d: DATA 2 a
				c> DATA 2 a
				thief> nothing
			`)
		})
	}
	t.Run("after a restart of the relay, where nobody holds it", func(t *testing.T) {
		play(t, route.Limits{}, `
			attach d daemon
			attach thief client
			thief: RESUME a key=x, DATA 1000 a
			thief> STATUS SESSION_CONFLICT a, STATUS SEQUENCE_GAP 0 a
			attach c client
			c: RESUME a
			d> RESUME a
		`)
	})
	t.Run("a RESUMED has no bind key and binds no client", func(t *testing.T) {
		play(t, route.Limits{}, opened+`
			attach thief client
			thief: RESUMED a, RESET a
			thief> STATUS SEQUENCE_GAP 0 a
			d: DATA 2 a
			c> DATA 2 a
			d> nothing
		`)
	})
	t.Run("the owner of one session is not the owner of another", func(t *testing.T) {
		play(t, route.Limits{}, opened+`
			attach thief client
			thief: INIT b, RESUME a key=b, DATA 2 b
			thief> STATUS SESSION_CONFLICT a
			d> INIT b
		`)
	})
}

// Finding 14: a daemon makes no entry and gets no answer.
func TestTrace14ADaemonsFrameForASessionWithoutAClientIsDroppedWithoutAnswer(t *testing.T) {
	w := play(t, route.Limits{}, opened+`
		d: RESPONSE z, RESUME z, RESUMED z, DATA 5 z, RESET z, ACK z
		d> nothing
		detach c
		d: DATA 2 a, ACK a, RESET a
		d> nothing
	`)
	if got := w.target.Stats().Sessions; got != 1 {
		t.Errorf("got %d sessions, want 1", got)
	}
	if got := w.drops.Count(route.DropUnknown); got != 6 {
		t.Errorf("got %d frames for unknown sessions, want 6", got)
	}
}

func TestAClientIsToldThatThereIsNoDaemon(t *testing.T) {
	play(t, route.Limits{}, `
		attach c client
		c> nothing
		c: INIT a
		c> STATUS PEER_UNAVAILABLE
		c: DATA 2 a, ACK a
		c> nothing
		c: RESUME a
		c> STATUS PEER_UNAVAILABLE
		attach d daemon
		c> STATUS PEER_AVAILABLE
		d> nothing
		c: RESUME a
		d> RESUME a
		detach d
		c> STATUS PEER_UNAVAILABLE
		c: ACK a
		c> nothing
		# one that comes later has not been told
		attach c2 client
		c2: INIT b, DATA 2 b, DATA 3 b
		c2> STATUS PEER_UNAVAILABLE
	`)
}

func TestPeerAvailableSupersedesPeerUnavailableInTheQueue(t *testing.T) {
	play(t, route.Limits{}, opened+`
		detach d
		attach d2 daemon
		c> STATUS PEER_AVAILABLE
		detach d2
		attach d3 daemon
		detach d3
		c> STATUS PEER_UNAVAILABLE
	`)
}

func TestLimitsOnSessionsAreToldToTheSessionBeyond(t *testing.T) {
	t.Run("of a client", func(t *testing.T) {
		play(t, route.Limits{SessionsPerClient: 2}, `
			attach d daemon
			attach c client
			c: INIT a, INIT b, INIT x
			c> STATUS CAPACITY x
			d> INIT a, INIT b
			# another client has its own limit, and can't take over more than that
			attach c2 client
			c2: INIT e, RESUME a, RESUME b
			c2> STATUS CAPACITY b
			d> INIT e, RESUME a
			# what is over does not count
			c2: RESET e, RESUME b
			d> RESET e, RESUME b
		`)
	})
	t.Run("of a target", func(t *testing.T) {
		play(t, route.Limits{SessionsPerTarget: 3}, `
			attach d daemon
			attach c client
			attach c2 client
			c: INIT a, INIT b
			c2: INIT x, INIT y
			c2> STATUS CAPACITY y
			d> INIT a, INIT b, INIT x
			# one that is over, then one whose client is away, makes room
			c: RESET a
			c2: INIT y
			c2> STATUS CAPACITY y
			d> RESET a
			c2: INIT y
			detach c
			c2: INIT z
			c2> nothing
			c2: INIT e
			c2> STATUS CAPACITY e
			d> INIT y, INIT z
		`)
	})
	t.Run("of a link's bytes", func(t *testing.T) {
		play(t, route.Limits{LinkBytes: 4000}, opened+`
			c: DATA 2 a bytes=3000
			c: DATA 3 a bytes=3000
			c: INIT b
			c> STATUS CAPACITY b
			d> DATA 2 a, DATA 3 a
			c: INIT b
			d> INIT b
		`)
	})
	t.Run("of the process's bytes", func(t *testing.T) {
		play(t, route.Limits{ProcessBytes: 4000}, opened+`
			d: DATA 2 a bytes=3000
			d: DATA 3 a bytes=3000
			c: INIT b
			c> STATUS CAPACITY b, DATA 2 a, DATA 3 a
			c: INIT b
			d> INIT b
		`)
	})
}

func TestAHandshakeThatIsTooWeakIsRefused(t *testing.T) {
	t.Run("INIT, for the client's grant", func(t *testing.T) {
		w := play(t, route.Limits{}, `
			attach d daemon
			attach c client psk
			c: INIT a, INIT b psk
			c> STATUS PROFILE_TOO_WEAK a
			d> INIT b
		`)
		if got := w.target.Stats().Sessions; got != 1 {
			t.Errorf("got %d sessions, want 1", got)
		}
	})
	t.Run("INIT, for the daemon's grant", func(t *testing.T) {
		play(t, route.Limits{}, `
			attach d daemon psk
			attach c client
			c: INIT a, INIT b psk
			c> STATUS PROFILE_TOO_WEAK a
			d> INIT b
		`)
	})
	for _, who := range []string{"attach d daemon psk\n attach c client", "attach d daemon\n attach c client psk"} {
		t.Run("RESPONSE", func(t *testing.T) {
			play(t, route.Limits{}, who+`
				c: INIT a psk
				d> INIT a
				d: RESPONSE a
				c> STATUS PROFILE_TOO_WEAK a
				d> STATUS PROFILE_TOO_WEAK a
				# it has ended; both are told again, at most once a second
				+1s
				d: RESPONSE a psk, RESPONSE a psk
				c: RESUME a
				c> STATUS PROFILE_TOO_WEAK a
				d> STATUS PROFILE_TOO_WEAK a
			`)
		})
	}
	t.Run("RESPONSE with a PSK passes", func(t *testing.T) {
		play(t, route.Limits{}, `
			attach d daemon psk
			attach c client psk
			c: INIT a psk
			d> INIT a
			d: RESPONSE a psk
			c> RESPONSE a
		`)
	})
}

func TestHeartbeatsGoToTheNeighbourOnlyAndAProbeIsAnsweredAtOnce(t *testing.T) {
	play(t, route.Limits{}, opened+`
		c: HEARTBEAT
		d> nothing
		c> nothing
		c: HEARTBEAT probe, HEARTBEAT probe
		c> HEARTBEAT
		d> nothing
	`)
}

func TestRevokingAClientEndsItsSessionsAtTheDaemon(t *testing.T) {
	play(t, route.Limits{}, opened+`
		attach other client
		other: INIT b
		d> INIT b
		c: DATA 2 a
		detach c PAIRING_REVOKED
		d> STATUS PEER_REVOKED a
		# told again while the daemon has not ended it
		+1s
		d: DATA 2 a
		d> STATUS PEER_REVOKED a
		d: RESPONSE b
		other> RESPONSE b
	`)
}

func TestDrainingIsToldToEveryLinkAndEndsNothing(t *testing.T) {
	w := play(t, route.Limits{}, opened+"drain c\nc> STATUS DRAINING\nd> nothing")
	w.step(route.Event{Kind: route.Drain, Reason: errDraining})
	w.play("d> STATUS DRAINING\nc> STATUS DRAINING\nc: DATA 2 a\nd> DATA 2 a")
}

func TestADaemonThatWaitsForAnothersPlaceIsRefusedWhenTheRelayDrains(t *testing.T) {
	w := play(t, route.Limits{}, "attach d daemon install=x\nattach e daemon install=y")
	w.step(route.Event{Kind: route.Drain, Reason: errDraining})
	w.play("! e refused DRAINING\nd> HEARTBEAT probe, STATUS DRAINING\n+1h\nd> nothing")
}

func TestStatusesBeyondTheBoundAreLeftOut(t *testing.T) {
	w := newWorld(t, route.Limits{})
	w.play("attach d daemon\nattach c client")
	for i := range 600 {
		w.play(fmt.Sprintf("c: DATA 5 x%d", i))
	}
	if got := len(w.takeAll(w.links["c"])); got != 512 {
		t.Errorf("got %d statuses, want 512", got)
	}
	if got := w.drops.Count(route.DropStatus); got != 88 {
		t.Errorf("got %d left out, want 88", got)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

func TestAMessageIsFilledToItsLimitFromSeveralSessionsInTurns(t *testing.T) {
	w := play(t, route.Limits{}, opened+"c: INIT b\nd: RESPONSE b\nd> INIT b\nc> RESPONSE b")
	for i := 2; i < 10; i++ {
		w.play(fmt.Sprintf("c: DATA %d a bytes=6000", i))
	}
	w.play("c: DATA 2 b, DATA 3 b")
	// A long queue does not keep a short one waiting for more than a message.
	w.play(`
		d takes: DATA 2 a, DATA 3 a
		d takes: DATA 2 b, DATA 3 b, DATA 4 a, DATA 5 a
		d> ` + strings.Join([]string{"DATA 6 a", "DATA 7 a", "DATA 8 a", "DATA 9 a"}, ", "))
}
