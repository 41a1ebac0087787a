package server_test

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server"
)

func TestASessionDoesNotKnowWhetherItsLinksAreGRPCOrWebSocket(t *testing.T) {
	change, trust := secured(t)
	plain, secure := start(t), start(t, change)
	secure.tls = trust
	type connect func(*relay, endpoint) *peer
	for name, c := range map[string]struct {
		relay          *relay
		daemon, client connect
	}{
		"both WebSocket":     {plain, (*relay).connectWS, (*relay).connectWS},
		"a WebSocket daemon": {plain, (*relay).connectWS, (*relay).connect},
		"a WebSocket client": {plain, (*relay).connect, (*relay).connectWS},
		"by TLS":             {secure, (*relay).connectWS, (*relay).connectWS},
	} {
		t.Run(name, func(t *testing.T) {
			workspace := strings.ReplaceAll("ws-"+name, " ", "-")
			daemon := c.daemon(c.relay, endpoint{workspace: workspace, daemon: true})
			client, s := c.client(c.relay, endpoint{workspace: workspace}), newSession(1)
			handshake(client, daemon, s)
			for i := range uint64(20) {
				up, down := s.data(2+i), s.data(2+i)
				up.Ciphertext, down.Ciphertext = make([]byte, 1000*i), make([]byte, 800*i)
				client.send(up)
				daemon.send(down)
			}
			for i := range uint64(20) {
				if n := len(daemon.want(typeData, 2+i).GetCiphertext()); n != int(1000*i) {
					t.Errorf("up: got %d bytes, want %d", n, 1000*i)
				}
				if n := len(client.want(typeData, 2+i).GetCiphertext()); n != int(800*i) {
					t.Errorf("down: got %d bytes, want %d", n, 800*i)
				}
			}
			_ = daemon.stream.CloseSend()
			client.wantStatus("PEER_UNAVAILABLE", "")
		})
	}
}

func TestAnEnvelopeAsLongAsAllowedPassesWebSocket(t *testing.T) {
	r := start(t)
	daemon := r.connectWS(endpoint{workspace: "ws-long", daemon: true})
	client, s := r.connectWS(endpoint{workspace: "ws-long"}), newSession(1)
	handshake(client, daemon, s)
	long := s.data(2)
	long.Ciphertext = make([]byte, 2<<20-200)
	client.send(long)
	if n := len(daemon.want(typeData, 2).GetCiphertext()); n != len(long.Ciphertext) {
		t.Errorf("got %d bytes, want %d", n, len(long.Ciphertext))
	}
}

func TestAWebSocketIsToldTheLimitsInItsFirstMessage(t *testing.T) {
	r := start(t, func(c *server.Config) {
		c.RelayID, c.Limits.SessionWindow, c.Limits.MaxEnvelope, c.Limits.MaxMessage = "relay-1", 200_000, 70_000, 20_000
	})
	for _, daemon := range []bool{true, false} {
		header := r.connectWS(endpoint{workspace: "ws-told", daemon: daemon}).header
		for key, want := range map[string]string{
			"viewport-protocol": "1", "viewport-relay-id": "relay-1", "viewport-session-window": "200000",
			"viewport-max-envelope": "70000", "viewport-max-message": "20000", "viewport-heartbeat": "20000",
		} {
			if got := header.Get(key); len(got) != 1 || got[0] != want {
				t.Errorf("daemon %v: %s: got %q, want %q", daemon, key, got, want)
			}
		}
		if len(header) != 6 {
			t.Errorf("got %v, want nothing else", header)
		}
	}
}

func TestOperatorsSeeAWebSocketAsTheySeeAStream(t *testing.T) {
	r := start(t)
	r.connectWS(endpoint{
		workspace: "ws-seen", daemon: true, install: "i1", gen: 3,
		extra: []string{"viewport-version", "v1.2.3", "viewport-connect-attempt", "4"},
	})
	all := r.operator("ws-seen").connections(relayv1.Role_ROLE_DAEMON)
	if len(all) != 1 {
		t.Fatalf("got %v, want one connection", all)
	}
	c := all[0]
	if c.GetVersion() != "v1.2.3" || c.GetConnectAttempt() != 4 || !strings.HasPrefix(c.GetSourceAddress(), "127.0.0.1:") {
		t.Errorf("got %v", c)
	}
}

func TestASecondDaemonIsRefusedBeforeItsUpgradeAndANewerOneTakesOver(t *testing.T) {
	r := start(t)
	first := r.connectWS(endpoint{workspace: "ws-two", daemon: true, install: "i1", gen: 1})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for {
			e, err := first.next()
			if err != nil {
				return
			}
			if e.GetStatus().GetCode() == "PROBE" {
				first.send(&relayv1.Envelope{Type: typeHeartbeat})
			}
		}
	}()
	r.wantRefusal(endpoint{workspace: "ws-two", daemon: true, install: "i2", gen: 1}, 409, "DAEMON_ALREADY_CONNECTED")
	r.connectWS(endpoint{workspace: "ws-two", daemon: true, install: "i1", gen: 2})
	<-answered
	r.wantRefusal(endpoint{workspace: "ws-two", daemon: true, install: "i1", gen: 1}, 409, "STALE_GENERATION")
}

