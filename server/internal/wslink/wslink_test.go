package wslink

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/legacyrate"
	"github.com/getviewport/relay/server/internal/quota"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends tests that would hang; nothing is asserted about it.
const patience = 30 * time.Second

// fixture is a Service behind a real server, with a dialect of the test's own. All must be given back at the end.
type fixture struct {
	*Service
	t       *testing.T
	url     string
	refused atomic.Int64
}

// serve starts a Service. d is what an upgrade speaks, whoever asks; nil: nothing but the native protocol.
func serve(t *testing.T, d func() Dialect, changes ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t}
	c := Config{
		Hub: hub.New(route.Limits{Heartbeat: time.Hour}, envelope.Limits{MaxEnvelope: 1 << 16, MaxBatch: 1 << 16}), Quotas: quota.New(quota.Limits{}),
		MessageBytes: 1 << 20, Rates: legacyrate.New(legacyrate.Limits{}), Log: slog.New(slog.DiscardHandler),
		Refused: func(*reason.Error) { f.refused.Add(1) }, Ended: func(*reason.Error) {},
	}
	for _, change := range changes {
		change(&c)
	}
	f.Service = New(c)
	if d != nil {
		f.legacy = func(context.Context, *upgrade) (admission.Request, hub.Info, Dialect, error) {
			x := d()
			return admission.Request{}, hub.Info{Workspace: "w", Target: "t", Peer: route.Peer{Role: route.Client}}, x, nil
		}
	}
	server := httptest.NewServer(f)
	f.url = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		server.Close()
		f.Wait()
		f.Hub.Drain(context.Background(), 0)
		f.Hub.Wait()
		if !f.Quotas.Empty() || len(f.Hub.Links()) > 0 {
			t.Errorf("%+v of the quotas and %d links are left", f.Quotas.Used(), len(f.Hub.Links()))
		}
	})
	return f
}

// dial upgrades with a token and these subprotocols.
func (f *fixture) dial(protocols ...string) (*wsconn.Conn, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := &wsconn.Dialer{Protocols: append(protocols, relayws.TokenEntry("0123456789"))}
	return d.Dial(ctx, f.url+"/ws?role=client&workspaceId=w", wsconn.Config{Limit: 1 << 20})
}

func newEcho() *echo { return &echo{native{messageBytes: 1 << 20}} }

// echo answers each message, and panics at some.
type echo struct{ native }

func (e *echo) Greet(c *wsconn.Conn, dst []byte) []byte {
	return c.AppendMessage(dst, wsconn.Text, []byte("hello"))
}

func (e *echo) Receive(l *hub.Link, _ wsconn.Kind, msg []byte) *reason.Error {
	switch string(msg) {
	case "read":
		panic("reading")
	case "bad":
		return reason.New(reason.FrameInvalid, "bad")
	}
	l.Deliver(msg)
	return nil
}

func (e *echo) Send(c *wsconn.Conn, dst []byte, o *envelope.Outgoing) []byte {
	b := o.AppendTo(nil)
	if strings.Contains(string(b), "write") {
		panic("writing")
	}
	return c.AppendMessage(dst, wsconn.Binary, b)
}

func TestAPanicEndsTheLinkThatItIsInAndNoOther(t *testing.T) {
	f := serve(t, func() Dialect { return newEcho() })
	open := func() *wsconn.Conn {
		c, _, err := f.dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Abort)
		if _, msg, err := c.ReadMessage(nil); err != nil || string(msg) != "hello" {
			t.Fatalf("got %q, %v", msg, err)
		}
		return c
	}
	say := func(c *wsconn.Conn, text string) (string, error) {
		if err := c.Send(c.AppendMessage(nil, wsconn.Binary, []byte(text))); err != nil {
			t.Fatal(err)
		}
		_, msg, err := c.ReadMessage(nil)
		return string(msg), err
	}
	lives := open()
	for text, want := range map[string]reason.Code{"read": reason.Internal, "write": reason.Internal, "bad": reason.FrameInvalid} {
		_, err := say(open(), text)
		e, ok := errors.AsType[*wsconn.CloseError](err)
		if !ok || e.Code != relayws.CodeEnded || relayws.ParseEnd(e.Reason).Code != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	if got, err := say(lives, "still there"); err != nil || !strings.Contains(got, "still there") {
		t.Errorf("the other link: got %q, %v", got, err)
	}
}

func TestAPanicDuringAnUpgradeIsAnsweredAndGivesEverythingBack(t *testing.T) {
	f := serve(t, func() Dialect { panic("admitting") })
	_, _, err := f.dial()
	if e, ok := errors.AsType[*wsconn.DialError](err); !ok || e.Status != 500 || !strings.Contains(string(e.Body), "INTERNAL") {
		t.Errorf("got %v, want 500", err)
	}
	if f.refused.Load() != 1 {
		t.Error("it was not counted")
	}
}

