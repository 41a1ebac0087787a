package secrets_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

func TestNothingThatTheRelaySaysHoldsATokenAPersonAKeyOrPlaintext(t *testing.T) {
	p := startPlatform(t)
	r := launch(t, p, []string{
		// gRPC's own log at its most talkative, and the longest dump that a crash has.
		"GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99", "GOTRACEBACK=system",
	})
	c := newCanaries(t, r.addr)
	c.session().end(c)
	told := c.refusals(r, p)
	told += c.strangers(r)
	// The second one is running when operators look, and when the relay crashes.
	c.client.PairingID = nil
	l := c.session()
	defer l.leave()
	admin := c.operators(r)
	if n := len(c.endToEnd.find([]byte(admin))); n == 0 && !strings.Contains(admin, workspace) {
		t.Error("the admin answers don't name the workspace: nothing was searched")
	}
	dump := r.crash()
	for _, word := range []string{`"grpc.code":"Unauthenticated"`, "goroutine ", "the platform can't validate tokens"} {
		if !bytes.Contains(dump, []byte(word)) {
			t.Errorf("the log and the dump lack %q: not all was searched", word)
		}
	}
	var operator marks
	operator.addText("the internal key", internalKey)
	operator.addText("the admin token", adminToken)
	for what, text := range map[string][]byte{
		"what peers are told": []byte(told), "the admin port": []byte(admin), "the log with the goroutine dump": dump,
	} {
		for _, m := range []*marks{&c.people, &c.tokens, &c.endToEnd, &operator} {
			m.absent(t, what, text)
		}
	}
}

// refusals has the relay refuse tokens in every way, with the platform well and in every kind of trouble, and returns
// what it said.
func (c *canaries) refusals(r *process, p *platform) (told string) {
	person := c.person("refused-user")
	who := devplatform.Claims{Role: devplatform.RoleClient}
	with := func(change func(*devplatform.Claims)) devplatform.Claims { v := who; change(&v); return v }
	good := c.token("a good token", who, person)
	tampered := good[:len(good)-40] + strings.Repeat("A", 40)
	c.mark("a token with another signature", tampered)
	long := c.people.addText("a very long name", strings.Repeat("canary-long-name-", 1200))
	tokens := map[string]string{
		"malformed": "canary-token.that-is.none", "tampered": tampered, "no dots": c.tokens.addText("no token", "canary-no-token-at-all"),
		"expired":         c.token("an expired token", with(func(c *devplatform.Claims) { c.TTL = -time.Hour }), person),
		"other workspace": c.token("another workspace's token", with(func(c *devplatform.Claims) { c.WorkspaceID = "elsewhere" }), person),
		"other target":    c.token("another target's token", with(func(c *devplatform.Claims) { c.RuntimeTargetID = "elsewhere" }), person),
		"other role":      c.token("a daemon's token", with(func(c *devplatform.Claims) { c.Role = devplatform.RoleDaemon }), person),
		"unknown role":    c.token("a token of no role", with(func(claims *devplatform.Claims) { claims.Role = c.people.addText("a role", "canary-role-of-nobody") }), person),
		"other issuer":    c.token("another issuer's token", who, person, map[string]any{"iss": c.people.addText("an issuer", "canary-issuer-of-others")}),
		"other audience":  c.token("another audience's token", who, person, map[string]any{"aud": []any{c.people.addText("an audience", "canary-audience-of-others")}}),
		"other scope":     c.token("another scope's token", who, person, map[string]any{"scope": c.people.addText("a scope", "canary-scope-of-others")}),
		"malformed claim": c.token("a token with a malformed claim", who, person, map[string]any{"installId": []any{c.people.addText("an install", "canary-install-of-others")}}),
		"malformed date":  c.token("a token with a malformed date", who, person, map[string]any{"exp": c.people.addText("a date", "canary-date-that-is-none")}),
		"too long":        c.token("a token that is too long", who, map[string]any{"name": long}),
		"revoked":         c.token("a revoked token", who, person, map[string]any{"jti": c.people.addText("a token id", "canary-token-id-revoked")}),
	}
	issuer.Revoke(devplatform.Subject{JTI: "canary-token-id-revoked"})
	ask := func(token string, more ...string) string {
		pairs := append([]string{
			"authorization", "Bearer " + token, "viewport-workspace-id", workspace, "viewport-runtime-target-id", target,
		}, more...)
		return r.stranger(false, metadata.Pairs(pairs...))
	}
	for name, token := range tokens {
		told += name + ": " + ask(token)
	}
	told += ask(good, "authorization", "Bearer "+good) // twice
	told += ask(good, "viewport-workspace-id", workspace)
	told += ask(good, "x-forwarded-user", c.people.addText("a header", "canary-user-in-a-header"))
	told += r.stranger(true, metadata.Pairs("authorization", "Basic "+good))

	// A platform in trouble says what it was asked, and more.
	text := c.people.addText("what the platform says", "canary-user-in-an-answer")
	for name, odd := range map[string]http.HandlerFunc{
		"error page": func(w http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			http.Error(w, text+string(body), http.StatusInternalServerError)
		},
		"no JSON": func(w http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			_, _ = w.Write(append([]byte(text), body...))
		},
		"reason": func(w http.ResponseWriter, q *http.Request) { _, _ = fmt.Fprintf(w, `{"ok":false,"reason":%q}`, text) },
		"error":  func(w http.ResponseWriter, q *http.Request) { _, _ = fmt.Fprintf(w, `{"ok":false,"error":%q}`, text) },
		"claims": func(w http.ResponseWriter, q *http.Request) {
			_, _ = fmt.Fprintf(w, `{"ok":true,"claims":{"role":%q}}`, text)
		},
		"type": func(w http.ResponseWriter, q *http.Request) {
			_, _ = fmt.Fprintf(w, `{"ok":true,"claims":{"role":[%q]}}`, text)
		},
		"redirect": func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "/"+text, http.StatusFound) },
		"status": func(w http.ResponseWriter, q *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 2%s\r\n\r\n", text)
				_ = conn.Close()
			}
		},
		"header": func(w http.ResponseWriter, q *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %s\r\n\r\n", text, text)
				_ = conn.Close()
			}
		},
	} {
		// A good answer in between, so that the log tells each outage.
		told += "well: " + ask(good)
		p.answer(odd, func() { told += name + ": " + ask(good) })
	}
	return told
}

