package client_test

import (
	"context"
	"io"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/relaytest"
)

// exampleEnv is what the examples run against: a relay, a platform, and both sides paired for workspace acme and target
// laptop.
type exampleEnv struct {
	relay                    string
	clientHome, daemonHome   string
	clientToken, daemonToken string

	tb   *exampleTB
	r    *relaytest.Relay
	ends *relaytest.Ends
}

func exampleRelay() *exampleEnv {
	e := &exampleEnv{tb: &exampleTB{ctx: context.Background()}}
	e.r = relaytest.Start(e.tb)
	e.ends = relaytest.Pair(e.tb, "acme", "laptop")
	e.relay = e.r.Addr
	e.clientHome, e.daemonHome = home(e.ends.ClientStore, identity.Client), home(e.ends.DaemonStore, identity.Daemon)
	e.clientToken = e.r.Token(identity.Client, "acme", "laptop")
	e.daemonToken = e.r.Token(identity.Daemon, "acme", "laptop")
	return e
}

// home is the directory of a store: above relay-identities/x25519/<role>/acme.json.
func home(s *identity.Store, role identity.Role) string {
	path, err := s.Path(role, "acme")
	if err != nil {
		log.Fatal(err)
	}
	return filepath.Join(filepath.Dir(path), "..", "..", "..")
}

// exampleDaemon is exampleRelay with a daemon that answers every message.
func exampleDaemon() *exampleEnv {
	e := exampleRelay()
	l, err := client.Listen(context.Background(), e.r.ListenConfig(e.ends))
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
					msg, err := s.Recv(context.Background())
					if err != nil {
						_ = s.Close()
						return
					}
					_ = s.Send(context.Background(), append([]byte("you said "), msg...))
				}
			}()
		}
	}()
	return e
}

func (e *exampleEnv) dialConfig() client.DialConfig { return e.r.DialConfig(e.ends) }

// visit is a client that sends "ping" and leaves.
func (e *exampleEnv) visit() {
	c, err := client.Dial(context.Background(), e.dialConfig())
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
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
}

func (e *exampleEnv) end() { e.tb.end() }

// exampleTB is as much of a test as relaytest needs: examples have none.
type exampleTB struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

func (t *exampleTB) Helper()                   {}
func (t *exampleTB) Context() context.Context  { return t.ctx }
func (t *exampleTB) Output() io.Writer         { return io.Discard }
func (t *exampleTB) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Error(args ...any)         { log.Fatal(args...) }
func (t *exampleTB) Fatal(args ...any)         { log.Fatal(args...) }
func (t *exampleTB) Errorf(f string, a ...any) { log.Fatalf(f, a...) }
func (t *exampleTB) Fatalf(f string, a ...any) { log.Fatalf(f, a...) }

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
