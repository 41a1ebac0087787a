package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

const (
	adminToken = "the-admin-token-of-these-tests"
	// patience ends a test that would hang; nothing is asserted about time.
	patience = 60 * time.Second
	// beat is the heartbeat interval of tests that wait for heartbeats: three of them are longer than a busy machine stalls.
	beat = 250 * time.Millisecond
)

// relay is a running relay. It ends with the test, and then its hub must be consistent and empty.
type relay struct {
	*server.Server
	t        *testing.T
	addr     string
	tls      *tls.Config // trusts it; nil when plain
	log      *safeBuffer
	stopped  chan error
	shutdown context.CancelFunc
	once     sync.Once
}

// start runs a relay that checks tokens with the validate call, which unlike the JWKS needs no fetch first.
func start(t *testing.T, changes ...func(*server.Config)) *relay {
	t.Helper()
	r := &relay{t: t, log: new(safeBuffer), stopped: make(chan error, 1)}
	cfg := server.Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AdminTokens: []string{adminToken}, Version: "test 1",
		ValidateURL: platform.ValidateURL(), Heartbeat: 20 * time.Second,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, change := range changes {
		change(&cfg)
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Server, r.addr = s, s.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.shutdown = cancel
	go func() { r.stopped <- s.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// stop checks the hub, ends the relay and checks that nothing is left.
func (r *relay) stop() {
	r.once.Do(func() {
		if err := r.Check(); err != nil {
			r.t.Errorf("the hub before the end: %v", err)
		}
		r.shutdown()
		if err := <-r.stopped; err != nil {
			r.t.Errorf("Run: got %v, want nil", err)
		}
		if err := r.CheckEmpty(); err != nil {
			r.t.Errorf("the hub after the end: %v", err)
		}
		if r.t.Failed() {
			r.t.Logf("the relay's log:\n%s", r.log)
		}
	})
}

func (r *relay) dial(options ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	return dial(r.t, r.addr, r.tls, options...)
}

func dial(t *testing.T, addr string, trust *tls.Config, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if trust != nil {
		creds = credentials.NewTLS(trust)
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, append(options, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// token mints one.
func token(t *testing.T, c devplatform.Claims) string {
	t.Helper()
	s, err := platform.Mint(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, trust *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) (string, []byte) {
		path, text := filepath.Join(t.TempDir(), name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path, text
	}
	certFile, certPEM := write("relay.crt", "CERTIFICATE", der)
	keyFile, _ = write("relay.key", "PRIVATE KEY", keyDER)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// safeBuffer is a log that several goroutines write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// ownPlatform is one that a test may break.
func ownPlatform(t *testing.T) *devplatform.Server {
	t.Helper()
	p, err := devplatform.New(devplatform.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ln); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}
