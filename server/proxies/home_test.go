//go:build unix

package proxies_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// home is a directory of a terminator's own. Whoever runs the tests as root runs it as nobody, who owns it.
type home struct {
	t    *testing.T
	dir  string
	user *syscall.Credential
	// trust trusts its certificate, which relay.crt, relay.key and, both in one, relay.pem have.
	trust *tls.Config
}

const nobody = 65534

func newHome(t *testing.T) *home {
	t.Helper()
	// Not t.TempDir: what is above it is closed to others.
	dir, err := os.MkdirTemp("", "viewport-proxy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &home{t: t, dir: dir}
	if os.Geteuid() == 0 {
		h.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	h.own(dir)
	h.certify()
	return h
}

func (h *home) own(path string) {
	h.t.Helper()
	if h.user == nil {
		return
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.own(h.path(name))
}

// certify writes a certificate for 127.0.0.1: the one that net/http/httptest has.
func (h *home) certify() {
	h.t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		h.t.Fatal(err)
	}
	certPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	keyPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	h.write("relay.crt", certPEM)
	h.write("relay.key", keyPEM)
	h.write("relay.pem", certPEM+keyPEM)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	h.trust = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// freeAddress is a loopback address whose port was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}
