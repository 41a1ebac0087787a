package route_test

import (
	"testing"
	"time"

	"github.com/getviewport/relay/internal/route"
)

func TestALegacyAnswerGoesToWhoAskedAndTheSessionIsTheirs(t *testing.T) {
	w := play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		attach c2 client legacy
		c: L.INIT r1
		c2: L.INIT r2
		d> L.INIT r1, L.INIT r2
		d: L.RESPONSE s1 answers=r1, L.RESPONSE s2 answers=r2, L.DATA 1 s1 epoch=1, L.DATA 1 s2 epoch=1
		c> L.RESPONSE s1, L.DATA s1
		c2> L.RESPONSE s2, L.DATA s2
		c: L.DATA 1 s1 epoch=1, L.DATA 2 s1 epoch=1
		d> L.DATA s1, L.DATA 2 s1
		d: L.KEY_UPDATE s2
		c2> L.KEY_UPDATE s2
		# one answer for each request
		d: L.RESPONSE s3 answers=r1
		c> nothing
	`)
	if got := w.drops.Count(route.DropUnknown); got != 1 {
		t.Errorf("%d dropped as unknown, want 1", got)
	}
	if target, link := w.target.Stats().Sessions, w.links["c"].Stats().Sessions; target != 2 || link != 1 {
		t.Errorf("the target counts %d sessions and a client's link %d, want 2 and 1", target, link)
	}
}

func TestNobodySendsInALegacySessionOfAnother(t *testing.T) {
	w := play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		attach thief client legacy
		c: L.INIT r
		d: L.RESPONSE s answers=r
		c> L.RESPONSE s
		d> L.INIT r
		# by its id, or by an id that nobody has
		thief: L.DATA 9 s epoch=1, L.DATA 1 x epoch=1
		d> nothing
		c: L.DATA 1 s epoch=1
		d> L.DATA s
	`)
	if got := w.drops.Count(route.DropUnbound); got != 2 {
		t.Errorf("%d dropped as not bound, want 2", got)
	}
}

func TestWhoAsksFirstGetsTheLegacyAnswer(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		attach thief client legacy
		c: L.INIT r, L.PAIR p
		thief: L.INIT r, L.PAIR p
		# asking again is allowed
		c: L.INIT r
		d> L.INIT r, L.PAIR p, L.INIT r
		d: L.RESPONSE s answers=r, L.PAIRED p
		c> L.RESPONSE s, L.PAIRED p
		thief> nothing
		# after two minutes it may be anybody's
		c: L.INIT q
		+1m
		heard c
		heard d
		heard thief
		+1m
		thief: L.INIT q
		d> HEARTBEAT, L.INIT q, L.INIT q
		d: L.RESPONSE s2 answers=q
		thief> HEARTBEAT, L.RESPONSE s2
	`)
}

func TestALegacySequenceIsSentOnceWhicheverWay(t *testing.T) {
	w := play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		c: L.INIT r
		d: L.RESPONSE s answers=r, L.DATA 2 s epoch=1, L.DATA 2 s epoch=1, L.DATA 1 s epoch=1, L.DATA 7 s epoch=1
		c> L.RESPONSE s, L.DATA 2 s, L.DATA 7 s
		c: L.DATA 2 s epoch=1, L.DATA 2 s epoch=1, L.DATA 1 s epoch=2, L.DATA 3 s epoch=1
		d> L.INIT r, L.DATA 2 s, L.DATA s
	`)
	if got := w.drops.Count(route.DropReplay); got != 4 {
		t.Errorf("%d dropped as replays, want 4", got)
	}
}

func TestALegacySessionThatIsUsedLivesOnAndOneThatIsNotIsForgotten(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon
		attach c client
		c> nothing
		c: L.INIT a, L.INIT b
		d: L.RESPONSE sa answers=a, L.RESPONSE sb answers=b
		+29m
		c: L.DATA 1 sa epoch=1
		+29m
		d: L.DATA 1 sa epoch=1, L.DATA 1 sb epoch=1
		c> L.RESPONSE sa, L.RESPONSE sb, L.DATA sa
		d> L.INIT a, L.INIT b, L.DATA sa
	`)
}

func TestALegacyClientThatLeftIsSentNothingAndItsDaemonTakesItsSessionsAlong(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		attach c2 client legacy
		c: L.INIT r
		c2: L.INIT r2
		d: L.RESPONSE s answers=r, L.RESPONSE s2 answers=r2
		detach c
		d: L.DATA 1 s epoch=1, L.DATA 1 s2 epoch=1
		c2> L.RESPONSE s2, L.DATA s2
		attach next daemon legacy gen=1
		! d closed REPLACED
		! next admitted
		next: L.DATA 2 s2 epoch=1
		c2: L.DATA 1 s2 epoch=1
		next> nothing
		c2> nothing
		detach next
		c2> STATUS PEER_UNAVAILABLE
	`)
}

