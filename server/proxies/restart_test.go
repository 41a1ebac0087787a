//go:build unix

package proxies_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestARelayThatIsRestartedBehindATerminatorLosesNothingOfItsLiveSessions(t *testing.T) {
	t.Parallel()
	const clients = 5
	each(t, func(t *testing.T, k kind) {
		targets := 4
		if k.name == "nginx" {
			targets = 40
		}
		environ := []string{"RELAY_READINESS_DELAY=100ms", "RELAY_DRAIN_TIME=20s"}
		old := startRelay(t, "127.0.0.1:0", environ...)
		p := terminator(t, k, old.addr)
		var talks []talk
		for i := range targets {
			c := connect(t, p, fmt.Sprintf("%s-restart-%d", k.name, i))
			for j := range clients {
				dialer := c.dialer
				if j > 0 {
					dialer, _ = c.dial()
				}
				talks = append(talks, c.talk(dialer, fmt.Sprintf("session %d", len(talks)), manner{pace: 100 * time.Millisecond, most: 3000}))
			}
		}
		for _, talk := range talks {
			talk.more(3)
		}

		old.terminate()
		old.line("draining: the public port is closed, links are told to go")
		startRelay(t, old.addr, environ...)
		if code := old.wait(); code != 0 {
			t.Errorf("the relay that was restarted: got exit code %d, want 0", code)
		}
		for _, talk := range talks {
			talk.more(3)
		}
		messages := 0
		var stalls []time.Duration
		for _, talk := range talks {
			talk.end()
			for _, f := range []*flow{talk.up, talk.down} {
				messages += f.count()
				stalls = append(stalls, f.longest)
			}
		}
		slices.Sort(stalls)
		drained := old.line("drained")
		t.Logf("%d sessions of %d targets, %d messages, none lost or doubled; the longest pause of a flow: median %v, longest %v; "+
			"the old relay's %v links: %v left, %v were ended, in %v", len(talks), targets, messages,
			stalls[len(stalls)/2].Round(time.Millisecond), stalls[len(stalls)-1].Round(time.Millisecond),
			drained["links"], drained["left"], drained["ended"], drained["took"])
	})
}
