package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends tests that would hang; nothing is asserted about it.
const patience = 30 * time.Second

// port is a Mux with both servers behind it.
type port struct {
	mux  *Mux
	addr string
	grpc *grpc.Server
}

// open starts a port with both servers; everything ends with the test, which fails when something does not.
func open(t *testing.T, o Options) port {
	t.Helper()
	base, err := TCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := New(base, o)
	g := grpc.NewServer(grpc.Creds(Credentials()))
	grpc_health_v1.RegisterHealthServer(g, healthServer{})
	answer := func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s tls=%v", r.Proto, r.TLS != nil)
	}
	h := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(answer)}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 3)
	go func() { served <- m.Serve(ctx) }()
	go func() { served <- g.Serve(m.GRPC()) }()
	go func() {
		err := h.Serve(m.HTTP())
		if err == http.ErrServerClosed {
			err = nil
		}
		served <- err
	}()
	t.Cleanup(func() {
		g.Stop()
		_ = h.Close()
		cancel()
		for range 3 {
			if err := <-served; err != nil {
				t.Errorf("a server ended with %v, want nil", err)
			}
		}
		s := m.Stats()
		sum := s.GRPC + s.HTTP + s.Silent + s.Evicted + s.Foreign + s.Failed + s.Unserved
		if s.Pending != 0 || sum != s.Accepted {
			t.Errorf("at the end: %+v, want nothing pending and every accepted connection counted once", s)
		}
	})
	return port{m, m.Addr().String(), g}
}

// healthServer says over which security it was called.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (healthServer) Check(
	ctx context.Context, _ *grpc_health_v1.HealthCheckRequest,
) (*grpc_health_v1.HealthCheckResponse, error) {
	p, _ := peer.FromContext(ctx)
	security := p.AuthInfo.AuthType()
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		security = fmt.Sprintf("%s %s %v", security, info.State.NegotiatedProtocol, info.SecurityLevel)
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("security", security)); err != nil {
		return nil, err
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// call makes a gRPC call and returns what the server saw of its security.
func (p port) call(t *testing.T, creds credentials.TransportCredentials) (string, error) {
	t.Helper()
	conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var header metadata.MD
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	if err != nil {
		return "", err
	}
	return header.Get("security")[0], nil
}

// get makes an HTTP/1.1 request as curl would.
func (p port) get(t *testing.T, config *tls.Config) string {
	t.Helper()
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: config != nil}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: patience}).Get(scheme + "://" + p.addr + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// dial opens a bare connection that ends with the test.
func (p port) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// closedByPeer reads until the peer closes, and returns what came before.
func closedByPeer(t *testing.T, conn net.Conn) string {
	t.Helper()
	got, err := io.ReadAll(conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Fatal("the connection was not closed")
	}
	return string(got) // a reset is a close, too
}

// certificate writes a certificate for 127.0.0.1 and its key, and returns the files and a pool that trusts it.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay under test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "relay.crt"), filepath.Join(dir, "relay.key")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return certFile, keyFile, pool
}

// loadTLS returns both sides' configurations.
func loadTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	certFile, keyFile, pool := certificate(t)
	server, err := LoadTLS(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return server, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}