// strangers sends what is no envelope of the protocol, with marks wherever bytes may stand, and what is no gRPC.
func (c *canaries) strangers(r *process) (told string) {
	token := c.token("a stranger's token", devplatform.Claims{Role: devplatform.RoleClient}, c.person("stranger"))
	md := metadata.Pairs("authorization", "Bearer "+token, "viewport-workspace-id", workspace, "viewport-runtime-target-id", target)
	text := c.endToEnd.addText("bytes of an envelope", "canary-bytes-of-an-envelope")
	bind := []byte("canary-bind-key!")
	c.endToEnd.add("a bind key", bind)
	frame := func(change func(*relayv1.Envelope)) *relayv1.Envelope {
		e := &relayv1.Envelope{
			WorkspaceId: workspace, RuntimeTargetId: target, Type: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, Sequence: 1,
			SessionId: strings.Repeat("a", 26), BindKey: bind, Profile: relayv1.Profile_PROFILE_NOISE_IKPSK2,
			Encoding: relayv1.Encoding_ENCODING_NOISE, Ciphertext: []byte(text),
		}
		change(e)
		return e
	}
	for name, change := range map[string]func(*relayv1.Envelope){
		"foreign session":  func(*relayv1.Envelope) {},
		"session id":       func(e *relayv1.Envelope) { e.SessionId = text },
		"workspace":        func(e *relayv1.Envelope) { e.WorkspaceId = text },
		"workspace's form": func(e *relayv1.Envelope) { e.WorkspaceId = text + "/\x01" },
		"target":           func(e *relayv1.Envelope) { e.RuntimeTargetId = text },
		"bind key":         func(e *relayv1.Envelope) { e.BindKey = []byte(text) },
		"status": func(e *relayv1.Envelope) {
			e.Type, e.Sequence, e.Status = relayv1.FrameType_FRAME_TYPE_STATUS, 0, &relayv1.Status{Code: text, Message: text}
		},
		"heartbeat": func(e *relayv1.Envelope) {
			e.Type, e.Sequence, e.BindKey = relayv1.FrameType_FRAME_TYPE_HEARTBEAT, 0, nil
			e.Status = &relayv1.Status{Code: text, Message: text}
		},
		"type":      func(e *relayv1.Envelope) { e.Type = 99 },
		"legacy":    func(e *relayv1.Envelope) { e.Encoding, e.SessionId = relayv1.Encoding_ENCODING_LEGACY_JSON, text },
		"unknown":   func(e *relayv1.Envelope) { e.ProtoReflect().SetUnknown([]byte("\xfa\x06\x1b" + text)) },
		"too large": func(e *relayv1.Envelope) { e.Ciphertext = bytes.Repeat([]byte(text), 3<<20/len(text)) },
	} {
		told += name + ": " + r.stranger(false, md, frame(change))
	}
	for _, bytes := range []string{
		"GET /health?token=" + token + " HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer " + token + "\r\nConnection: close\r\n\r\n",
		"GET /" + text + " HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n",
		"GET /health HTTP/1.1\r\n" + text + "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + text + text, text + "\r\n\r\n",
	} {
		told += r.raw(bytes)
	}
	if conn, err := tls.Dial("tcp", r.addr, &tls.Config{ServerName: text, InsecureSkipVerify: true}); err == nil {
		_ = conn.Close()
		c.t.Error("a plain port spoke TLS")
	}
	return told
}

