package legacy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/internal/legacycrypto"
)

func TestBothRolesComeAsTodaysDo(t *testing.T) {
	e := start(t)
	e.listen()
	e.open(e.dial())
	e.relay.mu.Lock()
	defer e.relay.mu.Unlock()
	for _, role := range []string{"workspace-daemon", "client"} {
		h := e.relay.header[role]
		if h.Get("Authorization") != "Bearer token-of-a-peer" || h.Get("Sec-WebSocket-Protocol") != "" {
			t.Errorf("%s: the headers are %v", role, h)
		}
	}
}

func TestARefusalSaysWhatToDo(t *testing.T) {
	for status, want := range map[int]client.Reason{
		400: "FRAME_INVALID", 401: client.TokenInvalid, 403: "ROLE_MISMATCH", 404: "FRAME_INVALID",
		409: client.DaemonAlreadyConnected, 429: "RATE_LIMITED", 503: "CAPACITY", 500: client.LinkLost,
	} {
		e := start(t)
		e.relay.refuse = status
		_, err := legacy.Dial(e.ctx, legacy.DialConfig{Config: e.config(), Daemon: e.id.Public(), Profile: identity.NoiseIK})
		e.wantReason(err, want, "relay")
		if strings.Contains(err.Error(), "token-of-a-peer") {
			t.Error("an error repeats the token")
		}
	}
}

func TestADaemonThatIsRefusedForGoodIsTold(t *testing.T) {
	e := start(t)
	e.relay.refuse = http.StatusUnauthorized
	_, err := legacy.Listen(e.ctx, legacy.ListenConfig{Config: e.config(), Identity: e.id, Profile: identity.NoiseIK})
	e.wantReason(err, client.TokenInvalid, "relay")
	if n := e.relay.seenUpgrades(); n != 1 {
		t.Errorf("it tried %d times", n)
	}
}

