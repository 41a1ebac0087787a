package listen

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

func TestOneTLSPortServesGRPCAndHTTP(t *testing.T) {
	serverTLS, clientTLS := loadTLS(t)
	p := open(t, Options{TLS: serverTLS})
	got, err := p.call(t, credentials.NewTLS(clientTLS))
	if want := "tls h2 PrivacyAndIntegrity"; err != nil || got != want {
		t.Errorf("a gRPC call: got %q, %v, want %q", got, err, want)
	}
	// The transport offers h2 and http/1.1, as curl and browsers do.
	if got, want := p.get(t, clientTLS.Clone()), "HTTP/1.1 tls=true"; got != want {
		t.Errorf("an HTTP request that offers h2 as well: got %q, want %q", got, want)
	}
}

func TestALPNDecidesWhatATLSConnectionSpeaks(t *testing.T) {
	serverTLS, clientTLS := loadTLS(t)
	p := open(t, Options{TLS: serverTLS})
	for name, test := range map[string]struct {
		offer   []string
		version uint16
		want    string // what the server answers to the HTTP/1.1 request, in its first bytes
		fails   bool
	}{
		"h2":                   {offer: []string{"h2"}, want: "\x00\x00"}, // a SETTINGS frame
		"http/1.1":             {offer: []string{"http/1.1"}, want: "HT"},
		"nothing":              {want: "HT"},
		"both":                 {offer: []string{"h2", "http/1.1"}, want: "HT"},
		"with one more":        {offer: []string{"grpc-exp", "h2"}, want: "\x00\x00"},
		"only another":         {offer: []string{"spdy/3"}, fails: true},
		"TLS 1.2":              {offer: []string{"h2"}, version: tls.VersionTLS12, want: "\x00\x00"},
		"TLS 1.1 is too old":   {offer: []string{"h2"}, version: tls.VersionTLS11, fails: true},
		"TLS 1.3 when offered": {offer: []string{"http/1.1"}, version: tls.VersionTLS13, want: "HT"},
	} {
		t.Run(name, func(t *testing.T) {
			config := clientTLS.Clone()
			config.NextProtos = test.offer
			config.MaxVersion = test.version
			if test.version != 0 {
				config.MinVersion = test.version
			}
			conn := tls.Client(p.dial(t), config)
			if err := conn.Handshake(); err != nil {
				if !test.fails {
					t.Fatalf("handshake: %v", err)
				}
				return
			}
			if test.fails {
				t.Fatal("the handshake went well, want a failure")
			}
			if v := conn.ConnectionState().Version; test.version == 0 && v != tls.VersionTLS13 {
				t.Errorf("got TLS version %x, want 1.3", v)
			}
			text := "GET / HTTP/1.1\r\nHost: relay\r\n\r\n"
			if test.want != "HT" {
				text = preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
			}
			send(t, conn, text)
			got := make([]byte, 2)
			if _, err := conn.Read(got); err != nil || string(got) != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestPlainHTTPOnATLSPortIsToldSo(t *testing.T) {
	serverTLS, _ := loadTLS(t)
	p := open(t, Options{TLS: serverTLS})
	conn := p.dial(t)
	send(t, conn, "GET /health HTTP/1.1\r\nHost: relay\r\n\r\n")
	if got := closedByPeer(t, conn); !strings.HasPrefix(got, "HTTP/1.0 400") || !strings.Contains(got, "use https") {
		t.Errorf("got %q, want a 400 that says to use https", got)
	}
	if _, err := p.call(t, insecure.NewCredentials()); err == nil {
		t.Error("a plain gRPC call went well on a TLS port")
	}
	// The call ends when it reads the answer, before the port counts its connection; this one is waited for.
	conn = p.dial(t)
	send(t, conn, preface)
	if got := closedByPeer(t, conn); !strings.HasPrefix(got, "HTTP/1.0 400") {
		t.Errorf("got %q, want a 400", got)
	}
	if s := p.mux.Stats(); s.Foreign < 2 {
		t.Errorf("got %+v, want both counted as foreign", s)
	}
}

func TestAFailedHandshakeIsCountedAndDisturbsNobody(t *testing.T) {
	serverTLS, clientTLS := loadTLS(t)
	p := open(t, Options{TLS: serverTLS})
	conn := tls.Client(p.dial(t), &tls.Config{ServerName: "127.0.0.1"}) // trusts nothing of it
	if err := conn.Handshake(); err == nil {
		t.Fatal("a certificate that nobody trusts was accepted")
	}
	if got, err := p.call(t, credentials.NewTLS(clientTLS)); err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestACertificateThatDoesNotLoadNamesItsFiles(t *testing.T) {
	certFile, keyFile, _ := certificate(t)
	_, otherKey, _ := certificate(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for name, test := range map[string]struct{ cert, key, want string }{
		"missing certificate": {missing, keyFile, "no such file"},
		"missing key":         {certFile, missing, "no such file"},
		"empty":               {empty, keyFile, "failed to find any PEM data"},
		"swapped":             {keyFile, certFile, "private key"},
		"another's key":       {certFile, otherKey, "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadTLS(test.cert, test.key)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range []string{test.want, test.cert, test.key} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
		})
	}
}

func TestTheCredentialsDoNotDial(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close(); _ = b.Close() }()
	_ = a.SetDeadline(time.Now().Add(patience))
	if _, _, err := Credentials().Clone().ClientHandshake(t.Context(), "relay", a); err == nil {
		t.Error("got no error")
	}
}
