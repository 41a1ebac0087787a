package devplatform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start returns a platform that listens, and a client without connections to leak.
func start(t *testing.T, config Config) (*Server, *http.Client) {
	t.Helper()
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ln); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, client
}

// ask sends a request and returns status and body; body nil means GET.
func ask(t *testing.T, client *http.Client, url string, body any, header ...string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if body != nil {
		text, ok := body.(string)
		if !ok {
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		request, err = http.NewRequest(http.MethodPost, url, strings.NewReader(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i] == "host" {
			request.Host = header[i+1]
		}
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, b
}

// other is an address that is not loopback, as far as it says.
type other struct{ net.Listener }

func (other) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 7780} }

func TestThePlatformListensOnLoopbackOnly(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(other{ln}); err == nil || !strings.Contains(err.Error(), "0.0.0.0:7780") {
		t.Errorf("got %v, want an error that names the address", err)
	}
	if err := s.Start(ln); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	if err := s.Start(ln); err == nil {
		t.Error("started twice")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if err := s.Start(ln); err == nil {
		t.Error("started after Close")
	}
	// As a handler in somebody else's server it looks at the address that the request came to.
	r := httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil)
	open, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{"192.0.2.1": 403, "127.0.0.1": 200, "::1": 200} {
		w := httptest.NewRecorder()
		local := &net.TCPAddr{IP: net.ParseIP(address), Port: 1}
		open.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local)))
		if w.Code != want {
			t.Errorf("asked by %s: got %d, want %d", address, w.Code, want)
		}
	}
}

func TestAWebPageGetsNoTokenAndRevokesNothing(t *testing.T) {
	s, client := start(t, Config{})
	for _, path := range []string{"/dev/tokens", "/dev/revoke", "/dev/restore"} {
		for _, header := range [][]string{
			{"origin", "https://example.com"}, {"host", "example.com:7780"}, {"host", "127.0.0.1.example.com"},
		} {
			if status, body := ask(t, client, s.URL()+path, `{"jti":"a"}`, header...); status != http.StatusForbidden {
				t.Errorf("%s with %v: got %d %s, want 403", path, header, status, body)
			}
		}
		for _, host := range []string{"localhost", "localhost:7780", "[::1]:7780", "[::1]", "127.0.0.1"} {
			if status, body := ask(t, client, s.URL()+path, `{"jti":"a"}`, "host", host); status != http.StatusOK {
				t.Errorf("%s with host %s: got %d %s, want 200", path, host, status, body)
			}
		}
	}
}

func TestBadRequestsAreRefusedAndToldWhy(t *testing.T) {
	s, client := start(t, Config{})
	for _, c := range []struct{ path, body string }{
		{"/dev/tokens", ""},
		{"/dev/tokens", "[]"},
		{"/dev/tokens", "{} {}"},
		{"/dev/tokens", `{"alg":"HS256"}`},
		{"/dev/tokens", `{"alg":1}`},
		{"/dev/tokens", `{"ttlSeconds":"10"}`},
		{"/dev/tokens", `{"ttlSeconds":0}`},
		{"/dev/tokens", `{"ttlSeconds":1.5}`},
		{"/dev/tokens", `{"ttlSeconds":1e300}`},
		{"/dev/tokens", `{"a":"` + strings.Repeat("a", maxBody) + `"}`},
		{"/dev/revoke", `{}`},
		{"/dev/revoke", `{"jti":""}`},
		{"/dev/revoke", `{"userId":"ann"}`},
		{"/dev/restore", `{"jti":1}`},
	} {
		status, body := ask(t, client, s.URL()+c.path, c.body)
		var got problem
		if err := json.Unmarshal(body, &got); status != http.StatusBadRequest || err != nil || got.Error == "" {
			t.Errorf("%s %.40s: got %d %s, want 400 and an error", c.path, c.body, status, body)
		}
	}
	for _, path := range []string{"/dev/tokens", "/dev/revoke", "/dev/restore", validatePath} {
		if status, _ := ask(t, client, s.URL()+path, nil); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: got %d, want 405", path, status)
		}
	}
}