func TestAWebSocketIsToldWhyItEnds(t *testing.T) {
	ends := func(name string, meet func(t *testing.T, r *relay, p *peer), code codes.Code, reason string) {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(c *server.Config) { c.TokenGrace = time.Millisecond })
			e := endpoint{workspace: "ws-ends", daemon: true, install: "i1", gen: 1}
			if reason == "TOKEN_EXPIRED" {
				e.ttl = 3 * time.Second
			}
			p := r.connectWS(e)
			meet(t, r, p)
			p.wantEnd(code, reason)
			if reason == "FRAME_INVALID" || reason == "FRAME_TOO_LARGE" {
				awaitFree(r)
			}
		})
	}
	nothing := func(*testing.T, *relay, *peer) {}
	ends("expiry", nothing, codes.Unauthenticated, "TOKEN_EXPIRED")
	ends("takeover", func(_ *testing.T, r *relay, _ *peer) {
		r.connectWS(endpoint{workspace: "ws-ends", daemon: true, install: "i1", gen: 2})
	}, codes.Aborted, "REPLACED")
	ends("revocation", func(_ *testing.T, r *relay, _ *peer) {
		r.operator("ws-ends").revokeInstall("i1")
	}, codes.PermissionDenied, "PAIRING_REVOKED")
	ends("a text message", func(t *testing.T, _ *relay, p *peer) {
		c := p.stream.(*wsStream).conn
		if err := c.Send(c.AppendMessage(nil, wsconn.Text, []byte("{}"))); err != nil {
			t.Error(err)
		}
	}, codes.InvalidArgument, "FRAME_INVALID")
	ends("an empty message", func(t *testing.T, _ *relay, p *peer) {
		c := p.stream.(*wsStream).conn
		if err := c.Send(c.AppendMessage(nil, wsconn.Binary, nil)); err != nil {
			t.Error(err)
		}
	}, codes.InvalidArgument, "FRAME_INVALID")
	ends("another workspace", func(_ *testing.T, _ *relay, p *peer) {
		p.send(&relayv1.Envelope{Type: typeHeartbeat, WorkspaceId: "other"})
	}, codes.PermissionDenied, "ENVELOPE_MISMATCH")
	ends("a long batch", func(_ *testing.T, _ *relay, p *peer) {
		many := slices.Repeat([]*relayv1.Envelope{{Type: typeHeartbeat}}, 3000)
		p.send(many...)
	}, codes.InvalidArgument, "FRAME_TOO_LARGE")
}

func TestAMessageAboveTheLimitEndsItsWebSocketAndIsCounted(t *testing.T) {
	r := start(t)
	p := r.connectWS(endpoint{workspace: "ws-huge"})
	c := p.stream.(*wsStream).conn
	// The header is enough. (The rest would meet a connection that is closed.)
	if err := c.Send(c.AppendHeader(nil, wsconn.Binary, 4<<20+1)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := p.next(); err != nil {
			if e, ok := err.(*wsconn.CloseError); !ok || e.Code != wsconn.CodeTooLarge {
				t.Errorf("got %v, want code 1009", err)
			}
			break
		}
	}
	for r.limitMetric("relay_limit_refusals_total", "message-bytes") == 0 {
		runtime.Gosched() // it is counted right after its last word
	}
	r.wantLimitMetrics("message-bytes", 4<<20)
}

func TestEnvelopesInFrontOfABadOneStillCountOverWebSocket(t *testing.T) {
	r := start(t)
	daemon := r.connectWS(endpoint{workspace: "ws-front", daemon: true})
	client, s := r.connectWS(endpoint{workspace: "ws-front"}), newSession(1)
	handshake(client, daemon, s)
	client.send(s.data(2), &relayv1.Envelope{Type: typeStatus})
	client.wantEnd(codes.InvalidArgument, "FRAME_INVALID")
	daemon.want(typeData, 2)
}

func TestASilentWebSocketIsDeadAndOneThatAnswersLives(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Heartbeat = beat })
	silent := r.connectWS(endpoint{workspace: "ws-silent"})
	silent.wantEnd(codes.Unavailable, "LINK_DEAD")
	lives := r.connectWS(endpoint{workspace: "ws-lives"})
	for range 8 { // more than three intervals
		if e, err := lives.next(); err != nil || e.GetType() != typeHeartbeat {
			t.Fatalf("got %v, %v, want a heartbeat", e, err)
		}
		lives.send(&relayv1.Envelope{Type: typeHeartbeat})
	}
}

