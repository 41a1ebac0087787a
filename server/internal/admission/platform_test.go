package admission

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// platform is a real HTTP server, over connections that live in memory so that synctest can see them wait.
type platform struct {
	jwks, validate answers
	fetches, asks  atomic.Int64
	elsewhere      atomic.Int64 // requests to any other path
	last           atomic.Pointer[asked]

	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	refuse atomic.Bool // refuse connections
}

// answers is a handler that can be replaced while requests come.
type answers struct{ current atomic.Value }

func (a *answers) set(h http.HandlerFunc) { a.current.Store(h) }

func (a *answers) give(w http.ResponseWriter, r *http.Request) {
	a.current.Load().(http.HandlerFunc)(w, r)
}

// asked is a validate call as it came.
type asked struct{ method, key, contentType, body string }

func (p *platform) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *platform) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *platform) Addr() net.Addr { return &net.TCPAddr{} }

func (p *platform) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if p.refuse.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/jwks":
		p.fetches.Add(1)
		p.jwks.give(w, r)
	case "/validate":
		p.asks.Add(1)
		b, _ := io.ReadAll(r.Body)
		p.last.Store(&asked{r.Method, r.Header.Get("x-relay-internal-key"), r.Header.Get("content-type"), string(b)})
		p.validate.give(w, r)
	default:
		p.elsewhere.Add(1)
	}
}

// both is a Config that asks for keys and then validates.
func both() Config {
	return Config{JWKSURL: "http://platform/jwks", ValidateURL: "http://platform/validate", InternalKey: "internal"}
}

func keysOnly() Config { return Config{JWKSURL: "http://platform/jwks"} }

func validateOnly() Config { return Config{ValidateURL: "http://platform/validate"} }

// inBubble runs f beside a platform and an Admitter whose first fetch has ended, on synctest's clock.
func inBubble(t *testing.T, cfg Config, prepare func(*platform), f func(*testing.T, *platform, *Admitter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &platform{conns: make(chan net.Conn), closed: make(chan struct{})}
		p.jwks.set(body(200, document(rsaOne(), ecOne(), edOne())))
		p.validate.set(body(200, `{"ok":false}`))
		if prepare != nil {
			prepare(p)
		}
		server := &http.Server{Handler: p, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(p) })
		transport := &http.Transport{DialContext: p.dial}
		cfg.HTTP = &http.Client{Transport: transport}
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		running.Go(func() { ended <- a.Run(ctx) })
		synctest.Wait()
		f(t, p, a)
		began := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(began) != 0 {
			t.Errorf("Run: got %v %v after its context's end, want nil at once", err, time.Since(began))
		}
		transport.CloseIdleConnections()
		_ = server.Close()
		running.Wait()
	})
}

// body answers the same to everybody.
func body(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// values is a JSON object to be.
type values = map[string]any

// signer is a key of the platform.
type signer struct {
	id      string
	method  jwt.SigningMethod
	private crypto.Signer
}

func newSigner(id string, method jwt.SigningMethod, private crypto.Signer, err error) signer {
	if err != nil {
		panic(err)
	}
	return signer{id, method, private}
}

var (
	rsaOne = sync.OnceValue(func() signer {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		return newSigner("rsa-1", jwt.SigningMethodRS256, k, err)
	})
	rsaTwo = sync.OnceValue(func() signer {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		return newSigner("rsa-2", jwt.SigningMethodRS256, k, err)
	})
	ecOne = sync.OnceValue(func() signer {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return newSigner("ec-1", jwt.SigningMethodES256, k, err)
	})
	edOne = sync.OnceValue(func() signer {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return newSigner("ed-1", jwt.SigningMethodEdDSA, k, err)
	})
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public half as the platform publishes it.
func (s signer) jwk() values {
	m := values{"kid": s.id, "use": "sig", "alg": s.method.Alg()}
	switch p := s.private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", p.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(p)
	}
	return m
}

// with is the key's JWK with members changed; nil takes one out.
func (s signer) with(changes values) values { return changed(s.jwk(), changes) }

func changed(m, changes values) values {
	m = maps.Clone(m)
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

func document(signers ...signer) string {
	list := []any{}
	for _, s := range signers {
		list = append(list, s.jwk())
	}
	return text(values{"keys": list})
}

// sign makes a token of any two texts.
func (s signer) sign(header, claims string) string {
	head := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, err := s.method.Sign(head, s.private)
	if err != nil {
		panic(err)
	}
	return head + "." + b64(sig)
}

func (s signer) header() string {
	return text(values{"alg": s.method.Alg(), "kid": s.id, "typ": "JWT"})
}

// mint is a good client token, with claims changed.
func (s signer) mint(changes values) string { return s.sign(s.header(), text(good(changes))) }

// good are the claims of a good client token, changed.
func good(changes values) values {
	now := time.Now().Unix()
	return changed(values{
		"iss": "viewport-server", "aud": "viewport-relay", "jti": "t1", "iat": now, "exp": now + 600,
		"workspaceId": "acme", "runtimeTargetId": "host-1", "role": "client", "scope": "runtime",
	}, changes)
}

// goodAnswer is the platform's answer to a good client token.
func goodAnswer(changes values) string {
	return text(values{"ok": true, "claims": good(changes)})
}

func asClient(token string) Request {
	return Request{Token: token, Role: RoleClient, Workspace: "acme", Target: "host-1"}
}

func asDaemon(token string) Request {
	return Request{Token: token, Role: RoleDaemon, Workspace: "acme", Target: "host-1"}
}

// code is the reason of err; empty if there is none. Every error of Admit is a *reason.Error.
func code(t *testing.T, err error) reason.Code {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*reason.Error](err)
	if !ok {
		t.Fatalf("got an error of type %T, want *reason.Error", err)
	}
	if e.Code == reason.PlatformUnavailable && e.RetryAfter < time.Second {
		t.Errorf("PLATFORM_UNAVAILABLE: got retry_after %v, want at least 1s", e.RetryAfter)
	}
	return e.Code
}

func wantCode(t *testing.T, a *Admitter, r Request, want reason.Code) {
	t.Helper()
	_, err := a.Admit(t.Context(), r)
	if got := code(t, err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}