// A relay of today lets a second daemon in, and then closes; and it says 401 while the platform is away.
func TestADaemonThatWasLetInComesBackWhateverTheRelaySays(t *testing.T) {
	e := start(t)
	e.listen()
	e.open(e.dial())
	e.relay.set(func() { e.relay.close = "daemon already connected" })
	e.relay.cutDaemon()
	before := e.relay.seenUpgrades()
	e.until(func() bool { return e.relay.seenUpgrades() > before })
	e.relay.set(func() { e.relay.close, e.relay.refuse = "", http.StatusUnauthorized })
	before = e.relay.seenUpgrades()
	e.until(func() bool { return e.relay.seenUpgrades() > before })
	e.relay.set(func() { e.relay.refuse = 0 })
	e.until(func() bool {
		e.relay.mu.Lock()
		defer e.relay.mu.Unlock()
		return e.relay.daemon != nil
	})
	up := e.reopen(e.dial())
	down, err := e.daemon.Accept(e.ctx)
	for err == nil && down.ID() != up.ID() {
		down, err = e.daemon.Accept(e.ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	e.send(up, "back")
	e.want(down, "back")
}

func TestARelayThatReplaysReflectsAndForgesHarmsNoSession(t *testing.T) {
	e := start(t)
	e.relay.change = func(f frame) []frame {
		if _, ok := parsed(t, f.text).(*legacycrypto.Envelope); !ok {
			return []frame{f, f, {up: f.up, text: []byte(`{"type":"e2ee"}`)}}
		}
		forged := bytes.Replace(f.text, []byte(`"ciphertext":"`), []byte(`"ciphertext":"AAAA`), 1)
		far := bytes.Replace(f.text, []byte(`"seq":`), []byte(`"seq":9`), 1)
		back := frame{up: !f.up, text: f.text}
		return []frame{{f.up, forged}, {f.up, far}, back, f, f, back, {f.up, []byte("{}")}, {f.up, []byte("garbage")}}
	}
	e.listen()
	up, down := e.open(e.dial(e.paired("phone")))
	for range 300 { // keys change in between
		e.send(up, "ping")
		e.want(down, "ping")
		e.send(down, "pong")
		e.want(up, "pong")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	e := start(t)
	told := make(logged, 1)
	e.listen()
	up, down := e.open(e.dial(func(c *legacy.DialConfig) { c.Log = slog.New(told) }))
	e.relay.inject(false, []byte(
		`{"type":"relay_status","code":"RELAY_REDIRECT","relayWsBaseUrl":"ws://evil.example/ws"}`))
	select {
	case <-told:
	case <-e.ctx.Done():
		t.Fatal("nobody is told of it")
	}
	e.send(up, "still here")
	e.want(down, "still here")
}

func TestClientsPairAndAreKnownFromThenOn(t *testing.T) {
	e := start(t)
	daemonKey, clientKey := signingKey(t), signingKey(t)
	e.listen(func(c *legacy.ListenConfig) {
		c.Profile = identity.NoiseIKpsk2
		c.Offers = &legacy.Offers{Key: daemonKey, DeviceID: "box", TrustAnchor: anchor, Paired: e.store}
	})
	p, err := legacy.Pair(e.ctx, legacy.PairConfig{Config: e.config(), Key: clientKey})
	if err != nil {
		t.Fatalf("Pair: %v", err)
	}
	seed := daemonKey.Reveal()
	if !p.Peer.Equal(ed25519.NewKeyFromSeed(seed[:]).Public()) || p.TrustAnchor != anchor || p.DaemonDeviceID != "box" {
		t.Errorf("the pairing says %q, %q", p.TrustAnchor, p.DaemonDeviceID)
	}
	up, down := e.open(e.dial(func(c *legacy.DialConfig) {
		c.Profile, c.PSK, c.PairingPeerID = identity.NoiseIKpsk2, p.PSK, p.PeerID
	}))
	e.send(up, "it is me")
	e.want(down, "it is me")
	if down.PairingPeerID() != p.PeerID {
		t.Errorf("the client is %q, want %q", down.PairingPeerID(), p.PeerID)
	}
}

func (e *env) store(_ context.Context, p legacy.Pairing) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pairings[p.PeerID] = p.PSK
	return nil
}

func signingKey(t *testing.T) identity.Secret {
	t.Helper()
	k, err := legacy.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAPairingThatCouldNotBeStoredIsNone(t *testing.T) {
	e := start(t)
	told := make(logged, 1)
	var answered atomic.Bool
	e.relay.change = func(f frame) []frame {
		if _, ok := parsed(t, f.text).(*legacycrypto.RedeemResponse); ok {
			answered.Store(true)
		}
		return []frame{f}
	}
	e.listen(func(c *legacy.ListenConfig) {
		c.Log = slog.New(told)
		c.Offers = &legacy.Offers{Key: signingKey(t), DeviceID: "box", TrustAnchor: anchor,
			Paired: func(context.Context, legacy.Pairing) error { return errors.New("the disk is full") }}
	})
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	paired := make(chan error, 1)
	go func() {
		_, err := legacy.Pair(ctx, legacy.PairConfig{Config: e.config(), Key: signingKey(t)})
		paired <- err
	}()
	select {
	case <-told:
	case <-e.ctx.Done():
		t.Fatal("nobody is told of it")
	}
	up, down := e.open(e.dial())
	e.send(down, "an answer would have come before this")
	e.want(up, "an answer would have come before this")
	stop()
	if err := <-paired; !errors.Is(err, context.Canceled) || answered.Load() {
		t.Errorf("Pair: got %v, want it to wait for an answer that does not come", err)
	}
}

func TestPairingWithoutADaemonSaysSo(t *testing.T) {
	e := start(t)
	_, err := legacy.Pair(e.ctx, legacy.PairConfig{Config: e.config(), Key: signingKey(t)})
	e.wantReason(err, client.PeerUnavailable, "relay")
}

func TestARequestToPairThatTheDaemonRefusesFails(t *testing.T) {
	e := start(t)
	e.relay.change = func(f frame) []frame {
		if r, ok := parsed(t, f.text).(*legacycrypto.OfferResponse); ok {
			f.text = []byte(`{"type":"relay_pairing_offer_response","requestId":"` + r.RequestID +
				`","ok":false,"errorCode":"PAIRING_OFFER_FAILED","error":"no"}`)
		}
		return []frame{f}
	}
	e.listen(func(c *legacy.ListenConfig) {
		c.Offers = &legacy.Offers{Key: signingKey(t), DeviceID: "box", TrustAnchor: anchor, Paired: e.store}
	})
	_, err := legacy.Pair(e.ctx, legacy.PairConfig{Config: e.config(), Key: signingKey(t)})
	e.wantReason(err, client.NotAuthorised, "peer")
}