func TestAWebSocketIsRecheckedAndEndsWhenThePlatformRevokesIt(t *testing.T) {
	t.Parallel()
	p := ownPlatform(t)
	r := start(t, often(p))
	client := r.connectWS(endpoint{workspace: "ws-recheck", install: "gone", from: p})
	p.Revoke(devplatform.Subject{InstallID: "gone"})
	client.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
}

func TestARelayThatGoesAwayTellsItsWebSockets(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.DrainTime = time.Hour })
	leaves := r.connectWS(endpoint{workspace: "ws-drain", daemon: true})
	r.shutdown()
	if retry := leaves.wantStatus("DRAINING", "").GetRetryAfter().AsDuration(); retry <= 0 {
		t.Errorf("got retry_after %v", retry)
	}
	_ = leaves.stream.CloseSend()
	r.stop()
	if log := r.log.String(); !strings.Contains(log, "msg=drained links=1 left=1 ended=0") {
		t.Errorf("got %s, want a line that says that it has left", log)
	}

	r = start(t) // no time to leave
	var stay []*peer
	for i := range 20 {
		stay = append(stay, r.connectWS(endpoint{workspace: "ws-drain-" + strconv.Itoa(i)}))
	}
	r.shutdown()
	for _, p := range stay {
		if retry := p.wantEnd(codes.Unavailable, "DRAINING"); retry.GetRetryDelay().AsDuration() <= 0 {
			t.Error("got no retry_after")
		}
	}
	r.stop()
}

func TestRunEndsWhileAnUpgradeWaitsForThePlatform(t *testing.T) {
	url, asked := stuckPlatform(t)
	r := start(t, func(c *server.Config) { c.ValidateURL, c.ValidateTimeout = url, patience })
	refused := make(chan error, 1)
	go func() {
		_, err := r.dialWS(patient(t), endpoint{workspace: "ws-waits"})
		refused <- err
	}()
	<-asked
	r.stop()
	if err := <-refused; err == nil {
		t.Error("the upgrade went through")
	}
}

func TestAWebSocketThatDoesNotReadHoldsUpNobodyElse(t *testing.T) {
	r := start(t)
	daemon := r.connectWS(endpoint{workspace: "ws-slow", daemon: true})
	client, s := r.connectWS(endpoint{workspace: "ws-slow"}), newSession(1)
	handshake(client, daemon, s)
	other, o := r.connectWS(endpoint{workspace: "ws-slow"}), newSession(2)
	handshake(other, daemon, o)
	// The client reads no more. What is too much for its socket and its queue is dropped, and the daemon is told.
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range uint64(600) {
			e := s.data(2 + i)
			e.Ciphertext = make([]byte, 16_000)
			daemon.send(e)
		}
	}()
	daemon.wantStatus("SEQUENCE_GAP", s.id)
	<-sent
	daemon.send(o.data(2))
	other.want(typeData, 2)
	// A link that is ended while its sender waits for it is gone soon, and its place with it.
	before := r.Taken()
	r.operator("ws-slow").revoke(&relayv1.RevokePairingRequest{
		Pairing: &relayv1.RevokePairingRequest_RuntimeTargetId{RuntimeTargetId: target}, Reason: "test",
	})
	other.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	awaitFree(r)
	if before != 3 {
		t.Errorf("%d links were counted, want 3", before)
	}
}

func TestManyWebSocketsAtOnceGetExactlyAsManyPlacesAsThereAre(t *testing.T) {
	const comers, places = 200, 40
	for limit, limits := range map[string]server.Limits{
		"links":               {Links: places},
		"links-per-address":   {LinksPerAddress: places},
		"links-per-workspace": {LinksPerWorkspace: places},
		"links-per-target":    {LinksPerTarget: places + 1},
	} {
		t.Run(limit, func(t *testing.T) {
			limits.AdmissionsPerAddress = comers
			r := start(t, func(c *server.Config) { c.Limits, c.ValidateTimeout = limits, patience })
			outcome := make(chan string, comers)
			for range comers {
				go func() {
					_, err := r.dialWS(patient(t), endpoint{workspace: "ws-rush"})
					outcome <- wsOutcome(err)
				}()
			}
			got := map[string]int{}
			for range comers {
				got[<-outcome]++
			}
			if want := map[string]int{"in": places, "503 CAPACITY 5": comers - places}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// wsOutcome is what became of an upgrade.
func wsOutcome(err error) string {
	if err == nil {
		return "in"
	}
	e, ok := err.(*wsconn.DialError)
	if !ok {
		return err.Error()
	}
	code := strings.TrimSuffix(strings.TrimPrefix(string(e.Body), `{"ok":false,"reason":"`), `"}`)
	return strings.TrimSpace(fmt.Sprint(e.Status, " ", code, " ", e.Header.Get("Retry-After")))
}