func TestFaultsAreWhatTheySayAndEndWhenSwitchedOff(t *testing.T) {
	s, client := start(t, Config{})
	good := func(t *testing.T) {
		t.Helper()
		if status, _ := ask(t, client, s.JWKSURL(), nil); status != http.StatusOK {
			t.Errorf("keys: got %d, want 200", status)
		}
		if status, _ := ask(t, client, s.ValidateURL(), `{}`); status != http.StatusBadRequest {
			t.Errorf("validate: got %d, want 400", status)
		}
	}
	good(t)
	for _, e := range []struct {
		name     string
		endpoint Endpoint
		url      string
		body     any
	}{{"JWKS", JWKS, s.JWKSURL(), nil}, {"validate", Validate, s.ValidateURL(), `{"relayToken":"a"}`}} {
		t.Run(e.name+" fails", func(t *testing.T) {
			s.SetFault(e.endpoint, Fail)
			if status, _ := ask(t, client, e.url, e.body); status != http.StatusInternalServerError {
				t.Errorf("got %d, want 500", status)
			}
		})
		t.Run(e.name+" redirects", func(t *testing.T) {
			s.SetFault(e.endpoint, Redirect)
			before := s.Calls().Redirected
			ask(t, client, e.url, e.body) // follows
			if got := s.Calls().Redirected - before; got != 1 {
				t.Errorf("got %d calls where it redirects to, want 1", got)
			}
		})
		t.Run(e.name+" drips", func(t *testing.T) {
			s.SetFault(e.endpoint, Drip)
			readSpaces(t, client, e.url, e.body, 3)
		})
		t.Run(e.name+" is endless", func(t *testing.T) {
			s.SetFault(e.endpoint, Endless)
			readSpaces(t, client, e.url, e.body, 8<<20)
		})
		t.Run(e.name+" hangs", func(t *testing.T) {
			s.SetFault(e.endpoint, Hang)
			ctx, cancel := context.WithCancel(t.Context())
			before := s.Calls()
			done := make(chan error, 1)
			go func() {
				_, err := send(ctx, client, e.url, e.body)
				done <- err
			}()
			for s.Calls() == before { // until it has come
				runtime.Gosched()
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want nothing until the caller gave up", err)
			}
		})
		s.SetFault(e.endpoint, NoFault)
		good(t)
	}
}

func send(ctx context.Context, client *http.Client, url string, body any) (*http.Response, error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if text, ok := body.(string); ok {
		method, reader = http.MethodPost, strings.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}

// readSpaces reads n bytes of a body that has more.
func readSpaces(t *testing.T, client *http.Client, url string, body any, n int) {
	t.Helper()
	response, err := send(t.Context(), client, url, body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b := make([]byte, n)
	if _, err := io.ReadFull(response.Body, b); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("got %d (%v), want 200 and a body without end", response.StatusCode, err)
	}
	if len(bytes.TrimLeft(b, " ")) != 0 {
		t.Errorf("got %.20q, want spaces", b)
	}
}

func TestCloseEndsWhatHangsWithoutAnAnswerInAnyServer(t *testing.T) {
	for _, fault := range []Fault{Hang, Drip, Endless} {
		s, client := start(t, Config{})
		elsewhere := httptest.NewServer(s)
		defer elsewhere.Close()
		s.SetFault(JWKS, fault)
		done := make(chan error, 1)
		go func() {
			response, err := send(context.Background(), client, elsewhere.URL+"/.well-known/jwks.json", nil)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			done <- err
		}()
		for s.Calls().JWKS == 0 {
			runtime.Gosched()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil {
			t.Errorf("fault %d: got a whole answer, want an error", fault)
		}
	}
}

func TestCallsAreCounted(t *testing.T) {
	s, client := start(t, Config{})
	ask(t, client, s.URL()+"/.well-known/jwks.json", nil)
	ask(t, client, s.URL()+"/api/.well-known/jwks.json", nil)
	ask(t, client, s.ValidateURL(), `{}`)
	ask(t, client, s.ValidateURL(), `{}`)
	ask(t, client, s.URL()+"/dev/tokens", `{}`)
	if got, want := s.Calls(), (Calls{JWKS: 2, Validate: 2, Tokens: 1, ValidateAtOnce: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheMostValidateCallsAtOnceAreCountedUntilAReset(t *testing.T) {
	s, client := start(t, Config{})
	s.SetFault(Validate, Hang)
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() { _, _ = send(ctx, client, s.ValidateURL(), `{}`) })
	}
	for s.Calls().Validate < 3 {
		runtime.Gosched()
	}
	if got := s.Calls().ValidateAtOnce; got != 3 {
		t.Errorf("got %d at once, want 3", got)
	}
	s.ResetCalls()
	if got, want := s.Calls(), (Calls{ValidateAtOnce: 3}); got != want {
		t.Errorf("after a reset, while they are under way: got %+v, want %+v", got, want)
	}
	cancel()
	calls.Wait()
	for s.Calls().ValidateAtOnce > 0 { // the handlers end a little later than the callers
		runtime.Gosched()
		s.ResetCalls()
	}
}

func TestAValidateCallTakesAsLongAsItIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{ValidateTime: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, validatePath,
			strings.NewReader(`{"relayToken":"x","workspaceId":"w"}`)))
		if got := time.Since(began); got != time.Minute {
			t.Errorf("got %v, want a minute", got)
		}
	})
}
