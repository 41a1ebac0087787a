//go:build unix

package proxies_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// each runs a test for every kind of terminator.
func each(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

func TestASessionLivesOnOneLinkThoughSilentForLongerThanTheIdleLimit(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		if k.name == "caddy" {
			k.impatient = nil // what it has is no idle limit
		}
		// Three heartbeats are longer than a busy machine stalls.
		r := startRelay(t, "127.0.0.1:0", "RELAY_HEARTBEAT=500ms")
		p := terminator(t, k, r.addr, k.impatient...)
		c := connect(t, p, k.name+"-lives")
		up, down := c.open(c.dialer)
		clock(t, r, 5)
		talk := talk{begin(t, "up", up, down, manner{}), begin(t, "down", down, up, manner{})}
		talk.more(200)
		talk.end()
		for name, e := range map[string]*end{"daemon": c.daemon, "client": c.client} {
			if links, _ := e.count(); links != 1 {
				t.Errorf("the %s has had %d links, want 1", name, links)
			}
		}
	})
}

func TestAPeerHearsThatItIsAdmittedThoughNobodySaysAnythingYet(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		p := terminator(t, k, startRelay(t, "127.0.0.1:0", "RELAY_HEARTBEAT=0").addr)
		connect(t, p, k.name+"-admitted") // nginx keeps response headers back until the first byte of the body
	})
}

func TestOfTheRelaysPortATerminatorShowsLinksAndProbesAndNothingElse(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		p := terminator(t, k, startRelay(t, "127.0.0.1:0").addr)
		transport := &http.Transport{TLSClientConfig: p.home.trust, DisableKeepAlives: true}
		for path, want := range map[string]int{
			"/health": 200, "/livez": 200, "/readyz": 200, "/metrics": 404, "/": 404, "/grpc.health.v1.Health/Check": 404,
			"/ws": 400,
		} {
			request, err := http.NewRequestWithContext(patient(t), http.MethodGet, p.url()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil || answer.StatusCode != want || want == 200 && !strings.Contains(string(body), `"ok":true`) {
				t.Errorf("%s: got %d %q, %v, want %d", path, answer.StatusCode, body, err, want)
			}
		}
	})
}

func TestASessionOutlivesLinksThatATerminatorCutsForTheirSilence(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		r := startRelay(t, "127.0.0.1:0", "RELAY_HEARTBEAT=0")
		p := terminator(t, k, r.addr, k.impatient...)
		c := connect(t, p, k.name+"-silent")
		up, down := c.open(c.dialer)
		c.daemon.hasHad(t, 3)
		c.client.hasHad(t, 3)
		talk := talk{begin(t, "up", up, down, manner{}), begin(t, "down", down, up, manner{})}
		talk.more(20)
		talk.end()
	})
}

func TestASessionOutlivesATerminatorThatIsKilledAndComesBack(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		p := terminator(t, k, startRelay(t, "127.0.0.1:0").addr)
		c := connect(t, p, k.name+"-killed")
		talk := c.talk(c.dialer, "talk", manner{})
		for n := 2; n <= 3; n++ {
			talk.more(100)
			p.kill()
			p.start()
			c.daemon.hasHad(t, n)
			c.client.hasHad(t, n)
		}
		talk.more(100)
		talk.end()
	})
}

func TestASessionOutlivesATerminatorThatIsReloadedWhetherItKeepsTheOldLinksOrCutsThem(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		p := terminator(t, k, startRelay(t, "127.0.0.1:0").addr, k.hasty...)
		c := connect(t, p, k.name+"-reloaded")
		old := c.talk(c.dialer, "an old link", manner{})
		for n := 2; n <= 3; n++ {
			old.more(100)
			p.reloads()
			if !k.keeps {
				c.daemon.hasHad(t, n)
				c.client.hasHad(t, n)
			}
			dialer, _ := c.dial()
			talk := c.talk(dialer, "a new link", manner{})
			talk.more(100)
			talk.end()
		}
		old.more(100)
		old.end()
		if links, _ := c.daemon.count(); k.keeps && links != 1 {
			t.Errorf("the daemon has had %d links, want 1", links)
		}
	})
}
