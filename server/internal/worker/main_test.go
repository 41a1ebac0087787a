package worker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/internal/legacywire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ownPath = "/api/runtime/workspaces/ws/managed-executors/e1"
	secret  = "cafe-credential"
)

// answer is a reply as a worker reads it.
type answer struct {
	Type      string
	RequestID string
	Status    int
	Headers   map[string]string
	Body      string
}

func parse(t *testing.T, text []byte) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(text, &a); err != nil || a.Type != "viewport.worker_transport.response/v1" {
		t.Fatalf("the reply is %q (%v), want a worker's response", text, err)
	}
	return a
}

// platform is a platform whose requests are counted.
type platform struct {
	*httptest.Server
	asked atomic.Int64
}

func startPlatform(t *testing.T, h http.HandlerFunc) *platform {
	t.Helper()
	p := &platform{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// forwarder returns one that asks address, with cfg's other fields.
func forwarder(t *testing.T, address string, cfg Config) *Forwarder {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Platform = u
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// ask waits for the reply to r, whose request id is "r-1".
func ask(t *testing.T, l *Link, r legacywire.Request) answer {
	t.Helper()
	return parse(t, <-start(t.Context(), l, r))
}

// start has r answered; the reply comes over the channel.
func start(ctx context.Context, l *Link, r legacywire.Request) <-chan []byte {
	replies := make(chan []byte, 1)
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Path == "" {
		r.Path = ownPath
	}
	l.Go(ctx, []byte("r-1"), &r, func(text []byte) { replies <- text })
	return replies
}

// wantRefusal checks that a reply is the relay's own.
func wantRefusal(t *testing.T, a answer, status int, reason string) {
	t.Helper()
	if a.Status != status || a.Body != `{"ok":false,"reason":"`+reason+`"}` || len(a.Headers) != 1 ||
		a.Headers["content-type"] != "application/json" || a.RequestID != "r-1" {
		t.Errorf("got %+v, want %d %s", a, status, reason)
	}
}

const (
	pathDenied = "WORKER_TRANSPORT_PATH_DENIED"
	failed     = "WORKER_TRANSPORT_FORWARD_FAILED"
	busy       = "WORKER_TRANSPORT_BUSY"
)
