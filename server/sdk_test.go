package server_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/getviewport/relay/client"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/relaytest"
	"github.com/getviewport/relay/server"
)

// sdkPair is a daemon and a client made with the SDK, at a relay or at what stands in front of it.
type sdkPair struct {
	t        *testing.T
	listener *client.Listener
	dialer   *client.Client
}

// connectSDK connects both at config.Relay. Workspace, target and tokens are filled in.
func connectSDK(t *testing.T, config client.Config, workspace string) *sdkPair {
	t.Helper()
	ends := relaytest.Pair(t, workspace, target)
	config.Workspace, config.Target = workspace, target
	authorise, err := client.Paired(ends.DaemonStore, workspace, target)
	if err != nil {
		t.Fatal(err)
	}
	daemon := config
	daemon.Token = client.StaticToken(token(t, devplatform.Claims{
		Role: devplatform.RoleDaemon, WorkspaceID: workspace, RuntimeTargetID: target,
	}))
	listener, err := client.Listen(patient(t), client.ListenConfig{
		Config: daemon, Identity: ends.Daemon, Authorise: authorise,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	config.Token = client.StaticToken(token(t, devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: workspace, RuntimeTargetID: target,
	}))
	dialer, err := client.Dial(patient(t), client.DialConfig{
		Config: config, Identity: ends.Client, Daemon: ends.PinnedDaemon,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialer.Close() })
	return &sdkPair{t: t, listener: listener, dialer: dialer}
}

// open opens a session and returns both ends of it.
func (p *sdkPair) open() (up, down *client.Session) {
	p.t.Helper()
	up, err := p.dialer.Open(patient(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	down, err = p.listener.Accept(patient(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return up, down
}

// push sends size bytes, ends the direction, and compares what arrives.
func push(t *testing.T, from, to *client.Session, size int) {
	t.Helper()
	if err := tryPush(from, to, size); err != nil {
		t.Fatal(err)
	}
}

func tryPush(from, to *client.Session, size int) error {
	data := make([]byte, size)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)
	sent := make(chan error, 1)
	go func() {
		_, err := from.Stream().Write(data)
		if err == nil {
			err = from.CloseWrite()
		}
		sent <- err
	}()
	sum := sha256.New()
	n, err := io.Copy(sum, to.Stream())
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if n != int64(size) || [32]byte(sum.Sum(nil)) != sha256.Sum256(data) {
		return errors.New("what arrived is not what was sent")
	}
	return nil
}

func TestTheSDKsSessionRunsThroughTheRelayPlainAndByTLS(t *testing.T) {
	change, trust := secured(t)
	for scheme, r := range map[string]*relay{"http": start(t), "https": start(t, change)} {
		t.Run(scheme, func(t *testing.T) {
			pair := connectSDK(t, client.Config{Relay: scheme + "://" + r.addr, TLS: trust}, "sdk-"+scheme)
			up, down := pair.open()
			push(t, up, down, 3<<20)
			push(t, down, up, 3<<20)
			if err := up.Close(); err != nil {
				t.Errorf("the client's Close: %v", err)
			}
			if err := down.Close(); err != nil {
				t.Errorf("the daemon's Close: %v", err)
			}
		})
	}
}

func TestASessionOfTheSDKOutlivesALongSilenceByHeartbeats(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Heartbeat = beat })
	pair := connectSDK(t, client.Config{Relay: "http://" + r.addr}, "sdk-silent")
	up, down := pair.open()
	waitForHeartbeats(t, r, 5)
	push(t, up, down, 100_000)
	push(t, down, up, 100_000)
}

// waitForHeartbeats waits for n intervals: a third link, of a target of its own, counts the relay's heartbeats.
func waitForHeartbeats(t *testing.T, r *relay, n int) {
	t.Helper()
	clock := r.connect(endpoint{workspace: "clock"})
	defer clock.cancel()
	for range n {
		e, err := clock.next()
		if err != nil {
			t.Fatalf("the clock: %v", err)
		}
		if e.GetType() == typeHeartbeat {
			clock.send(&relayv1.Envelope{Type: typeHeartbeat})
		}
	}
}