// raw sends bytes and returns what comes until the relay closes the connection.
func (r *process) raw(b string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(patient(r.t), func() { _ = conn.Close() })
	defer stop()
	_, _ = io.WriteString(conn, b)
	_ = conn.(*net.TCPConn).CloseWrite()
	told, _ := io.ReadAll(conn) // it may reset the connection
	return string(told)
}

// operators returns all that the admin port tells, errors included.
func (c *canaries) operators(r *process) (told string) {
	text := c.people.addText("an operator's typing error", "canary-page-token-of-nobody!")
	admin := relayv1.NewAdminServiceClient(r.dial(r.admin))
	good := "Bearer " + adminToken
	wrong := "Bearer " + c.tokens.addText("a wrong admin token", "canary-wrong-admin-token")
	for _, authorization := range []string{good, wrong, "Basic " + text, ""} {
		ctx := metadata.AppendToOutgoingContext(patient(c.t), "authorization", authorization)
		status, err := admin.GetStatus(ctx, &relayv1.GetStatusRequest{})
		told += messageOr(status, err)
		for _, page := range []string{"", text} {
			targets, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{PageToken: page})
			told += messageOr(targets, err)
			links, err := admin.ListConnections(ctx, &relayv1.ListConnectionsRequest{PageToken: page})
			told += messageOr(links, err)
		}
		// The answers show the operator's own words; what is said elsewhere does not.
		for _, reason := range []string{text, text + "\n"} {
			_, err := admin.RevokePairing(ctx, &relayv1.RevokePairingRequest{
				WorkspaceId: "elsewhere", Pairing: &relayv1.RevokePairingRequest_TokenId{TokenId: "t"}, Reason: reason,
			})
			told += messageOr(nil, err)
		}
		revocations, err := admin.ListRevocations(ctx, &relayv1.ListRevocationsRequest{WorkspaceId: text, PageToken: text})
		told += messageOr(revocations, err)
		restored, err := admin.RestorePairing(ctx, &relayv1.RestorePairingRequest{WorkspaceId: text})
		told += messageOr(restored, err)
		for _, path := range []string{"/metrics", "/" + text} {
			told += r.get("http://"+r.admin+path, "Authorization", authorization)
		}
	}
	return told
}

func messageOr(m proto.Message, err error) string {
	return prototext.Format(m) + fmt.Sprintf("%v %+v\n", err, err)
}
