package legacy_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout guards against a hang; nothing here is about speed.
const timeout = 60 * time.Second

const anchor = "0123:4567:89ab:cdef:0123:4567:89ab:cdef:0123:4567:89ab:cdef:0123:4567:89ab:cdef"

type env struct {
	t      *testing.T
	ctx    context.Context
	relay  *testRelay
	id     legacy.Identity
	daemon *legacy.Listener

	mu       sync.Mutex
	pairings map[string]identity.Secret
}

func start(t *testing.T) *env {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(stop)
	id, err := legacy.NewIdentity("box")
	if err != nil {
		t.Fatal(err)
	}
	return &env{t: t, ctx: ctx, relay: startRelay(t), id: id, pairings: map[string]identity.Secret{}}
}

func (e *env) config() legacy.Config {
	token := client.StaticToken("token-of-a-peer")
	return legacy.Config{URL: e.relay.url, Workspace: "acme", Target: "laptop", Token: token}
}

func (e *env) listen(change ...func(*legacy.ListenConfig)) *legacy.Listener {
	e.t.Helper()
	cfg := legacy.ListenConfig{Config: e.config(), Identity: e.id, Profile: identity.NoiseIK, PSK: e.psk}
	for _, f := range change {
		f(&cfg)
	}
	l, err := legacy.Listen(e.ctx, cfg)
	if err != nil {
		e.t.Fatalf("Listen: %v", err)
	}
	e.t.Cleanup(func() { _ = l.Close() })
	e.daemon = l
	return l
}

func (e *env) psk(_ context.Context, id string) (identity.Secret, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pairings[id], nil
}

// paired is a pairing that both ends know.
func (e *env) paired(id string) (change func(*legacy.DialConfig)) {
	psk := identity.NewSecret([32]byte{1, 2, 3})
	e.mu.Lock()
	e.pairings[id] = psk
	e.mu.Unlock()
	return func(c *legacy.DialConfig) { c.Profile, c.PSK, c.PairingPeerID = identity.NoiseIKpsk2, psk, id }
}

func (e *env) dial(change ...func(*legacy.DialConfig)) *legacy.Client {
	e.t.Helper()
	cfg := legacy.DialConfig{Config: e.config(), Daemon: e.id.Public(), Profile: identity.NoiseIK}
	for _, f := range change {
		f(&cfg)
	}
	c, err := legacy.Dial(e.ctx, cfg)
	if err != nil {
		e.t.Fatalf("Dial: %v", err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	return c
}

// open returns both ends of a session.
func (e *env) open(c *legacy.Client) (up, down *client.Session) {
	e.t.Helper()
	up, err := c.Open(e.ctx)
	if err != nil {
		e.t.Fatalf("Open: %v", err)
	}
	if down, err = e.daemon.Accept(e.ctx); err != nil {
		e.t.Fatalf("Accept: %v", err)
	}
	return up, down
}

func (e *env) send(s *client.Session, msg string) {
	e.t.Helper()
	if err := s.Send(e.ctx, []byte(msg)); err != nil {
		e.t.Fatalf("Send: %v", err)
	}
}

func (e *env) want(s *client.Session, msg string) {
	e.t.Helper()
	got, err := s.Recv(e.ctx)
	if err != nil || string(got) != msg {
		e.t.Fatalf("Recv: got %.40q, %v, want %.40q", got, err, msg)
	}
}

func (e *env) wantReason(err error, reason client.Reason, by string) {
	e.t.Helper()
	var ce *client.Error
	if !errors.As(err, &ce) || ce.Reason != reason || ce.By != by {
		e.t.Fatalf("got error %v, want %s (%s)", err, reason, by)
	}
}

// until waits for what the SDK does by itself, after pauses of its own.
func (e *env) until(ok func() bool) {
	e.t.Helper()
	for !ok() {
		if e.ctx.Err() != nil {
			e.t.Fatal("waited in vain")
		}
		select {
		case <-e.ctx.Done():
		case <-time.After(10 * time.Millisecond): // asks again; nothing depends on how soon
		}
	}
}
