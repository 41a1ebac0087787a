package admission

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/getviewport/relay/internal/reason"
)

// certificate is one that the key has made for itself.
func (s signer) certificate() []byte {
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, s.private.Public(), s.private)
	if err != nil {
		panic(err)
	}
	return der
}

// TestNoTokenMakesTheRelayCallAnAddress that it names: two servers that would serve the attacker's key, one with TLS,
// see not even a connection, and none of the tokens is admitted by that key.
func TestNoTokenMakesTheRelayCallAnAddress(t *testing.T) {
	attacker := rsaTwo()
	var calls atomic.Int64
	trap := func(start func(*httptest.Server)) string {
		s := httptest.NewUnstartedServer(body(200, document(attacker)))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				calls.Add(1)
			}
		}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		start(s)
		t.Cleanup(s.Close)
		return s.URL
	}
	traps := []string{trap((*httptest.Server).Start), trap((*httptest.Server).StartTLS)}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, r *http.Request) {
		// A key's own references are not followed either.
		key := rsaOne().with(values{"x5u": traps[0] + "/x5u", "jku": traps[0], "x5c": []string{"AAAA"}})
		body(200, text(values{"keys": []any{key}, "jwks_uri": traps[0], "next": traps[0]}))(w, r)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	a, err := New(Config{JWKSURL: server.URL + "/jwks"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	for a.Stats().Keys == 0 && t.Context().Err() == nil {
		runtime.Gosched()
	}

	x5c := []string{base64.StdEncoding.EncodeToString(attacker.certificate())}
	for _, trap := range traps {
		for name, header := range map[string]values{
			"jku": {"jku": trap + "/jwks"}, "x5u": {"x5u": trap + "/cert"}, "x5c": {"x5c": x5c},
			"jwk": {"jwk": attacker.jwk()}, "jwk with a URL": {"jwk": values{"kty": "RSA", "x5u": trap, "jku": trap}},
			"all": {"jku": trap, "x5u": trap, "x5c": x5c, "jwk": attacker.jwk(), "x5t": "AAAA", "x5t#S256": "AAAA"},
			"iss": {"iss": trap, "jwks_uri": trap},
		} {
			t.Run(name, func(t *testing.T) {
				// Under the platform's kid, under the attacker's, under the address, and with the platform's signature.
				for kid, want := range map[string]reason.Code{
					"rsa-1": reason.TokenInvalid, "rsa-2": reason.PlatformUnavailable, trap: reason.PlatformUnavailable,
				} {
					wantCode(t, a, asClient(attacker.withHeader(changed(header, values{"kid": kid}))), want)
				}
				wantCode(t, a, asClient(rsaOne().withHeader(header)), "")
				wantCode(t, a, asClient(attacker.mint(values{"iss": trap, "jku": trap})), reason.PlatformUnavailable)
				wantCode(t, a, asClient(rsaOne().mint(values{"iss": trap})), reason.TokenInvalid)
			})
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("got %d connections to addresses that a token names, want none", n)
	}
}
