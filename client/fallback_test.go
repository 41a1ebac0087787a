package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/relaytest"
)

// notes is a log that can be read while it is written.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

// count is how often words were noted.
func (n *notes) count(words string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.text.String(), words)
}

func (n *notes) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

const fellBack = "level=WARN msg=\"gRPC could not be established; using WebSocket\""

// from is where to connect, and where to log.
func from(relay string, trust *tls.Config, n *notes) func(*client.Config) {
	return func(c *client.Config) {
		c.Relay, c.TLS = relay, trust
		if n != nil {
			c.Log = slog.New(slog.NewTextHandler(n, nil))
		}
	}
}

func dialled(f func(*client.Config)) func(*client.DialConfig) {
	return func(c *client.DialConfig) { f(&c.Config) }
}

func listening(f func(*client.Config)) func(*client.ListenConfig) {
	return func(c *client.ListenConfig) { f(&c.Config) }
}

// oldProxy is a reverse proxy in front of a relay that speaks HTTP/1.1 only.
func (e *env) oldProxy() *httptest.Server {
	to := &url.URL{Scheme: "http", Host: e.relay.Addr}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server := httptest.NewUnstartedServer(proxy)
	server.Config.ErrorLog = proxy.ErrorLog
	e.t.Cleanup(server.Close)
	return server
}

// talk opens a session and uses it both ways.
func (e *env) talk(c *client.Client) (up, down *client.Session) {
	e.t.Helper()
	up, down = e.open(c)
	for _, msg := range []string{"", "hello", string(make([]byte, up.MaxMessage()))} {
		e.send(up, msg)
		e.want(down, msg)
		e.send(down, msg)
		e.want(up, msg)
	}
	return up, down
}

func (e *env) wantTransport(end interface{ Transport() string }, want string) {
	e.t.Helper()
	if got := end.Transport(); got != want {
		e.t.Errorf("%T: the transport is %q, want %q", end, got, want)
	}
}

// fallsBack checks that both ends get through at an address where gRPC does not, over WebSocket, and say so.
func (e *env) fallsBack(relay string, trust *tls.Config) {
	e.t.Helper()
	var log notes
	l := e.listen(listening(from(relay, trust, &log)))
	c := e.dial(dialled(from(relay, trust, &log)))
	e.talk(c)
	e.wantTransport(l, "websocket")
	e.wantTransport(c, "websocket")
	if n := log.count(fellBack); n != 2 {
		e.t.Errorf("%d ends say that they fell back, want 2:\n%s", n, log.all())
	}
}

func TestBehindAProxyThatSpeaksHTTP1OnlyTheLinkIsAWebSocketAndTheLogSaysSo(t *testing.T) {
	t.Parallel()
	e := start(t)
	proxy := e.oldProxy()
	proxy.Start()
	e.fallsBack(proxy.URL, nil)
}

func TestBehindATLSTerminatorThatPassesHTTP1OnTheLinkIsAWebSocket(t *testing.T) {
	t.Parallel()
	for name, protocols := range map[string][]string{
		"it offers HTTP/1.1 only":          {"http/1.1"},
		"it knows no ALPN":                 {},
		"it speaks HTTP/2 on its own side": {"h2", "http/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			proxy := e.oldProxy()
			proxy.EnableHTTP2 = true // what is offered is in TLS
			proxy.TLS = &tls.Config{NextProtos: protocols}
			proxy.StartTLS()
			roots := x509.NewCertPool()
			roots.AddCert(proxy.Certificate())
			e.fallsBack(proxy.URL, &tls.Config{RootCAs: roots})
		})
	}
}

func TestWhereGRPCIsNeverAnsweredHalfTheTimeIsLeftForAWebSocket(t *testing.T) {
	t.Parallel()
	e := start(t)
	relay := newGate(t, e.relay.Addr, swallowed, passes).url()
	e.listen()
	var log notes
	cfg := e.relay.DialConfig(e.ends)
	from(relay, nil, &log)(&cfg.Config)
	ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	e.talk(c)
	e.wantTransport(c, "websocket")
	if log.count(fellBack) != 1 || log.count("no answer over gRPC within ") != 1 {
		t.Errorf("the log does not say what happened:\n%s", log.all())
	}
}

