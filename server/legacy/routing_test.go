package legacy_test

import (
	"fmt"
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// L.4, I.5, I.6, I.9, I.11, I.12: who gets what, and who may send what.

func TestAnAnswerGoesToWhoeverAskedAndASessionToItsOwner(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon := r.connect(daemonOf("w"))
	one, two, pairing := r.connect(clientOf("w")), r.connect(clientOf("w")), r.connect(pairingOf("w"))
	one.send(initFrame(" a\\t")) // ids meet without the white space around them
	daemon.want(initFrame(" a\\t"))
	two.send(initFrame("b"))
	daemon.want(initFrame("b"))
	// A pairing request and a key exchange of one id are two requests.
	pairing.send(offerRequest("a"))
	daemon.want(offerRequest("a"))
	daemon.send(responseFrame("b", "sb"), responseFrame("a", "sa"), offerResponse("a"))
	two.want(responseFrame("b", "sb"))
	one.want(responseFrame("a", "sa"))
	pairing.want(offerResponse("a"))

	daemon.send(e2eeFrame("sa", 1, 1, "eA"), e2eeFrame("sb", 1, 1, "eA"), updateFrame("sb", 2), updateFrame("sa", 2))
	one.want(e2eeFrame("sa", 1, 1, "eA"), updateFrame("sa", 2))
	two.want(e2eeFrame("sb", 1, 1, "eA"), updateFrame("sb", 2))

	// One answer a request.
	daemon.send(responseFrame("a", "again"), offerResponse("a"), redeemResponse("never"), responseFrame("never", "n"))
	pairing.send(redeemRequest("c"))
	daemon.want(redeemRequest("c"))
	daemon.send(redeemResponse("c"))
	pairing.want(redeemResponse("c"))
	one.quiet("w")
	two.quiet("w")
}

// I.5.
func TestNobodySendsInASessionOfAnother(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	thief := r.connect(clientOf("w"))
	own := open(thief, s.daemon, "own")
	// What a thief sends neither arrives nor moves the sequence that the owner's frames have to be above.
	thief.send(e2eeFrame(s.id, 1, 1000, "eA"), e2eeFrame(s.id, 99, 1, "eA"), e2eeFrame("nobodys", 1, 1, "eA"))
	own.exchange()
	s.exchange()
	thief.quiet("w")
}

// I.6.
func TestASecondRequestOfAnIDTakesNothingOver(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon := r.connect(daemonOf("w"))
	owner, thief := r.connect(clientOf("w")), r.connect(clientOf("w"))
	owner.send(initFrame("r"))
	daemon.want(initFrame("r"))
	thief.send(initFrame("r"))
	thief.quiet("w")
	daemon.send(responseFrame("r", "s"))
	owner.want(responseFrame("r", "s"))
	(&session{client: owner, daemon: daemon, id: "s"}).exchange()
	thief.quiet("w")
	// The same with pairing.
	first, second := r.connect(pairingOf("w")), r.connect(pairingOf("w"))
	first.send(offerRequest("p"))
	daemon.want(offerRequest("p"))
	second.send(redeemRequest("p"))
	second.quiet("w")
	daemon.send(offerResponse("p"))
	first.want(offerResponse("p"))
	second.quiet("w")
	// Who asks again itself, because no answer came, is forwarded.
	owner.send(initFrame("again"), initFrame("again"))
	daemon.want(initFrame("again"), initFrame("again"))
}

// I.6, too: a daemon's answer is what gives a session to a client, and no request can name another's.
func TestASessionStaysItsOwnersWhateverAnotherAsksFor(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	thief := r.connect(clientOf("w"))
	rotate := `{"previousSessionId":"` + s.id + `",` + initFrame("rotate")[1:]
	thief.send(rotate)
	s.daemon.want(rotate) // whether it may is the daemon's to say
	s.exchange()
	thief.quiet("w")
}

// I.11.
func TestASequenceOfAnEpochPassesOnceEachWay(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	other := open(s.client, s.daemon, "other")
	for _, way := range []struct{ from, to *peer }{{s.client, s.daemon}, {s.daemon, s.client}} {
		for _, step := range []struct {
			id         string
			epoch, seq int
			pass       bool
		}{
			{s.id, 1, 1, true}, {s.id, 1, 1, false}, {s.id, 1, 2, true}, {s.id, 1, 1, false},
			{s.id, 1, 100, true}, {s.id, 1, 99, false}, {s.id, 1, 3, false}, // gaps are the ends' affair
			{other.id, 1, 1, true},                    // a session of its own
			{s.id, 2, 1, true}, {s.id, 1, 101, false}, // nothing of an epoch that is over
			{s.id, 2, 1, false}, {s.id, 2, 2, true}, //
			{s.id, 4, 1, true}, {s.id, 3, 1000, false}, //
			{s.id, 4, 9007199254740991, true}, {s.id, 4, 9007199254740991, false},
			{other.id, 1, 1, false}, {other.id, 1, 2, true},
		} {
			text := e2eeFrame(step.id, step.epoch, step.seq, "eA")
			way.from.send(text)
			if step.pass {
				way.to.want(text) // and so nothing before it
			}
		}
	}
}

// I.9.
func TestNothingIsSentToAClientThatHasLeftNorToWhoeverComesAfterIt(t *testing.T) {
	t.Parallel()
	r := start(t, daemonFramesPerMinute(60))
	s := r.pair("w")
	var gone []string
	for i := range 20 {
		id := fmt.Sprint("gone-", i)
		c := r.connect(clientOf("w", clientID("same")))
		// Only these answers count.
		open(c, s.daemon, id)
		c.leave()
		gone = append(gone, id)
	}
	r.until("they have left", func() bool { return r.status().GetClientLinks() == 1 })
	next := r.connect(clientOf("w", clientID("same")))
	for n := range 50 {
		for _, id := range gone {
			s.daemon.send(e2eeFrame(id, 1, n+1, "YnJvYWRjYXN0"))
		}
	}
	s.exchange()
	next.quiet("w")
}

// I.12.
func TestAClientHearsThatItsDaemonHasGone(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	viewer, pairing := r.viewer("w", "ann", "s1"), r.connect(pairingOf("w", machine("m1")))
	s.daemon.leave()
	s.client.want(unavailable("w", home, ""))
	pairing.want(unavailable("w", home, "m1"))
	viewer.send(subscribeFrame("s1", 1)) // a viewer has nothing to do with daemons
	viewer.want(subscribed("s1", 1))
	s.client.send(e2eeFrame(s.id, 1, 2, "eA"))
	s.client.want(unavailable("w", home, ""))
	// With another daemon there is no session left of the last one.
	daemon := r.connect(daemonOf("w"))
	s.client.send(e2eeFrame(s.id, 1, 3, "eA"))
	daemon.send(e2eeFrame(s.id, 1, 4, "eA"))
	open(s.client, daemon, "new").exchange()
}

// I.7.
func TestATargetKeepsItsNameWhateverIsRouted(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	for range 3 {
		s.exchange()
		list, err := r.admin.ListTargets(r.events, &relayv1.ListTargetsRequest{})
		if err != nil || len(list.GetTargets()) != 1 {
			t.Fatalf("got %v, %v, want one target", list, err)
		}
		got := list.GetTargets()[0]
		if got.GetWorkspaceId() != "w" || got.GetRuntimeTargetId() != home || !got.GetDaemonAttached() {
			t.Fatalf("got %v, want w/%s with its daemon", got, home)
		}
	}
	s.daemon.leave()
	s.client.want(unavailable("w", home, ""))
}

// I.15.
func TestTenantsWhoseIDsRunTogetherDoNotMeet(t *testing.T) {
	t.Parallel()
	r := start(t)
	shifted := r.connect(pairingOf("a:b", at("")))
	s := r.pair("a", at("b"))
	other := r.pair("a:b", at("c"))
	third := r.pair("a", at("b:c"))
	shifted.send(offerRequest("p"))
	shifted.want(`{"type":"relay_status","code":"RUNTIME_TARGET_REQUIRED",` +
		`"message":"Runtime client must specify a runtime target","workspaceId":"a:b","retryable":false}`)
	// All have the same ids of requests and sessions.
	sessions := []*session{
		open(s.client, s.daemon, "same"), open(other.client, other.daemon, "same"), open(third.client, third.daemon, "same"),
	}
	for range 3 {
		for _, s := range sessions {
			s.exchange()
		}
	}
	other.daemon.leave()
	other.client.want(unavailable("a:b", "c", ""))
	sessions[0].exchange()
	sessions[2].exchange()
	shifted.quiet("a:b")
}
