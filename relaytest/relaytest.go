// Package relaytest is a relay, a platform and tokens in one call, for tests of software that uses package client,
// and for our own.
//
//	relay := relaytest.Start(t)
//	ends := relaytest.Pair(t, "acme", "laptop")
//	daemon, err := client.Listen(ctx, relay.ListenConfig(ends))
//	…
//	c, err := client.Dial(ctx, relay.DialConfig(ends))
//
// Everything listens on 127.0.0.1, on ports that were free, and ends with the test. It is the real relay (package
// server) with the platform for development, which gives tokens to anybody: for tests only.
//
// What this package does not do: it starts no daemon and no client, and it simulates no network.
package relaytest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// loopback is any free port that only this machine reaches.
const loopback = "127.0.0.1:0"

// Relay is a running relay with its platform. The fields are set by Start and stay as they are, Restart included.
type Relay struct {
	// Addr is the public port as host:port.
	Addr string
	// URL is the public port as client.Config.Relay takes it: http:// and Addr, or with WithTLS https:// and Addr.
	URL string
	// TLS trusts the relay's certificate; nil without WithTLS.
	TLS *tls.Config
	// AdminAddr is the admin listener as host:port: AdminService, reflection and /metrics.
	AdminAddr string
	// AdminToken is the bearer token that the admin listener wants.
	AdminToken string
	// PlatformURL is the platform. POST /dev/tokens mints a token, POST /dev/revoke revokes one.
	PlatformURL string
	// JWKSURL is where the platform publishes its keys.
	JWKSURL string

	// Static.
	t        testing.TB
	platform *devplatform.Server
	config   server.Config

	mu sync.Mutex
	// Guarded by mu: how to end the relay that runs; nil while none does.
	stop func()
}

// Option changes what Start starts.
type Option func(*options)

type options struct {
	config   server.Config
	tls      bool
	validate bool
	jwks     bool
}

// WithHeartbeat sets the interval of application heartbeats; 0 turns them off. Without this option it is 20 seconds.
func WithHeartbeat(interval time.Duration) Option {
	return func(o *options) { o.config.Heartbeat = interval }
}

// WithLimits bounds the relay; zero fields mean its defaults.
func WithLimits(limits server.Limits) Option {
	return func(o *options) { o.config.Limits = limits }
}

// WithTLS makes the public port speak TLS, with a certificate for 127.0.0.1 and localhost that Relay.TLS trusts.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithValidateOnly makes the relay check tokens with the validate call alone.
func WithValidateOnly() Option { return func(o *options) { o.validate, o.jwks = true, false } }

// WithJWKSOnly makes the relay check tokens with the published keys alone, so that it never hears of a revocation.
func WithJWKSOnly() Option { return func(o *options) { o.validate, o.jwks = false, true } }

// WithRecheck sets how often the platform is asked about the token of a live link, so that one that is revoked ends it.
// Without this option nobody is asked.
func WithRecheck(interval time.Duration) Option {
	return func(o *options) { o.config.RecheckInterval = interval }
}

// WithTokenGrace sets how long a link may outlive its token; without this option it is a minute. Tokens expire at whole
// seconds.
func WithTokenGrace(grace time.Duration) Option {
	return func(o *options) { o.config.TokenGrace = grace }
}

// WithStateDir makes the relay keep its revocations in a folder, so that it has them after Restart.
func WithStateDir(dir string) Option { return func(o *options) { o.config.StateDir = dir } }

// WithLog replaces the relay's log, which goes to the test's output otherwise.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.config.Log = log } }

// Start starts a platform and a relay that checks tokens with the platform's keys and its validate call. Both end
// with the test. It fails the test if they can't be started, and whenever the relay ends by itself.
func Start(t testing.TB, opts ...Option) *Relay {
	t.Helper()
	o := options{validate: true, jwks: true, config: server.Config{
		Listen: loopback, AdminListen: loopback, AdminTokens: []string{rand.Text()}, Version: "relaytest",
		Heartbeat: 20 * time.Second,
		Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
	for _, option := range opts {
		option(&o)
	}
	r := &Relay{t: t, config: o.config, AdminToken: o.config.AdminTokens[0]}
	r.startPlatform()
	if o.jwks {
		r.config.JWKSURL = r.JWKSURL
	}
	if o.validate {
		r.config.ValidateURL = r.platform.ValidateURL()
	}
	scheme := "http://"
	if o.tls {
		scheme = "https://"
		r.config.TLSCert, r.config.TLSKey, r.TLS = newCertificate(t)
	}
	if err := r.start(); err != nil {
		t.Fatalf("relaytest: the relay did not start: %v", err)
	}
	t.Cleanup(r.Stop)
	// From now on the ports are fixed, so that peers find the relay again after Restart.
	r.Addr, r.AdminAddr, r.URL = r.config.Listen, r.config.AdminListen, scheme+r.config.Listen
	return r
}

func (r *Relay) startPlatform() {
	r.t.Helper()
	platform, err := devplatform.New(devplatform.Config{})
	if err != nil {
		r.t.Fatalf("relaytest: the platform: %v", err)
	}
	ln, err := net.Listen("tcp", loopback)
	if err != nil {
		r.t.Fatalf("relaytest: the platform's port: %v", err)
	}
	if err := platform.Start(ln); err != nil {
		_ = ln.Close()
		r.t.Fatalf("relaytest: the platform did not start: %v", err)
	}
	r.t.Cleanup(func() {
		if err := platform.Close(); err != nil {
			r.t.Errorf("relaytest: the platform did not end well: %v", err)
		}
	})
	r.platform, r.PlatformURL, r.JWKSURL = platform, platform.URL(), platform.JWKSURL()
}

// start makes a relay from r.config and remembers the ports that it got.
func (r *Relay) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		return fmt.Errorf("one runs already")
	}
	relay, err := server.New(r.config)
	if err != nil {
		return err
	}
	r.config.Listen, r.config.AdminListen = relay.Addr().String(), relay.AdminAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := relay.Run(ctx); err != nil {
			r.t.Errorf("relaytest: the relay failed: %v", err)
		}
	}()
	r.stop = func() { cancel(); <-ended }
	return nil
}

// Stop ends the relay in order, as SIGTERM does, and returns when nothing of it runs. The platform goes on. Stopping
// twice is no error.
func (r *Relay) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// Restart is Stop and then another relay on the same ports, which remembers nothing but what is in its folder
// (WithStateDir). It fails the test if that can't start.
func (r *Relay) Restart() {
	r.t.Helper()
	r.Stop()
	if err := r.start(); err != nil {
		r.t.Fatalf("relaytest: the relay did not start again: %v", err)
	}
}
