package legacy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

const (
	adminToken = "the-admin-token-of-these-tests"
	// patience ends a test that would hang; nothing is asserted about time.
	patience = 30 * time.Second
	// beat is the heartbeat interval of tests that wait for pings: three of them are longer than a busy machine stalls.
	beat = 500 * time.Millisecond
)

// relay is a running relay. It ends with the test, and then nothing of it may be left.
type relay struct {
	t      *testing.T
	ctx    context.Context
	addr   string
	admin  relayv1.AdminServiceClient
	asked  string // the admin listener's address
	log    *safeBuffer
	stop   func()
	events context.Context // of the admin's calls
}

// start runs a relay that asks the platform about tokens, as today's do. Rates are off: tests of rates set their own.
func start(t *testing.T, changes ...func(*server.Config)) *relay {
	t.Helper()
	r := &relay{t: t, log: new(safeBuffer)}
	cfg := server.Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AdminTokens: []string{adminToken}, Version: "test",
		ValidateURL: platform.ValidateURL(), Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	unlimited(&cfg)
	for _, change := range changes {
		change(&cfg)
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.addr, r.asked = s.Addr().String(), s.AdminAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
		if text := r.log.String(); strings.Contains(text, "panic") || strings.Contains(text, "level=ERROR") || t.Failed() {
			t.Errorf("the end of the relay's log:\n%s", text[max(0, len(text)-8<<10):])
		}
	})
	t.Cleanup(r.stop)
	var give context.CancelFunc
	r.ctx, give = context.WithTimeout(context.Background(), patience)
	t.Cleanup(give)
	conn := r.dialGRPC(r.asked)
	r.admin, r.events = relayv1.NewAdminServiceClient(conn),
		metadata.AppendToOutgoingContext(r.ctx, "authorization", "Bearer "+adminToken)
	return r
}

func (r *relay) dialGRPC(addr string) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// status is what the relay's operator sees.
func (r *relay) status() *relayv1.GetStatusResponse {
	r.t.Helper()
	s, err := r.admin.GetStatus(r.events, &relayv1.GetStatusRequest{})
	if err != nil {
		r.t.Fatalf("GetStatus: %v", err)
	}
	return s
}

// until asks until ok, in turn with the relay.
func (r *relay) until(what string, ok func() bool) {
	r.t.Helper()
	for !ok() {
		if r.ctx.Err() != nil {
			r.t.Fatalf("%s: never", what)
		}
	}
}

// metric reads one from /metrics; 0 if it is not there.
func (r *relay) metric(name string) float64 {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "http://"+r.asked+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		r.t.Fatalf("/metrics: %s, %v", answer.Status, err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				r.t.Fatalf("/metrics: %q", line)
			}
			return n
		}
	}
	return 0
}

// used is how much of a limit is taken.
func (r *relay) used(limit string) float64 {
	r.t.Helper()
	return r.metric(fmt.Sprintf("relay_limit_used{limit=%q}", limit))
}

// empty waits until nobody holds anything.
func (r *relay) empty() {
	r.t.Helper()
	r.until("every place is given back", func() bool {
		s := r.status()
		return r.used("links") == 0 && r.used("admissions") == 0 && r.used("queue-bytes") == 0 &&
			s.GetClientLinks() == 0 && s.GetDaemonLinks() == 0
	})
}

// tcp opens a connection that ends with the test, and at the latest when patience is over.
func (r *relay) tcp() *net.TCPConn {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return nc.(*net.TCPConn)
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
