package client

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// front is an HTTP/1.1 server: gRPC does not get through, and a WebSocket gets its answer.
type front struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []string // "grpc" and "websocket", in order
	answer http.HandlerFunc
}

func newFront(t *testing.T) *front {
	f := &front{answer: refuse(reason.Capacity)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Method == "PRI" {
			f.seen = append(f.seen, overGRPC)
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		f.seen = append(f.seen, overWebSocket)
		f.answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// took returns what was tried since it was called last.
func (f *front) took() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.seen = nil }()
	return strings.Join(f.seen, " ")
}

func refuse(code reason.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		info, _ := reason.Lookup(code)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(info.HTTP)
		_, _ = w.Write([]byte(`{"ok":false,"reason":"` + string(code) + `"}`))
	}
}

func answer(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func newTestDialer(t *testing.T, relay string, log *bytes.Buffer) *dialer {
	t.Helper()
	cfg := &Config{
		Relay: relay, Workspace: "acme", Target: "laptop", Token: StaticToken("x"),
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	return &dialer{cfg: cfg, method: "ConnectClient"}
}

// fails connects and returns why it failed.
func (d *dialer) fails(t *testing.T) *Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := d.connect(ctx, 1)
	if err == nil {
		t.Fatal("it connects")
	}
	return linkError(err)
}

func TestAWebSocketThatGotThroughIsUsedForTenMinutesAndThenGRPCIsTriedAgain(t *testing.T) {
	f := newFront(t)
	var log bytes.Buffer
	d := newTestDialer(t, f.URL, &log)
	for _, step := range []struct {
		what   string
		answer http.HandlerFunc
		age    time.Duration
		want   string
	}{
		{"at first", refuse(reason.Capacity), 0, "grpc websocket"},
		{"then", refuse(reason.Capacity), 0, "websocket"},
		{"while what is behind a gateway is away", answer(http.StatusBadGateway), 0, "websocket"},
		{"when it is back", refuse(reason.Capacity), 9 * time.Minute, "websocket"},
		{"after ten minutes", refuse(reason.Capacity), 2 * time.Minute, "grpc websocket"},
		{"after that", refuse(reason.Capacity), 0, "websocket"},
		{"where there is no relay", answer(http.StatusNotFound), 0, "websocket"},
		{"on another network", refuse(reason.Capacity), 0, "grpc websocket"},
	} {
		f.answer = step.answer
		d.fellBack = d.fellBack.Add(-step.age)
		why := d.fails(t)
		if got := f.took(); got != step.want {
			t.Fatalf("%s: tried %q, want %q (%v)", step.what, got, step.want, why)
		}
	}
	if n := strings.Count(log.String(), "using WebSocket"); n != 1 {
		t.Errorf("it says %d times that it fell back, want once:\n%s", n, log.String())
	}
}

func TestARefusalBeforeTheWebSocketIsTheRelaysOwnError(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, strings.Replace(f.URL, "http", "ws", 1), new(bytes.Buffer))
	for _, code := range reason.All() {
		if info, _ := reason.Lookup(code); info.HTTP == 0 || code == reason.FrameInvalid || code == reason.TokenMissing {
			continue
		}
		f.answer = refuse(code)
		why := d.fails(t)
		if why.Reason != Reason(code) || why.By != "relay" || why.RetryAfter != 7*time.Second ||
			why.Text != reason.New(code, "").Message() {
			t.Errorf("%s: got %+v", code, why)
		}
	}
	if strings.Contains(f.took(), overGRPC) {
		t.Error("gRPC was tried at a ws:// address")
	}
}

func TestARequestThatWasChangedOnTheWayIsTriedAgainAndNoRefusal(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, strings.Replace(f.URL, "http", "ws", 1), new(bytes.Buffer))
	d.cfg.Token = StaticToken("one.that.fits")
	for _, code := range []reason.Code{reason.FrameInvalid, reason.TokenMissing} {
		f.answer = refuse(code)
		if why := d.fails(t); why.Reason != LinkLost || why.By != "link" || !strings.Contains(why.Text, string(code)) {
			t.Errorf("%s: got %v", code, why)
		}
	}
	d.cfg.Token = StaticToken(strings.Repeat("x", 5000))
	if why := d.fails(t); why.Reason != LinkLost || !strings.Contains(why.Text, "4,096") {
		t.Errorf("with a token that is too long: got %v", why)
	}
	d.cfg.Token = StaticToken("")
	if why := d.fails(t); why.Reason != Reason(reason.TokenMissing) || why.By != "relay" {
		t.Errorf("without a token: got %v", why)
	}
}

func TestATokenThatDoesNotFitAmongTheSubprotocolsGoesInAHeader(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, strings.Replace(f.URL, "http", "ws", 1), new(bytes.Buffer))
	var got http.Header
	f.answer = func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		answer(http.StatusTeapot)(w, r)
	}
	long := strings.Repeat("x", 5000)
	for _, token := range []string{"short", "a, viewport.other", "with a blank", "ä.is.no.JWT", long} {
		d.cfg.Token = StaticToken(token)
		d.fails(t)
		if got.Get("Sec-WebSocket-Protocol") != "viewport.relay.v1" || got.Get("Authorization") != "Bearer "+token {
			t.Errorf("%.20q: got %v", token, got)
		}
	}
	d.cfg.Token = StaticToken("injected.token\r\nX-Other: 1")
	if d.fails(t); got.Get("X-Other") != "" {
		t.Errorf("a token makes a header of its own: %v", got)
	}
}

func TestWhereNothingListensNoWebSocketIsTried(t *testing.T) {
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	d := newTestDialer(t, "http://"+in.Addr().String(), new(bytes.Buffer))
	if why := d.fails(t); why.Reason != LinkLost || strings.Contains(why.Text, "WebSocket") {
		t.Errorf("got %v", why)
	}
}

func TestNeitherTransportIsTriedWithATokenInItsAddress(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, f.URL, new(bytes.Buffer))
	d.cfg.Token = StaticToken("secret.secret.secret")
	d.cfg.Version = "acme 1.2"
	var got *http.Request
	f.answer = func(w http.ResponseWriter, r *http.Request) {
		got = r
		answer(http.StatusTeapot)(w, r)
	}
	if why := d.fails(t); strings.Contains(why.Error(), "secret") {
		t.Errorf("the error tells the token: %v", why)
	}
	want := "/ws?role=client&runtimeTargetId=laptop&workspaceId=acme"
	if got.URL.String() != want ||
		got.Header.Get("Sec-WebSocket-Protocol") != "viewport.relay.v1, auth.secret.secret.secret" ||
		got.Header.Get("Viewport-Version") != "acme 1.2" || got.Header.Get("Viewport-Connect-Attempt") != "1" {
		t.Errorf("got %s with %v, want %s", got.URL, got.Header, want)
	}
}