func TestLegacyFramesAreForNativeLinksTooAndOpaque(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon
		attach c client legacy
		attach c2 client
		c: L.INIT r
		c2: L.INIT r2, INIT a
		d> L.INIT r, L.INIT r2, INIT a
		d: L.RESPONSE s answers=r, L.RESPONSE s2 answers=r2, RESPONSE a
		c> L.RESPONSE s
		c2> L.RESPONSE s2, RESPONSE a
		c2: L.DATA 1 s2 epoch=1, DATA 2 a
		d> L.DATA s2, DATA 2 a
		attach d2 daemon gen=1 legacy
		! d closed REPLACED
		! d2 admitted
		# a native session finds no daemon in a legacy one
		c2: INIT b
		c2> STATUS PEER_UNAVAILABLE
		c2: L.INIT r3
		d2> L.INIT r3
	`)
}

func TestALegacyFrameThatFindsNoRoomEndsItsClientsLinkAndNoOther(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		attach c2 client legacy
		c: L.INIT r
		c2: L.INIT r2
		d: L.RESPONSE s answers=r, L.RESPONSE s2 answers=r2
		c> L.RESPONSE s
		c2> L.RESPONSE s2
		# c does not read
		d: L.DATA 1 s epoch=1 bytes=1500000, L.DATA 2 s epoch=1 bytes=1500000
		d: L.DATA 1 s2 epoch=1, L.DATA 3 s epoch=1 bytes=1500000, L.DATA 2 s2 epoch=1
		! c closed SLOW_CONSUMER
		c2> L.DATA s2, L.DATA 2 s2
		# the daemon does not read
		c2: L.DATA 1 s2 epoch=1 bytes=1500000, L.DATA 2 s2 epoch=1 bytes=1500000
		c2: L.DATA 3 s2 epoch=1 bytes=1500000
		! c2 ends SLOW_CONSUMER
		detach c2
		d: L.DATA 3 s2 epoch=1
	`)
}

func TestALegacyDaemonIsPingedHoweverMuchGoesToItAndGivesWayWhenSilent(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon legacy
		attach c client legacy
		+29s
		c: L.INIT r
		+1s
		d> HEARTBEAT, L.INIT r
		heard d
		+30s
		d> HEARTBEAT
		# another install wants its place
		attach d2 daemon install=x legacy
		d> HEARTBEAT probe
		heard d
		! d2 refused DAEMON_ALREADY_CONNECTED
		attach d3 daemon install=x legacy
		d> HEARTBEAT probe
		+2s
		! d closed REPLACED
		! d3 admitted
	`)
}

func TestLegacyDaemonsThatNameNoInstallDoNotTakeAliveOnesPlaces(t *testing.T) {
	play(t, route.Limits{}, `
		attach d daemon legacy
		attach d2 daemon legacy
		d> HEARTBEAT probe
		heard d
		! d2 refused DAEMON_ALREADY_CONNECTED
		attach n daemon gen=1 install=x legacy
		! d closed REPLACED
		! n admitted
		attach n2 daemon gen=1 install=x legacy
		! n closed REPLACED
		! n2 admitted
	`)
}

func TestAWeakLegacyHandshakeIsForNobodyWhereIKpsk2IsRequired(t *testing.T) {
	w := play(t, route.Limits{}, `
		attach d daemon legacy psk
		attach c client legacy
		c: L.INIT r, L.INIT r2 psk
		d> L.INIT r2
		c> STATUS PROFILE_TOO_WEAK r
		d: L.RESPONSE s answers=r2
		c> nothing
	`)
	if got := w.drops.Count(route.DropProfile); got != 2 {
		t.Errorf("%d dropped for their profile, want 2", got)
	}
}

func TestAWordOfTheRelayEndsALegacyLinkThatDoesNotRead(t *testing.T) {
	play(t, route.Limits{}, `
		attach c client legacy
		deliver c 2000000
		c> L.STATUS
		deliver c 2000000
		deliver c 2000000
		deliver c 2000000
		! c closed SLOW_CONSUMER
		deliver c 10
	`)
}

func TestAClientOwnsAtMost256OfLegacyAndTheOldestGivesWay(t *testing.T) {
	w := newWorld(t, route.Limits{})
	w.play(`
		attach d daemon legacy
		attach c client legacy
		c: L.INIT first
		+1s
	`)
	for range 256 {
		w.play("c: L.INIT r" + w.now.Format("150405.000"))
		w.now = w.now.Add(time.Millisecond)
	}
	w.play(`d: L.RESPONSE s answers=first`)
	if got := w.drops.Count(route.DropUnknown); got != 1 {
		t.Errorf("the oldest request was still answered, %d dropped", got)
	}
}
