package legacy_test

import (
	"context"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
)

// exampleEnv is what the examples run against: a relay, and the identity of a daemon.
type exampleEnv struct {
	url                                    string
	clientToken, daemonToken, pairingToken string
	daemonKey, identityFile                string

	tb *exampleTB
	id legacy.Identity
}

func exampleRelay() *exampleEnv {
	e := &exampleEnv{
		tb: &exampleTB{}, clientToken: "a client's", daemonToken: "a daemon's", pairingToken: "a pairing client's",
	}
	e.url = startRelay(e.tb).url
	id, err := legacy.NewIdentity("box")
	if err != nil {
		log.Fatal(err)
	}
	text, err := id.AppendFile(nil)
	if err != nil {
		log.Fatal(err)
	}
	e.id, e.daemonKey, e.identityFile = id, id.Public(), filepath.Join(e.tb.TempDir(), "acme.json")
	if err := os.WriteFile(e.identityFile, text, 0o600); err != nil {
		log.Fatal(err)
	}
	return e
}

func (e *exampleEnv) config(token string) legacy.Config {
	return legacy.Config{URL: e.url, Workspace: "acme", Target: "laptop", Token: client.StaticToken(token)}
}

// exampleDaemon is exampleRelay with a daemon that answers every message, and lets clients pair.
func exampleDaemon() *exampleEnv {
	e := exampleRelay()
	key, err := legacy.NewSigningKey()
	if err != nil {
		log.Fatal(err)
	}
	var pairings sync.Map
	l, err := legacy.Listen(context.Background(), legacy.ListenConfig{
		Config: e.config(e.daemonToken), Identity: e.id, Profile: identity.NoiseIK,
		PSK: func(_ context.Context, id string) (identity.Secret, error) {
			psk, _ := pairings.Load(id)
			s, _ := psk.(identity.Secret)
			return s, nil
		},
		Offers: &legacy.Offers{
			Key: key, DeviceID: "box", TrustAnchor: anchor,
			Paired: func(_ context.Context, p legacy.Pairing) error {
				pairings.Store(p.PeerID, p.PSK)
				return nil
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	e.tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			s, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					if _, err := s.Recv(context.Background()); err != nil {
						return
					}
					_ = s.Send(context.Background(), []byte(`{"type":"ack","requestId":"r1","status":"ok"}`))
				}
			}()
		}
	}()
	return e
}

// visit is a client that sends "ping" and leaves.
func (e *exampleEnv) visit(daemon string) {
	c, err := legacy.Dial(context.Background(), legacy.DialConfig{
		Config: e.config(e.clientToken), Daemon: daemon, Profile: identity.NoiseIK,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.Open(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Send(context.Background(), []byte("ping")); err != nil {
		log.Fatal(err)
	}
	_ = s.Close() // the daemon may have left by now
}

func (e *exampleEnv) end() { e.tb.end() }

// exampleTB is as much of a test as startRelay needs: examples have none.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()           {}
func (t *exampleTB) Output() io.Writer { return io.Discard }
func (t *exampleTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Error(args ...any) { log.Fatal(args...) }

func (t *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "viewport-example")
	if err != nil {
		log.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *exampleTB) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.cleanups = nil
}
