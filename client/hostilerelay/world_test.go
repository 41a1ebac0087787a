package hostilerelay_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/relaytest"
)

const (
	// limit guards a run against a hang; nothing here is about speed.
	limit = 3 * time.Minute

	// aWhile is how long an end is left alone that is to get nowhere.
	aWhile = 3 * time.Second
	// shortLife is a lifetime of sessions that are to end for want of a word of their peer.
	shortLife = 12 * time.Second

	workspace = "acme"
)

// profiles are both.
var profiles = []identity.Profile{identity.NoiseIK, identity.NoiseIKpsk2}

// settings change what a world is like. The zero value is the ordinary one.
type settings struct {
	lifetime time.Duration // of sessions, at both ends
	window   int           // at both ends
	// sendTimeout is how long a Send waits at either end; 0: for ever.
	sendTimeout time.Duration
	// prepare is called before anything connects.
	prepare func(m *middle)
}

// world is a daemon and two clients whose relay is the man in the middle.
type world struct {
	t        testing.TB
	ctx      context.Context
	profile  identity.Profile
	ends     *relaytest.Ends
	m        *middle
	listen   client.ListenConfig
	listener *client.Listener
	dial     client.DialConfig
	client   *client.Client    // the first one's
	stranger client.DialConfig // the second one's
}

// newWorld starts all but the second client, at a target of its own. It ends with the test.
func newWorld(t testing.TB, relay *relaytest.Relay, profile identity.Profile, s settings) *world {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), limit)
	t.Cleanup(stop)
	ends := relaytest.Pair(t, workspace, fmt.Sprintf("%x", randomBytes(8)))
	w := &world{t: t, ctx: ctx, profile: profile, ends: ends, m: newMiddle(t, relay.Addr)}
	if s.prepare != nil {
		s.prepare(w.m)
	}
	w.listen, w.dial, w.stranger = relay.ListenConfig(w.ends), relay.DialConfig(w.ends), relay.DialConfig(w.ends)
	w.stranger.Identity = newIdentity(t)
	permissions := map[identity.Key]client.Permission{}
	for _, c := range []*client.DialConfig{&w.dial, &w.stranger} {
		c.Daemon.Profile, c.Daemon.PSK = profile, identity.Secret{}
		if profile == identity.NoiseIKpsk2 {
			c.Daemon.PSK = identity.NewSecret([32]byte(randomBytes(32)))
		}
		permissions[c.Identity.Public] = client.Permission{Profile: profile, PSK: c.Daemon.PSK}
	}
	w.listen.Authorise = func(_ context.Context, c client.Caller) (client.Permission, error) {
		if p, ok := permissions[c.Key]; ok {
			return p, nil
		}
		return client.Permission{}, client.NotAuthorised
	}
	for _, c := range []*client.Config{&w.listen.Config, &w.dial.Config, &w.stranger.Config} {
		c.Relay, c.SessionLifetime, c.Window, c.SendTimeout = w.m.addr, s.lifetime, s.window, s.sendTimeout
	}
	var err error
	if w.listener, err = client.Listen(ctx, w.listen); err != nil {
		t.Fatalf("the daemon: %v", err)
	}
	t.Cleanup(func() { _ = w.listener.Close() })
	w.client = w.another(w.dial)
	return w
}

// newIdentity is that of one more client.
func newIdentity(t testing.TB) identity.Identity {
	t.Helper()
	store, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, err := store.LoadOrCreate(identity.Client, workspace)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// another is one more client.
func (w *world) another(cfg client.DialConfig) *client.Client {
	w.t.Helper()
	c, err := client.Dial(w.ctx, cfg)
	if err != nil {
		w.t.Fatalf("a client: %v", err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// open opens a session and returns both ends of it.
func (w *world) open(c *client.Client) (up, down *client.Session) {
	w.t.Helper()
	up, err := c.Open(w.ctx)
	if err != nil {
		w.t.Fatalf("a session: %v", err)
	}
	return up, w.accept(up.ID())
}

// converse opens a session of the first client for a conversation.
func (w *world) converse(tag byte) *conversation {
	w.t.Helper()
	up, down := w.open(w.client)
	return newConversation(tag, up, down)
}

// accept is the daemon's end of a session. What the client has given up meanwhile is none.
func (w *world) accept(id string) *client.Session {
	w.t.Helper()
	for {
		s, err := w.listener.Accept(w.ctx)
		if err != nil {
			w.t.Fatalf("the daemon's end of a session: %v", err)
		}
		if s.ID() == id {
			return s
		}
	}
}

// linkStatus is a STATUS about a link.
func (w *world) linkStatus(s envelope.Status) *frame {
	return &frame{Header: envelope.Header{
		Type: typeStatus, Workspace: []byte(w.ends.Workspace), Target: []byte(w.ends.Target), Status: s.Append(nil),
	}}
}

// randomBytes are n bytes that nobody has a key for.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
