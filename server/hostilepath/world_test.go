package hostilepath_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/relaytest"
	"github.com/getviewport/relay/server"
)

const (
	// seldom is a heartbeat interval that no test lives to see: what is noticed then is noticed otherwise.
	seldom = 20 * time.Second
	// often is one with which a dead link is found soon; three of them are longer than a busy machine stalls.
	often = 250 * time.Millisecond
)

// limits are small, so that a path that holds data stops its senders soon.
var limits = server.Limits{SessionWindow: 128 << 10, LinkBytes: 1 << 20, HandshakesPerSecond: server.Unlimited}

// world is a relay and a path to it that has no fault.
type world struct {
	*relaytest.Relay
	t     *testing.T
	clean *path
}

func newWorld(t *testing.T, heartbeat time.Duration) *world {
	t.Helper()
	r := relaytest.Start(t, relaytest.WithHeartbeat(heartbeat), relaytest.WithLimits(limits), relaytest.WithJWKSOnly())
	ready(t, r)
	return &world{Relay: r, t: t, clean: newPath(t, r.Addr)}
}

// ready waits until the relay has the platform's keys: before that it sends links away for a moment, which would count as
// a connection more.
func ready(t *testing.T, r *relaytest.Relay) {
	t.Helper()
	for ctx := patient(t); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			http.DefaultClient.CloseIdleConnections()
			return
		}
	}
}

// couple is a daemon and a client of it, each with a path to the relay.
type couple struct {
	t        *testing.T
	world    *world
	ends     *relaytest.Ends
	listener *client.Listener
	dialer   *client.Client
}

// couple connects both; names are each test's own.
func (w *world) couple(t *testing.T, target string, daemon, dialer *path, change ...func(*client.Config)) *couple {
	t.Helper()
	c := &couple{t: t, world: w, ends: relaytest.Pair(t, "acme", target)}
	c.listener = w.listen(t, c.ends, daemon, change)
	c.dialer = w.dial(t, c.ends, dialer, change)
	return c
}

func (w *world) listen(t *testing.T, ends *relaytest.Ends, via *path, change []func(*client.Config),
	claims ...relaytest.Claim) *client.Listener {
	t.Helper()
	cfg := w.ListenConfig(ends, claims...)
	cfg.Relay = via.url()
	for _, f := range change {
		f(&cfg.Config)
	}
	l, err := client.Listen(patient(t), cfg)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (w *world) dial(t *testing.T, ends *relaytest.Ends, via *path, change []func(*client.Config)) *client.Client {
	t.Helper()
	cfg := w.DialConfig(ends)
	cfg.Relay = via.url()
	for _, f := range change {
		f(&cfg.Config)
	}
	c, err := client.Dial(patient(t), cfg)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// talk opens a session of the couple and lets both ends talk.
func (c *couple) talk() *talk { return c.talkBy(c.dialer) }

// talkBy is talk with another client of the same daemon.
func (c *couple) talkBy(dialer *client.Client) *talk {
	c.t.Helper()
	up, err := dialer.Open(patient(c.t))
	if err != nil {
		c.t.Fatalf("Open: %v", err)
	}
	down, err := c.listener.Accept(patient(c.t))
	if err != nil {
		c.t.Fatalf("Accept: %v", err)
	}
	return newTalk(c.t, up, down)
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
