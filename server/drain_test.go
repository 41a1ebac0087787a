package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

func TestARelayThatGoesAwayServesItsLinksUntilTheyHaveLeftAndItsPortIsFreeForAnother(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.DrainTime = time.Hour })
	daemon, client, s := r.pair("drained")
	keptAlive := dialTCP(t, r.addr)
	askReadiness(t, keptAlive, http.StatusOK)
	r.shutdown()
	for _, p := range []*peer{daemon, client} {
		retry := p.wantStatus("DRAINING", "").GetRetryAfter().AsDuration()
		if retry <= 0 || retry > 30*time.Minute {
			t.Errorf("got retry_after %v, want one within the first half of the drain time", retry)
		}
	}
	askReadiness(t, keptAlive, http.StatusServiceUnavailable)
	admin, ctx := r.admin()
	if st, err := admin.GetStatus(ctx, &relayv1.GetStatusRequest{}); err != nil || st.GetReady() || st.GetNotReadyReason() == "" {
		t.Errorf("GetStatus: got %v, %v, want not ready and why", st, err)
	}
	successor := start(t, func(c *server.Config) { c.Listen = r.addr })
	p := successor.connect(endpoint{workspace: "drained"})
	if id := p.header.Get("viewport-relay-id"); id[0] == client.header.Get("viewport-relay-id")[0] {
		t.Error("a new link came to the relay that goes away")
	}
	// They were told, and have not gone: everything still works for them.
	client.send(s.data(2))
	daemon.want(typeData, 2)
	_ = daemon.stream.CloseSend()
	client.wantStatus("DRAINING", "")
	client.wantStatus("PEER_UNAVAILABLE", "")
	_ = client.stream.CloseSend()
	r.stop()
	if log := r.log.String(); !strings.Contains(log, "msg=drained links=2 left=2 ended=0") {
		t.Errorf("got %s, want a line that says that both have left", log)
	}
}

func TestWhatHasNoLinkDoesNotHoldUpARelayThatGoesAway(t *testing.T) {
	t.Parallel()
	change, trust := secured(t)
	for scheme, secure := range map[string]func(*server.Config){"http": nil, "https": change} {
		t.Run(scheme, func(t *testing.T) {
			r := start(t, func(c *server.Config) {
				c.DrainTime, c.Limits.ConnectTime, c.Limits.IdleTime = time.Hour, time.Hour, time.Hour
				if secure != nil {
					secure(c)
				}
			})
			begun := func() net.Conn { return dialTCP(t, r.addr) }
			if secure != nil {
				r.tls = trust
				begun = func() net.Conn { return dialTLS(t, r.addr, trust) }
			}
			silent := dialTCP(t, r.addr)
			half := begun()
			if _, err := io.WriteString(half, http2.ClientPreface); err != nil { // SETTINGS do not follow
				t.Fatal(err)
			}
			health := healthv1.NewHealthClient(r.dial())
			if _, err := health.Check(patient(t), &healthv1.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
			watch, err := healthv1.NewHealthClient(r.dial()).Watch(patient(t), &healthv1.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if st, err := watch.Recv(); err != nil || st.GetStatus() != healthv1.HealthCheckResponse_SERVING {
				t.Fatalf("got %v, %v, want SERVING", st, err)
			}
			r.shutdown()
			if st, err := watch.Recv(); err != nil || st.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
				t.Errorf("got %v, %v, want NOT_SERVING", st, err)
			}
			select {
			case err := <-r.stopped:
				r.stopped <- err
			case <-time.After(patience):
				t.Fatal("the relay still runs")
			}
			for name, conn := range map[string]net.Conn{"that says nothing": silent, "that says half": half} {
				if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("a connection %s: %v, want its end", name, err)
				}
			}
		})
	}
}

func TestWhoeverKeepsConnectionsIsToldToOpenNoMoreLinksOnTheOldOnesWhichLive(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.DrainTime = time.Hour })
	link := r.connect(endpoint{workspace: "kept"}) // keeps the relay
	conn := dialTCP(t, r.addr)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	var headers bytes.Buffer
	encoder := hpack.NewEncoder(&headers)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "relay"},
		{Name: ":path", Value: healthv1.Health_Watch_FullMethodName}, {Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	} {
		if err := encoder.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, make([]byte, 5))) // an empty message
	if err != nil {
		t.Fatal(err)
	}
	answered := false
	for goAway := false; !goAway; {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			if !answered {
				answered = true
				r.shutdown()
			}
		case *http2.GoAwayFrame:
			if goAway = true; f.ErrCode != http2.ErrCodeNo || f.LastStreamID < 1 {
				t.Errorf("got %v, want one that spares the stream", f)
			}
		case *http2.RSTStreamFrame:
			t.Fatalf("got %v, want the stream to live", f)
		}
	}
	if r.Taken() == 0 {
		t.Error("it came only after the last link had left")
	}
	_ = conn.Close()
	_ = link.stream.CloseSend()
	r.stop()
}

// dialTCP opens a connection to a plain port.
func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// dialTLS opens one to a TLS port, for HTTP/2.
func dialTLS(t *testing.T, addr string, trust *tls.Config) net.Conn {
	t.Helper()
	trust = trust.Clone()
	trust.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", addr, trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// askReadiness asks on a connection that is kept alive.
func askReadiness(t *testing.T, conn net.Conn, want int) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: relay\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != want {
		t.Errorf("/readyz: got %d, %v, want %d", answer.StatusCode, err, want)
	}
}
