package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// wantLimit checks that err is of this reason and names the limit and its value.
func wantLimit(t *testing.T, err error, code codes.Code, reason, limit string, value int) {
	t.Helper()
	retry := wantReason(t, err, code, reason)
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			if m := info.GetMetadata(); m["limit"] != limit || m["value"] != strconv.Itoa(value) {
				t.Errorf("got limit %q of %q, want %s of %d", m["limit"], m["value"], limit, value)
			}
		}
	}
	if wait := retry.GetRetryDelay().AsDuration() > 0; wait != (code == codes.ResourceExhausted) {
		t.Errorf("got a retry_after: %v, want one of what time mends only", wait)
	}
}

// wantLimitMetrics checks what /metrics say of a limit that has refused something.
func (r *relay) wantLimitMetrics(limit string, value int) {
	r.t.Helper()
	if got := r.limitMetric("relay_limit", limit); got != float64(value) {
		r.t.Errorf("relay_limit of %s: got %v, want %d", limit, got, value)
	}
	if got := r.limitMetric("relay_limit_refusals_total", limit); got < 1 {
		r.t.Errorf("relay_limit_refusals_total of %s: got %v, want 1 or more", limit, got)
	}
}

// limitMetric is one metric of a limit as it is now.
func (r *relay) limitMetric(name, limit string) float64 {
	r.t.Helper()
	_, body := get(r.t, "http://"+r.AdminAddr().String()+"/metrics", nil, "Bearer "+adminToken)
	m := regexp.MustCompile(`(?m)^` + name + `\{limit="` + limit + `"\} (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		r.t.Fatalf("/metrics has no %s of %s", name, limit)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// end receives until the stream ends and returns why.
func (p *peer) end() error {
	for {
		if _, err := p.next(); err != nil {
			return err
		}
	}
}

// at is request for another target.
func (r *relay) at(workspace, target string) *peer {
	r.t.Helper()
	return r.open(false, metadata.Pairs("viewport-workspace-id", workspace, "viewport-runtime-target-id", target,
		"authorization", "Bearer "+token(r.t, devplatform.Claims{
			Role: devplatform.RoleClient, WorkspaceID: workspace, RuntimeTargetID: target,
		})))
}

func TestALimitOnStreamsRefusesWithItsNameAndValueAndOtherTenantsGoOn(t *testing.T) {
	const crowded = "crowded"
	client, daemon := endpoint{workspace: crowded}, endpoint{workspace: crowded, daemon: true}
	full := func(r *relay, e endpoint) error {
		r.connect(client)
		return r.request(e).end()
	}
	sending := func(r *relay, batch ...*relayv1.Envelope) error {
		p := r.connect(client)
		p.send(batch...)
		return p.end()
	}
	heartbeats := func(n int) (batch []*relayv1.Envelope) {
		for range n {
			batch = append(batch, &relayv1.Envelope{Type: typeHeartbeat})
		}
		return batch
	}
	large := func(n int) *relayv1.Envelope {
		e := newSession(9).data(2)
		e.Ciphertext = make([]byte, n)
		return e
	}
	const capacity, tooLarge = codes.ResourceExhausted, codes.InvalidArgument
	// Two links of another tenant are there before, from the same address.
	for limit, c := range map[string]struct {
		limits server.Limits
		value  int
		code   codes.Code
		meet   func(*relay) error
	}{
		"links":             {server.Limits{Links: 3}, 3, capacity, func(r *relay) error { return full(r, client) }},
		"links-per-address": {server.Limits{LinksPerAddress: 3}, 3, capacity, func(r *relay) error { return full(r, client) }},
		"links-per-workspace": {server.Limits{LinksPerWorkspace: 2}, 2, capacity, func(r *relay) error {
			r.connect(client)
			return full(r, daemon)
		}},
		"links-per-target": {server.Limits{LinksPerTarget: 2}, 2, capacity, func(r *relay) error {
			err := full(r, client)
			r.connect(daemon) // its place is kept
			return err
		}},
		"targets-per-workspace": {server.Limits{TargetsPerWorkspace: 1}, 1, capacity, func(r *relay) error {
			r.connect(client)
			return r.at(crowded, "another").end()
		}},
		"header-bytes": {server.Limits{HeaderBytes: 20 << 10}, 20 << 10, tooLarge, func(r *relay) error {
			return r.request(endpoint{workspace: crowded, extra: []string{"x", strings.Repeat("x", 20<<10)}}).end()
		}},
		"frames-per-batch": {server.Limits{FramesPerBatch: 20}, 20, tooLarge, func(r *relay) error {
			r.connect(client).send(heartbeats(20)...)
			return sending(r, heartbeats(21)...)
		}},
		"max-envelope": {server.Limits{MaxEnvelope: 1 << 20}, 1 << 20, tooLarge, func(r *relay) error {
			return sending(r, large(1<<20))
		}},
		"max-batch": {server.Limits{}, 64 << 10, tooLarge, func(r *relay) error {
			return sending(r, large(40<<10), large(40<<10))
		}},
		"watches": {server.Limits{Watches: 1}, 1, capacity, func(r *relay) error {
			health := healthv1.NewHealthClient(r.dial())
			var err error
			for range 2 {
				var watch healthv1.Health_WatchClient
				if watch, err = health.Watch(patient(r.t), &healthv1.HealthCheckRequest{}); err == nil {
					_, err = watch.Recv()
				}
			}
			return err
		}},
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(cfg *server.Config) { cfg.Limits = c.limits })
			otherDaemon, otherClient, s := r.pair("other")
			want := map[codes.Code]string{capacity: "CAPACITY", tooLarge: "FRAME_TOO_LARGE"}[c.code]
			wantLimit(t, c.meet(r), c.code, want, limit, c.value)
			otherClient.send(s.data(2))
			otherDaemon.want(typeData, 2)
			r.wantLimitMetrics(limit, c.value)
		})
	}
}

func TestAPlaceThatWasGivenBackIsTakenAgain(t *testing.T) {
	r := start(t, func(c *server.Config) {
		c.Limits.Links, c.Limits.LinksPerAddress, c.Limits.LinksPerWorkspace, c.Limits.TargetsPerWorkspace = 1, 1, 1, 1
	})
	for i := range 20 {
		// Refused or admitted, each gives back what it took.
		for _, open := range []func() *peer{
			func() *peer { return r.open(false, metadata.MD{}) },
			func() *peer { return r.at("again", fmt.Sprint("target-", i)) },
		} {
			p := open()
			for header, err := p.stream.Header(); err == nil && len(header.Get("viewport-protocol")) == 0; {
				_, err = p.stream.Recv()
			}
			p.cancel()
			_ = p.end()
			awaitFree(r)
		}
	}
}

// awaitFree waits until no link is counted.
func awaitFree(r *relay) {
	r.t.Helper()
	for ctx := patient(r.t); r.Taken() > 0; {
		select {
		case <-ctx.Done():
			r.t.Fatalf("%d links are still counted", r.Taken())
		case <-time.After(time.Millisecond):
		}
	}
}

// stuckPlatform answers no validate call before the end; asked is told of each.
func stuckPlatform(t *testing.T) (url string, asked chan struct{}) {
	asked, release := make(chan struct{}, 1000), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	return s.URL, asked
}

func TestStrangersTakeNoMoreThanTheAdmissionsUnderWay(t *testing.T) {
	for limit, limits := range map[string]server.Limits{
		"admissions": {Admissions: 2}, "admissions-per-address": {AdmissionsPerAddress: 2},
	} {
		t.Run(limit, func(t *testing.T) {
			url, asked := stuckPlatform(t)
			r := start(t, func(c *server.Config) { c.ValidateURL, c.Limits, c.ValidateTimeout = url, limits, patience })
			var waiting []*peer
			for range 2 {
				waiting = append(waiting, r.request(endpoint{workspace: "strangers"}))
				<-asked
			}
			wantLimit(t, r.request(endpoint{workspace: "strangers"}).end(), codes.ResourceExhausted, "CAPACITY", limit, 2)
			if len(asked) != 0 {
				t.Error("the platform was asked about a stream that was refused")
			}
			r.wantLimitMetrics(limit, 2)
			for _, p := range waiting {
				p.cancel()
			}
			awaitFree(r)
		})
	}
}

func TestALimitOnSessionsRefusesThatSessionWithItsNameAndValue(t *testing.T) {
	for limit, c := range map[string]struct {
		limits server.Limits
		value  int
		reason string
	}{
		"sessions-per-link":     {server.Limits{SessionsPerClient: 3}, 3, "CAPACITY"},
		"sessions-per-target":   {server.Limits{SessionsPerTarget: 3}, 3, "CAPACITY"},
		"handshakes-per-second": {server.Limits{HandshakesPerSecond: 1, HandshakeBurst: 3}, 1, "RATE_LIMITED"},
		"link-queue-bytes":      {server.Limits{LinkBytes: 100_000, HandshakesPerSecond: server.Unlimited}, 100_000, "CAPACITY"},
		"queue-bytes":           {server.Limits{ProcessBytes: 200_000, HandshakesPerSecond: server.Unlimited}, 200_000, "CAPACITY"},
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(cfg *server.Config) { cfg.Limits = c.limits })
			otherDaemon, otherClient, others := r.pair("other")
			_, client, s := r.pair("crowded") // its daemon receives no more
			refused := make(chan *relayv1.Status, 1)
			go func() {
				defer close(refused)
				for {
					e, err := client.next()
					if err != nil {
						return
					}
					if code := e.GetStatus().GetCode(); code == "CAPACITY" || code == "RATE_LIMITED" {
						refused <- e.GetStatus()
						return
					}
				}
			}()
			var told *relayv1.Status
			for i := 0; told == nil; i++ {
				// One that goes on from where it is, whatever was dropped before.
				data := s.data(uint64(2 + i))
				data.Resend, data.Ciphertext = true, make([]byte, 8<<10)
				client.send(data, newSession(byte(2+i%250)).init())
				select {
				case told = <-refused:
					if told == nil {
						t.Fatal("the link ended")
					}
				default:
				}
			}
			text := fmt.Sprintf("limit %s of %d ", limit, c.value)
			if told.GetCode() != c.reason || !strings.Contains(told.GetMessage(), text) || !told.GetRetryable() ||
				told.GetRetryAfter().AsDuration() <= 0 {
				t.Errorf("got %v, want %s with %q and a retry_after", told, c.reason, text)
			}
			otherClient.send(others.data(2))
			otherDaemon.want(typeData, 2)
			r.wantLimitMetrics(limit, c.value)
		})
	}
}

func TestASilentConnectionIsClosedAfterItsTimeOrWhenTooManyArePending(t *testing.T) {
	silent := func(r *relay) net.Conn {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	closed := func(conn net.Conn) {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %d bytes, %v, want the end of the connection", n, err)
		}
	}
	t.Run("pending-connections", func(t *testing.T) {
		r := start(t, func(c *server.Config) { c.Limits.PendingConnections = 1 })
		first := silent(r)
		silent(r)
		closed(first)
		r.wantLimitMetrics("pending-connections", 1)
	})
	t.Run("connect-time", func(t *testing.T) {
		r := start(t, func(c *server.Config) { c.Limits.ConnectTime = time.Second })
		closed(silent(r))
		r.wantLimitMetrics("connect-time", 1)
	})
	t.Run("idle-time", func(t *testing.T) {
		r := start(t, func(c *server.Config) { c.Limits.IdleTime = 20 * time.Millisecond })
		conn := silent(r)
		// The preface and empty SETTINGS, and then nothing.
		if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		const goAway = 7
		for {
			var header [9]byte
			if _, err := io.ReadFull(conn, header[:]); err != nil {
				t.Fatalf("got %v before GOAWAY", err)
			}
			size := binary.BigEndian.Uint32(append([]byte{0}, header[:3]...))
			var payload bytes.Buffer
			if _, err := io.CopyN(&payload, conn, int64(size)); err != nil {
				t.Fatal(err)
			}
			if header[3] == goAway {
				if !strings.Contains(payload.String(), "max_idle") {
					t.Errorf("got GOAWAY %q, want max_idle", payload.String())
				}
				return
			}
		}
	})
}

func TestHundredsWhoComeAtOnceGetExactlyAsManyPlacesAsThereAre(t *testing.T) {
	const comers, places = 300, 40
	for limit, limits := range map[string]server.Limits{
		"links":               {Links: places},
		"links-per-address":   {LinksPerAddress: places},
		"links-per-workspace": {LinksPerWorkspace: places},
		"links-per-target":    {LinksPerTarget: places + 1},
	} {
		t.Run(limit, func(t *testing.T) {
			limits.AdmissionsPerAddress = comers
			r := start(t, func(c *server.Config) { c.Limits, c.ValidateTimeout = limits, patience })
			var running sync.WaitGroup
			var in, out, others atomic.Int64
			conns := []relayv1.RelayServiceClient{}
			for range 4 {
				conns = append(conns, relayv1.NewRelayServiceClient(r.dial()))
			}
			md := metadata.Pairs("authorization", "Bearer "+endpoint{workspace: "rush"}.token(t),
				"viewport-workspace-id", "rush", "viewport-runtime-target-id", target)
			ctx, leave := context.WithCancel(metadata.NewOutgoingContext(patient(t), md))
			defer leave()
			for i := range comers {
				running.Go(func() {
					stream, err := conns[i%len(conns)].ConnectClient(ctx)
					if err == nil {
						var header metadata.MD
						if header, err = stream.Header(); err == nil && len(header.Get("viewport-protocol")) > 0 {
							in.Add(1)
							return
						}
						_, err = stream.Recv()
					}
					if strings.Contains(err.Error(), "limit "+limit+" of ") {
						out.Add(1)
					} else {
						others.Add(1)
						t.Errorf("got %v, want the limit %s", err, limit)
					}
				})
			}
			running.Wait()
			if in.Load() != places || out.Load() != comers-places {
				t.Errorf("got %d in, %d refused, %d else, want %d and %d", in.Load(), out.Load(), others.Load(), places,
					comers-places)
			}
			leave()
			awaitFree(r)
		})
	}
}
