//go:build unix

package proxies_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
)

func TestARelayThatIsRestartedBehindATerminatorLosesNothingOfItsLiveSessions(t *testing.T) {
	alone(t)
	const clients = 5
	each(t, func(t *testing.T, k kind) {
		targets, manner := 4, manner{pace: 100 * time.Millisecond, most: 3000}
		if k.name == "nginx" {
			targets, manner.pace = 40, 400*time.Millisecond // a thousand messages a second are enough for this machine
		}
		environ := []string{"RELAY_READINESS_DELAY=100ms", "RELAY_DRAIN_TIME=20s"}
		old := startRelay(t, "127.0.0.1:0", environ...)
		p := terminator(t, k, old.addr)
		var sessions [][2]*client.Session
		for i := range targets {
			c := connect(t, p, fmt.Sprintf("%s-restart-%d", k.name, i))
			for j := range clients {
				dialer := c.dialer
				if j > 0 {
					dialer, _ = c.dial()
				}
				up, down := c.open(dialer)
				sessions = append(sessions, [2]*client.Session{up, down})
			}
		}
		var talks []talk
		for i, s := range sessions {
			up, down := fmt.Sprintf("session %d up", i), fmt.Sprintf("session %d down", i)
			talks = append(talks, talk{begin(t, up, s[0], s[1], manner), begin(t, down, s[1], s[0], manner)})
		}
		more(t, 3, talks...)

		for _, talk := range talks {
			talk.up.watch()
			talk.down.watch()
		}
		old.terminate()
		old.line("draining: the public port is closed, links are told to go")
		startRelay(t, old.addr, environ...)
		if code := old.wait(); code != 0 {
			t.Errorf("the relay that was restarted: got exit code %d, want 0", code)
		}
		more(t, 3, talks...)
		messages := 0
		var stalls []time.Duration
		for _, talk := range talks {
			talk.up.stop.Store(true)
			talk.down.stop.Store(true)
		}
		for _, talk := range talks {
			talk.end()
			for _, f := range []*flow{talk.up, talk.down} {
				messages += f.count()
				stalls = append(stalls, max(f.pause()-manner.pace, 0))
			}
		}
		if t.Failed() {
			return
		}
		slices.Sort(stalls)
		drained := old.line("drained")
		t.Logf("%d sessions of %d targets, %d messages, none lost or doubled; the longest stall of a flow: median %v, "+
			"longest %v; the old relay's %v links: %v left, %v were ended, in %v", len(talks), targets, messages,
			stalls[len(stalls)/2].Round(time.Millisecond), stalls[len(stalls)-1].Round(time.Millisecond),
			drained["links"], drained["left"], drained["ended"], drained["took"])
	})
}
