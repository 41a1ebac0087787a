package legacy_test

import (
	"fmt"
	"strings"
	"testing"
)

// I.13 and I.14: session events and viewers.

func leftFrame(id, user string) string {
	return `{"type":"viewport.session_viewer_presence/v1","channel":"agent-session:` + id +
		`","action":"left","userId":"` + user + `"}`
}

// I.13.
func TestADaemonsSessionEventsReachTheSubscribersOfItsTargetAlone(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon, other := r.connect(daemonOf("w")), r.connect(daemonOf("w", at("other")))
	foreign := r.connect(daemonOf("v"))
	both, one := r.viewer("w", "ann", "s1", "s2"), r.viewer("w", "bob", "s1")
	silent := r.connect(viewerOf("w", "eve", "s1")) // may, and has not subscribed
	runtime := r.connect(clientOf("w"))
	event := func(id string, n int) string { return eventFrame(id, fmt.Sprintf(` { "n" : %d } `, n)) }
	other.send(event("s1", 0))
	foreign.send(event("s1", 0))
	odd := "\n" + strings.Replace(event("s1", 2), `"agent-session:s1"`, `"agent-session:\u00731 "`, 1)
	daemon.send(event("s1", 1), event("s2", 1), odd, event("s3", 1), eventFrame("s1", "null"), eventFrame("s1", "[]"))
	both.want(event("s1", 1), event("s2", 1), odd, eventFrame("s1", "null"))
	one.want(event("s1", 1), odd, eventFrame("s1", "null"))
	one.send(unsubscribeFrame("s1"))
	one.want(`{"type":"viewport.session_events.unsubscribed/v1","channel":"agent-session:s1"}`)
	both.send(subscribeFrame("s1", 5)) // again: still one of each
	both.want(subscribed("s1", 5))
	daemon.send(event("s1", 3))
	both.want(event("s1", 3))
	for _, p := range []*peer{both, one, silent, runtime} {
		p.quiet("w")
	}
	// A client's is none, and no viewer publishes.
	both.send(event("s1", 4))
	both.want(invalidFrame + `"w"}`)
	// The other two did what they did before all this was over.
	for _, p := range []*peer{other, foreign} {
		p.send(event("s1", 5))
		p.leave()
	}
	r.until("the other daemons have left", func() bool { return r.status().GetDaemonLinks() == 1 })
	both.quiet("w")
}

// I.14.
func TestAViewerIsWhoItsTokenSaysAndItsLeavingIsTold(t *testing.T) {
	t.Parallel()
	r := start(t)
	bob := r.viewer("w", "bob", "s1")
	other := r.viewer("w", "cleo", "s2")
	ann := r.viewer("w", "ann", "s1", "s2")
	deny := denied("session_viewer_presence", "s1")
	for _, c := range []struct{ sent, answer string }{
		{presenceFrame("s1", "joined", "bob"), deny},
		{presenceFrame("s1", "joined", "Ann"), deny},
		{presenceFrame("s1", "joined", "ann "), deny},
		{presenceFrame("s1", "joined", " ann"), deny},
		{strings.Replace(presenceFrame("s1", "joined", "ann"), `"userId":"ann"`, `"userId":"ann","userId":"bob"`, 1), deny},
		{presenceFrame("s1", "joined", strings.Repeat("a", 129)), invalidFrame + `"w"}`},
		{
			strings.Replace(presenceFrame("s1", "joined", "ann"), `"D"`, `"`+strings.Repeat("D", 256)+`"`, 1),
			invalidFrame + `"w"}`,
		},
		{
			strings.Replace(presenceFrame("s1", "joined", "ann"), `{`, `{"x":"`+strings.Repeat("x", 1<<19)+`",`, 1),
			invalidFrame + `"w"}`,
		},
	} {
		ann.send(c.sent)
		ann.want(c.answer)
	}
	// Spelt in another way it is the same person, and the text passes as it is.
	joined := strings.Replace(presenceFrame("s1", "joined", "ann"), `"ann"`, ` "\u0061nn"`, 1)
	ann.send(joined, presenceFrame("s1", "heartbeat", "ann"))
	ann.send(presenceFrame("s2", "joined", "ann"), presenceFrame("s2", "left", "ann"))
	bob.want(joined, presenceFrame("s1", "heartbeat", "ann"))
	other.want(presenceFrame("s2", "joined", "ann"), presenceFrame("s2", "left", "ann"))
	ann.quiet("w") // nothing comes back to its sender
	ann.leave()
	bob.want(leftFrame("s1", "ann"))
	bob.quiet("w")
	other.quiet("w") // it had left there itself

	// Whoever is nobody can announce nobody.
	nobody := r.connect(clientOf("w", watches("s1"), without("userId")))
	nobody.send(presenceFrame("s1", "joined", "dev-user"))
	nobody.want(deny)
	nobody.leave()
	bob.quiet("w")
	// People are in no log.
	for _, name := range []string{"ann", "bob", "cleo"} {
		if strings.Contains(r.log.String(), name) {
			t.Errorf("%s is in the log", name)
		}
	}
}

// I.14: of a tenant, too.
func TestViewersOfOtherTenantsAndTargetsAreNotSeen(t *testing.T) {
	t.Parallel()
	r := start(t)
	here, there := r.viewer("w", "ann", "s1"), r.viewer("v", "ann", "s1")
	beside := r.connect(clientOf("w", at("other"), watches("s1"), extra("userId", "ann")))
	beside.send(subscribeFrame("s1", 0))
	beside.want(subscribed("s1", 0))
	here.send(presenceFrame("s1", "joined", "ann"))
	here.quiet("w")
	there.quiet("v")
	beside.quiet("w")
	here.leave()
	r.until("it has left", func() bool { return r.status().GetClientLinks() == 2 })
	there.quiet("v")
	beside.quiet("w")
}
