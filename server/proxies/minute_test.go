//go:build unix

package proxies_test

import "testing"

func TestAMinuteOfSilenceBehindNginxAsItIsDeployed(t *testing.T) {
	t.Parallel()
	t.Run("heartbeats keep the links", func(t *testing.T) {
		t.Parallel()
		r := startRelay(t, "127.0.0.1:0") // every 20 s
		p := terminator(t, kinds[0], r.addr)
		c := connect(t, p, "minute-heartbeats")
		up, down := c.open(c.dialer)
		clock(t, r, 4)
		talk := talk{begin(t, "up", up, down, manner{}), begin(t, "down", down, up, manner{})}
		talk.more(100)
		talk.end()
		for name, e := range map[string]*end{"daemon": c.daemon, "client": c.client} {
			if links, _ := e.count(); links != 1 {
				t.Errorf("the %s has had %d links, want 1", name, links)
			}
		}
	})
	t.Run("without them the links are cut and the session goes on", func(t *testing.T) {
		t.Parallel()
		p := terminator(t, kinds[0], startRelay(t, "127.0.0.1:0", "RELAY_HEARTBEAT=0").addr)
		c := connect(t, p, "minute-off")
		up, down := c.open(c.dialer)
		c.daemon.hasHad(t, 2)
		c.client.hasHad(t, 2)
		talk := talk{begin(t, "up", up, down, manner{}), begin(t, "down", down, up, manner{})}
		talk.more(100)
		talk.end()
	})
}
