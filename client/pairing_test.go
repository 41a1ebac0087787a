package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/relaytest"
)

// pairing makes a pairing string at the daemon, as `viewport pair` does, and a client that has never met it.
func (e *env) pairing(profile identity.Profile) client.DialConfig {
	e.t.Helper()
	pairings, err := e.ends.DaemonStore.Pairings("acme")
	if err != nil {
		e.t.Fatal(err)
	}
	made, err := pairings.Create("laptop", profile, "phone", time.Now())
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := made.Encode()
	if err != nil {
		e.t.Fatal(err)
	}
	pairing, err := identity.ParsePairing(text)
	if err != nil {
		e.t.Fatal(err)
	}
	store, err := identity.Open(e.t.TempDir())
	if err != nil {
		e.t.Fatal(err)
	}
	cfg := e.relay.DialConfig(e.ends)
	if cfg.Identity, err = store.LoadOrCreate(identity.Client, "acme"); err != nil {
		e.t.Fatal(err)
	}
	cfg.Pair(pairing)
	return cfg
}

func (e *env) tryOpen(cfg client.DialConfig) (*client.Session, error) {
	e.t.Helper()
	c, err := client.Dial(e.ctx, cfg)
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() { _ = c.Close() })
	return c.Open(e.ctx)
}

func TestAPairingStringOpensASessionOnceAndPinsTheClient(t *testing.T) {
	for _, profile := range []identity.Profile{identity.NoiseIKpsk2, identity.NoiseIK} {
		t.Run(profile.String(), func(t *testing.T) {
			e := start(t)
			e.listen()
			cfg := e.pairing(profile)
			usedUp := cfg.PairingID
			up, err := e.tryOpen(cfg)
			if err != nil {
				t.Fatal(err)
			}
			down, err := e.daemon.Accept(e.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if down.Profile() != profile || down.Peer() != cfg.Identity.Public {
				t.Fatalf("got a session of %v by %v", down.Profile(), down.Peer())
			}
			e.send(up, "paired")
			e.want(down, "paired")

			// The client is pinned now: the same string, or none, opens the next session.
			if _, err := e.tryOpen(cfg); err != nil {
				t.Fatalf("the same client again: %v", err)
			}
			cfg.PairingID = nil
			if _, err := e.tryOpen(cfg); err != nil {
				t.Fatalf("the same client without its string: %v", err)
			}
			// Somebody else who has read the string comes too late.
			thief := e.pairing(profile)
			thief.Daemon, thief.PairingID = cfg.Daemon, usedUp
			_, err = e.tryOpen(thief)
			e.wantReason(err, client.PairingUnknown, "peer")
		})
	}
}

func TestAClientThatTheDaemonDoesNotKnowIsRefused(t *testing.T) {
	e := start(t)
	e.listen()
	cfg := e.pairing(identity.NoiseIK)
	cfg.PairingID = nil
	_, err := e.tryOpen(cfg)
	e.wantReason(err, client.NotAuthorised, "peer")
}

func TestAWeakerHandshakeThanPinnedIsRefusedByTheDaemon(t *testing.T) {
	e := start(t)
	e.listen()
	cfg := e.relay.DialConfig(e.ends)
	cfg.Daemon.Profile, cfg.Daemon.PSK = identity.NoiseIK, identity.Secret{}
	_, err := e.tryOpen(cfg)
	e.wantReason(err, client.ProfileTooWeak, "peer")
}

func TestCryptoPairingRefusesNoiseIKAtTheRelayAndAtBothEnds(t *testing.T) {
	e := start(t)
	e.listen()
	weak := e.pairing(identity.NoiseIK)

	// The client's own configuration.
	strict := weak
	strict.RequirePSK = true
	_, err := client.Dial(e.ctx, strict)
	e.wantReason(err, client.ProfileTooWeak, "local")

	// The relay, by the client's token and by the daemon's.
	byToken := weak
	byToken.Token = client.StaticToken(e.relay.Token(identity.Client, "acme", "laptop", relaytest.CryptoPairing()))
	_, err = e.tryOpen(byToken)
	e.wantReason(err, client.ProfileTooWeak, "relay")
	_ = e.daemon.Close()
	cfg := e.relay.ListenConfig(e.ends, relaytest.CryptoPairing())
	l, err := client.Listen(e.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.tryOpen(weak)
	e.wantReason(err, client.ProfileTooWeak, "relay")
	_ = l.Close()

	// The daemon's own configuration, whatever the relay lets through.
	e.listen(func(c *client.ListenConfig) { c.RequirePSK = true })
	_, err = e.tryOpen(weak)
	e.wantReason(err, client.ProfileTooWeak, "peer")

	// With a PSK all three are content.
	if _, err := e.tryOpen(e.pairing(identity.NoiseIKpsk2)); err != nil {
		t.Fatal(err)
	}
}

func TestAWrongPSKOrAWrongKeyNeverOpensASession(t *testing.T) {
	e := start(t)
	e.listen()
	cfg := e.relay.DialConfig(e.ends)
	cfg.Daemon.PSK = identity.NewSecret([32]byte{1})
	_, err := e.tryOpen(cfg)
	e.wantReason(err, client.HandshakeFailed, "local")

	// A daemon that is not the pinned one can't read the handshake: it says nothing, and Open waits for the right one.
	cfg = e.relay.DialConfig(e.ends)
	cfg.Daemon.Key = e.ends.Client.Public
	c, err := client.Dial(e.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, stop := context.WithCancel(e.ctx)
	opened := make(chan error, 1)
	go func() {
		_, err := c.Open(ctx)
		opened <- err
	}()
	// The daemon has handled that INIT once another client's session, begun later, is open.
	e.open(e.dial())
	stop()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's end", err)
	}
}

func TestAnAuthoriserDecidesAndItsReasonReachesTheClient(t *testing.T) {
	e := start(t)
	e.listen(func(c *client.ListenConfig) {
		c.Authorise = func(_ context.Context, caller client.Caller) (client.Permission, error) {
			if caller.Key == e.ends.Client.Public {
				return client.Permission{}, errors.New("not today")
			}
			return client.Permission{Profile: identity.NoiseIK}, nil
		}
	})
	_, err := e.tryOpen(e.relay.DialConfig(e.ends))
	e.wantReason(err, client.NotAuthorised, "peer")
	if strings.Contains(err.Error(), "not today") {
		t.Errorf("the daemon's own words reached the client: %v", err)
	}
	if _, err := e.tryOpen(e.pairing(identity.NoiseIK)); err != nil {
		t.Fatal(err)
	}
}

func TestAnIdentityThatOthersCanReadIsRefusedWithTheCommandThatMendsIt(t *testing.T) {
	store, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.LoadOrCreate(identity.Client, "acme"); err != nil {
		t.Fatal(err)
	}
	path, err := store.Path(identity.Client, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = store.LoadOrCreate(identity.Client, "acme")
	if !errors.Is(err, identity.ErrPermissions) || !strings.Contains(err.Error(), "chmod") ||
		!strings.Contains(err.Error(), filepath.Base(path)) {
		t.Fatalf("got %v, want a refusal with the chmod", err)
	}
}