func TestATokenIsEchoedOnlyWhereNothingElseWasOffered(t *testing.T) {
	f := serve(t, func() Dialect { return newEcho() })
	for offer, want := range map[string]string{"chat": "chat", "": relayws.TokenEntry("0123456789")} {
		var offers []string
		if offer != "" {
			offers = append(offers, offer)
		}
		c, got, err := f.dial(offers...)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("offering %q and a token: got %q, want %q", offer, got, want)
		}
		c.Abort()
	}
}

func TestTooManyUpgradesOfAnAddressAreToldWhenToComeBack(t *testing.T) {
	f := serve(t, func() Dialect { return newEcho() }, func(c *Config) {
		c.Rates = legacyrate.New(legacyrate.Limits{Upgrade: legacyrate.Limit{PerMinute: 1, Keys: 8}})
	})
	c, _, err := f.dial()
	if err != nil {
		t.Fatal(err)
	}
	c.Abort()
	_, _, err = f.dial()
	e, ok := errors.AsType[*wsconn.DialError](err)
	if !ok || e.Status != 429 || e.Header.Get("Retry-After") == "" || string(e.Body) != `{"ok":false,"reason":"RATE_LIMITED"}` {
		t.Errorf("got %v, want 429 and when", err)
	}
}

func TestThatAPeerLeavesGivesItsPlaceBackHoweverItLeaves(t *testing.T) {
	for name, leave := range map[string]func(*wsconn.Conn){
		"a close frame": func(c *wsconn.Conn) { c.End(wsconn.CodeNormal, "") },
		"end of stream": (*wsconn.Conn).Abort,
		"a reset": func(c *wsconn.Conn) {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			c.Abort()
		},
		"a fault": func(c *wsconn.Conn) { _, _ = c.NetConn().Write([]byte{0xff, 0x80, 0, 0, 0, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, func() Dialect { return newEcho() })
			c, _, err := f.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			leave(c)
			for !f.Quotas.Empty() {
				runtime.Gosched() // there is nothing to be told by
			}
		})
	}
}

func TestTheAddressIsTheRightMostThatNoTrustedProxyHas(t *testing.T) {
	s := &Service{Config: Config{TrustedProxies: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
	}}}
	for _, c := range []struct{ socket, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "198.51.100.1", "192.0.2.1"}, // not trusted
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"[::ffff:10.0.0.1]:1", "198.51.100.1", "198.51.100.1"},
		{"[fd00::1]:1", "2001:db8::1", "2001:db8::1"},
		{"10.0.0.1:1", "1.1.1.1, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1, 10.0.0.2,10.0.0.3", "198.51.100.1"},
		{"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"10.0.0.1:1", "198.51.100.1\n10.0.0.2", "198.51.100.1"}, // two headers
		{"10.0.0.1:1", "198.51.100.1:4711", "198.51.100.1"},
		{"10.0.0.1:1", "[2001:db8::1]:4711", "2001:db8::1"},
		{"10.0.0.1:1", "[2001:db8::1]", "2001:db8::1"},
		{"10.0.0.1:1", "unknown", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1:1", ",,,", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1,", "10.0.0.1"},
		{"10.0.0.1:1", "::ffff:198.51.100.1", "198.51.100.1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/ws", nil)
		r.RemoteAddr = c.socket
		for line := range strings.SplitSeq(c.forwarded, "\n") {
			if line != "" {
				r.Header.Add("X-Forwarded-For", line)
			}
		}
		if got, _ := s.client(r); got.String() != c.want {
			t.Errorf("from %s for %q: got %v, want %s", c.socket, c.forwarded, got, c.want)
		}
	}
}

func FuzzAForwardedAddressIsNeverBelievedFromAStranger(f *testing.F) {
	f.Add("192.0.2.1:1", "10.0.0.1, [::1]:80")
	f.Add("10.0.0.1:1", "[fe80::1%eth0], ,x")
	s := &Service{Config: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	f.Fuzz(func(t *testing.T, socket, forwarded string) {
		r := &http.Request{RemoteAddr: socket, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got, source := s.client(r)
		a, err := netip.ParseAddrPort(socket)
		if err == nil && !s.trusts(a.Addr().Unmap()) && (got != a.Addr().Unmap() || source != socket) {
			t.Errorf("a stranger at %q is believed to be %v", socket, got)
		}
		if got.Zone() != "" && forwarded == "" && !strings.Contains(socket, got.Zone()) {
			t.Errorf("got %v of nowhere", got)
		}
	})
}