func TestARefusalOfTheRelayIsNoReasonToTryAWebSocket(t *testing.T) {
	t.Parallel()
	e := start(t)
	p := newPath(t, e.relay.Addr)
	cfg := e.relay.DialConfig(e.ends)
	cfg.Relay, cfg.Token = p.url(), client.StaticToken("not.a.token")
	_, err := client.Dial(e.ctx, cfg)
	e.wantReason(err, client.TokenInvalid, "relay")
	if n := len(p.accepted); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestACertificateThatIsNotTrustedIsNoReasonToTryAWebSocket(t *testing.T) {
	t.Parallel()
	e := start(t, relaytest.WithTLS())
	p := newPath(t, e.relay.Addr)
	cfg := e.relay.DialConfig(e.ends)
	cfg.Relay, cfg.TLS = strings.Replace(p.url(), "http", "https", 1), nil
	_, err := client.Dial(e.ctx, cfg)
	e.wantReason(err, client.LinkLost, "link")
	if n := len(p.accepted); n != 1 || !strings.Contains(err.Error(), "x509") {
		t.Errorf("%d connections were made, want 1: %v", n, err)
	}
}

func TestARefusalOverWebSocketIsTheSameErrorAsOverGRPC(t *testing.T) {
	t.Parallel()
	e := start(t)
	proxy := e.oldProxy()
	proxy.Start()
	for name, change := range map[string]func(*client.DialConfig){
		"no token that anybody issued": func(c *client.DialConfig) { c.Token = client.StaticToken("not.a.token") },
		"another target": func(c *client.DialConfig) {
			c.Target, c.Daemon.Target = "elsewhere", "elsewhere"
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := e.relay.DialConfig(e.ends)
			change(&cfg)
			_, want := client.Dial(e.ctx, cfg)
			cfg.Relay = proxy.URL
			_, got := client.Dial(e.ctx, cfg)
			cfg.Relay = "ws://" + e.relay.Addr
			_, direct := client.Dial(e.ctx, cfg)
			var refused *client.Error
			if !errors.As(want, &refused) || refused.By != "relay" {
				t.Fatalf("got %v over gRPC, want a refusal", want)
			}
			e.wantReason(got, refused.Reason, "relay")
			e.wantReason(direct, refused.Reason, "relay")
		})
	}
}

func TestWhatIsNoRelayIsToldSoWithWhatEachTransportMet(t *testing.T) {
	t.Parallel()
	e := start(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	cfg := e.relay.DialConfig(e.ends)
	cfg.Relay = web.URL
	_, err := client.Dial(e.ctx, cfg)
	e.wantReason(err, client.LinkLost, "link")
	if !strings.Contains(err.Error(), "nor over WebSocket") || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want what both met", err)
	}
}

func TestASessionOverWebSocketGoesOnWhenTheRelayRestarts(t *testing.T) {
	t.Parallel()
	e := start(t)
	proxy := e.oldProxy()
	proxy.Start()
	var log notes
	l := e.listen(listening(from(proxy.URL, nil, &log)))
	c := e.dial(dialled(from(proxy.URL, nil, &log)))
	up, down := e.open(c)
	flows := []*flow{e.flow(up, down), e.flow(down, up)}
	for range 3 {
		e.relay.Restart()
		e.reach(up, true)
		e.reach(down, true)
	}
	for _, f := range flows {
		f.end()
	}
	e.wantTransport(l, "websocket")
	e.wantTransport(c, "websocket")
	if n := log.count(fellBack); n != 2 {
		t.Errorf("two ends said %d times that they fell back:\n%s", n, log.all())
	}
}

func TestASessionHasOneEndOverGRPCAndTheOtherOverWebSocket(t *testing.T) {
	t.Parallel()
	for _, daemon := range []string{"grpc", "websocket"} {
		t.Run("daemon over "+daemon, func(t *testing.T) {
			e := start(t)
			e.over = daemon
			e.wantTransport(e.listen(), daemon)
			e.over = map[string]string{"grpc": "websocket", "websocket": "grpc"}[daemon]
			c := e.dial()
			e.wantTransport(c, e.over)
			e.talk(c)
		})
	}
}

func TestASessionGoesOnOverWhateverGetsThroughWhenTheNetworkChanges(t *testing.T) {
	t.Parallel()
	e := start(t)
	clients, daemons := newGate(t, e.relay.Addr, passes, passes), newGate(t, e.relay.Addr, refused, passes)
	var log notes
	l := e.listen(listening(from(daemons.url(), nil, &log)))
	c := e.dial(dialled(from(clients.url(), nil, &log)))
	up, down := e.open(c)
	flows := []*flow{e.flow(up, down), e.flow(down, up)}
	e.wantTransport(c, "grpc")
	e.wantTransport(l, "websocket")
	for _, only := range []string{"websocket", "grpc", "websocket"} {
		grpc, ws := refused, passes
		if only == "grpc" {
			grpc, ws = passes, refused
		}
		for _, g := range []*gate{clients, daemons} {
			g.change(grpc, ws)
			e.reach(up, false)
			e.reach(up, true)
		}
		e.wantTransport(c, only)
		e.wantTransport(l, only)
	}
	for _, f := range flows {
		f.end()
	}
	if log.count("gRPC gets through again") == 0 {
		t.Errorf("the log does not say that gRPC is back:\n%s", log.all())
	}
}
