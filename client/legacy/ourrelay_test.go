package legacy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/relaytest"
)

// ours is env with our own relay in place of the test's.
type ours struct {
	*env
	r *relaytest.Relay
}

func startOurs(t *testing.T) *ours {
	t.Helper()
	e := &ours{env: start(t), r: relaytest.Start(t)}
	e.relay.url = "ws://" + e.r.Addr + "/ws"
	return e
}

func (e *ours) listen(change ...func(*legacy.ListenConfig)) *legacy.Listener {
	e.t.Helper()
	return e.env.listen(append([]func(*legacy.ListenConfig){func(c *legacy.ListenConfig) {
		c.Token = func(context.Context) (string, error) { return e.r.LegacyDaemonToken("acme", "laptop"), nil }
	}}, change...)...)
}

// token is one of a client.
func (e *ours) token(scope string, claims ...relaytest.Claim) client.TokenSource {
	return func(context.Context) (string, error) {
		return e.r.LegacyClientToken(scope, "acme", "laptop", claims...), nil
	}
}

func TestThroughOurRelayMessagesArriveAndKeysChange(t *testing.T) {
	for _, profile := range []identity.Profile{identity.NoiseIK, identity.NoiseIKpsk2} {
		t.Run(profile.String(), func(t *testing.T) {
			e := startOurs(t)
			e.listen()
			c := e.dial(func(c *legacy.DialConfig) {
				if profile == identity.NoiseIKpsk2 {
					e.paired("phone")(c)
				}
				c.Token = e.token("runtime", relaytest.E2EEProfile(profile.String()))
			})
			up, down := e.open(c)
			long := strings.Repeat("x", up.MaxMessage())
			e.send(up, long)
			e.want(down, long)
			e.send(down, long)
			e.want(up, long)
			for i := range 800 { // more than a client may send in a minute
				e.send(down, fmt.Sprint("down ", i))
				e.want(up, fmt.Sprint("down ", i))
				if i%20 == 0 {
					e.send(up, fmt.Sprint("up ", i))
					e.want(down, fmt.Sprint("up ", i))
				}
			}
		})
	}
}

func TestThroughOurRelayClientsPair(t *testing.T) {
	e := startOurs(t)
	e.listen(func(c *legacy.ListenConfig) {
		c.Offers = &legacy.Offers{Key: signingKey(t), DeviceID: "box", TrustAnchor: anchor, Paired: e.store}
	})
	cfg := legacy.PairConfig{Config: e.config(), Key: signingKey(t)}
	cfg.Token = e.token("pairing")
	p, err := legacy.Pair(e.ctx, cfg)
	if err != nil {
		t.Fatalf("Pair: %v", err)
	}
	up, down := e.open(e.dial(func(c *legacy.DialConfig) {
		c.Token = e.token("runtime", relaytest.E2EEProfile("noise-ikpsk2"))
		c.Profile, c.PSK, c.PairingPeerID = identity.NoiseIKpsk2, p.PSK, p.PeerID
	}))
	e.send(up, "it is me")
	e.want(down, "it is me")
	if down.PairingPeerID() != p.PeerID {
		t.Errorf("the client is %q", down.PairingPeerID())
	}
}

func TestThroughOurRelayADaemonThatLeavesIsMissedAndBothComeBack(t *testing.T) {
	e := startOurs(t)
	l := e.listen()
	c := e.dial(func(c *legacy.DialConfig) { c.Token = e.token("runtime") })
	up, _ := e.open(c)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for up.Err() == nil {
		_ = up.Send(e.ctx, []byte("are you there?"))
		select {
		case <-up.Done():
		default:
			_, err := c.Open(e.ctx) // waits for the relay to know
			if err != nil && !errors.Is(err, client.PeerUnavailable) {
				t.Fatalf("Open: %v", err)
			}
		}
	}
	e.wantReason(up.Err(), client.PeerUnavailable, "relay")
	e.listen()
	up, down := e.open(c)
	e.send(up, "again")
	e.want(down, "again")
	e.r.Restart()
	waitFor(e.ctx, t, up.Done(), "the end of a session")
	waitFor(e.ctx, t, down.Done(), "the end of a session")
	e.wantReason(down.Err(), client.LinkLost, "link")
	up = e.reopen(c)
	if down, _ = e.daemon.Accept(e.ctx); down == nil {
		t.Fatal("no session")
	}
	e.send(up, "once more")
	e.want(down, "once more")
}

func TestThroughOurRelayASecondDaemonIsRefusedAndTriesOn(t *testing.T) {
	e := startOurs(t)
	e.listen()
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	told := make(logged, 1)
	ended := make(chan error, 1)
	go func() {
		cfg := legacy.ListenConfig{Config: e.config(), Identity: e.id, Profile: identity.NoiseIK}
		cfg.Token = func(context.Context) (string, error) {
			return e.r.LegacyDaemonToken("acme", "laptop", relaytest.InstallID("another")), nil
		}
		cfg.Log = told.logger()
		_, err := legacy.Listen(ctx, cfg)
		ended <- err
	}()
	select {
	case <-told:
	case <-e.ctx.Done():
		t.Fatal("it was let in")
	}
	stop()
	if err := <-ended; !errors.Is(err, client.DaemonAlreadyConnected) || !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v", err)
	}
}

func TestThroughOurRelayARefusalHasItsReason(t *testing.T) {
	e := startOurs(t)
	e.listen()
	cfg := legacy.DialConfig{Config: e.config(), Daemon: e.id.Public(), Profile: identity.NoiseIK}
	cfg.Target = "another"
	cfg.Token = e.token("runtime")
	_, err := legacy.Dial(e.ctx, cfg)
	e.wantReason(err, "TARGET_MISMATCH", "relay")
}
