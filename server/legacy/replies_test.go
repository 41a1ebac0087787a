package legacy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/wsconn"
)

// L.7: the relay's own words, byte for byte.

const required = `{"type":"relay_status","code":"RUNTIME_TARGET_REQUIRED",` +
	`"message":"Runtime client must specify a runtime target","workspaceId":"w","retryable":false}`

const scopeOnly = `{"type":"relay_status","code":"SESSION_EVENTS_SCOPE_ONLY",` +
	`"message":"session-events scoped clients can only subscribe to authorized session event channels","workspaceId":"w"}`

func denied(kind, id string) string {
	return `{"type":"viewport.` + kind + `_denied/v1","channel":"agent-session:` + id +
		`","reason":"CHANNEL_NOT_AUTHORIZED","workspaceId":"w"}`
}

func TestTheRelaysRepliesAreTodaysByteForByte(t *testing.T) {
	t.Parallel()
	r := start(t)
	invalid := invalidFrame + `"w"}`
	runtime := clientOf("w")
	for name, c := range map[string]struct {
		claims       devplatform.Claims
		sent, answer string
	}{
		"no JSON":                    {runtime, "hello", invalid},
		"an empty message":           {runtime, "", invalid},
		"an array":                   {runtime, "[" + initFrame("r") + "]", invalid},
		"null":                       {runtime, "null", invalid},
		"two objects":                {runtime, initFrame("r") + initFrame("r"), invalid},
		"an unknown type":            {runtime, `{"type":"hello"}`, invalid},
		"a daemon's frame":           {runtime, responseFrame("r", "s"), invalid},
		"a client asks for rotation": {runtime, updateFrame("s", 2), invalid},
		"a worker's request":         {runtime, workerRequest("r", "GET", "/api/runtime/workspaces/w", "", ""), invalid},
		"an init without its key": {
			runtime, strings.Replace(initFrame("r"), "encryptedClientStatic", "x", 1), invalid,
		},
		"a name of another case":    {runtime, strings.Replace(initFrame("r"), `"version"`, `"Version"`, 1), invalid},
		"an envelope of epoch 0":    {runtime, e2eeFrame("s", 0, 1, "eA"), invalid},
		"an envelope of sequence 0": {runtime, e2eeFrame("s", 1, 0, "eA"), invalid},
		"an empty ciphertext":       {runtime, e2eeFrame("s", 1, 1, ""), invalid},
		"no daemon: an init":        {runtime, initFrame("r"), unavailable("w", home, "")},
		"no daemon: an envelope":    {runtime, e2eeFrame("s", 1, 1, "eA"), unavailable("w", home, "")},
		"no daemon, and a machine":  {clientOf("w", machine("m-1")), initFrame("r"), unavailable("w", home, "m-1")},
		"no daemon: pairing":        {pairingOf("w"), offerRequest("r"), unavailable("w", home, "")},
		"no target":                 {pairingOf("w", at("")), offerRequest("r"), required},
		"no target: a redeem":       {pairingOf("w", at("")), redeemRequest("r"), required},
		"no target: junk":           {pairingOf("w", at("")), "junk", invalid},
		"a viewer's init":           {viewerOf("w", "ann", "s1"), initFrame("r"), scopeOnly},
		"a viewer's envelope":       {viewerOf("w", "ann", "s1"), e2eeFrame("s", 1, 1, "eA"), scopeOnly},
		"a viewer's pairing":        {viewerOf("w", "ann", "s1"), offerRequest("r"), scopeOnly},
		"a viewer's junk":           {viewerOf("w", "ann", "s1"), "junk", invalid},
		"subscribe":                 {viewerOf("w", "ann", "s1"), subscribeFrame("s1", 41), subscribed("s1", 41)},
		"subscribe without a sequence": {
			viewerOf("w", "ann", "s1"), strings.Replace(subscribeFrame("s1", 0), `,"afterSequence":0`, "", 1),
			subscribed("s1", 0),
		},
		"subscribe, blanks behind": {
			viewerOf("w", "ann", "s1"), subscribeFrame(`s1 \t\u00a0`, 2), subscribed("s1", 2),
		},
		"subscribe, a blank in front": {
			viewerOf("w", "ann", "s1"), strings.Replace(subscribeFrame("s1", 2), `"agent`, `" agent`, 1), invalid,
		},
		"subscribe, escapes": {viewerOf("w", "ann", "s1"), subscribeFrame(`\u00731`, 2), subscribed("s1", 2)},
		"subscribe, not authorised": {
			viewerOf("w", "ann", "s1"), subscribeFrame("s2", 0), denied("session_events.subscribe", "s2"),
		},
		"subscribe, quoted": {
			viewerOf("w", "ann", "s1"), subscribeFrame(`\"<é>\n`, 0), denied("session_events.subscribe", `\"<é>`),
		},
		"subscribe, a sequence below 0": {viewerOf("w", "ann", "s1"), subscribeFrame("s1", -1), invalid},
		"unsubscribe": {
			viewerOf("w", "ann", "s1"), unsubscribeFrame("s1"),
			`{"type":"viewport.session_events.unsubscribed/v1","channel":"agent-session:s1"}`,
		},
		"unsubscribe, not authorised": {
			viewerOf("w", "ann", "s1"), unsubscribeFrame("s2"), denied("session_events.subscribe", "s2"),
		},
		"presence, not authorised": {
			viewerOf("w", "ann", "s1"), presenceFrame("s2", "joined", "ann"), denied("session_viewer_presence", "s2"),
		},
		"presence without an action": {viewerOf("w", "ann", "s1"), presenceFrame("s1", "dancing", "ann"), invalid},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.connect(c.claims)
			p.t = t
			p.send(c.sent)
			p.want(c.answer)
			p.quiet("w")
		})
	}
}

func TestAPeerThatBreaksARuleIsToldWhichByTodaysCloseFrame(t *testing.T) {
	t.Parallel()
	r := start(t)
	pskInit := strings.Replace(psk(initFrame("r")), "}", `,"pairingPeerId":"p"}`, 1)
	for name, c := range map[string]struct {
		claims devplatform.Claims
		sent   string
		reason string
	}{
		"session events at runtime": {clientOf("w"), subscribeFrame("s1", 0), "session-events scope required"},
		"presence at runtime": {
			clientOf("w"), presenceFrame("s1", "joined", "x"), "session-events scope required",
		},
		"session events while pairing": {pairingOf("w"), unsubscribeFrame("s1"), "session-events scope required"},
		"an init while pairing":        {pairingOf("w"), initFrame("r"), "pairing scope only"},
		"an envelope while pairing":    {pairingOf("w"), e2eeFrame("s", 1, 1, "eA"), "pairing scope only"},
		"pairing at runtime":           {clientOf("w"), offerRequest("r"), "runtime scope only"},
		"a weaker init": {
			clientOf("w", profile("noise-ikpsk2")), initFrame("r"), "client frame profile mismatch",
		},
		"a stronger init": {clientOf("w"), pskInit, "client frame profile mismatch"},
		"a weaker envelope": {
			clientOf("w", profile("noise-ikpsk2")), e2eeFrame("s", 1, 1, "eA"), "client frame profile mismatch",
		},
		"a workspace that wants keys": {
			clientOf("w", policyMode("crypto_pairing"), without("e2eeProfile")), initFrame("r"), "client frame profile mismatch",
		},
		"a daemon's weaker answer": {
			daemonOf("w", profile("noise-ikpsk2")), responseFrame("r", "s"), "daemon frame profile mismatch",
		},
		"a daemon's weaker envelope": {
			daemonOf("w", profile("noise-ikpsk2")), e2eeFrame("s", 1, 1, "eA"), "daemon frame profile mismatch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.connect(c.claims)
			p.t = t
			p.send(c.sent)
			p.wantClose(4008, c.reason)
			// Whoever stood where it was finds the place free.
			again := r.connect(c.claims)
			again.leave()
		})
	}
	// A daemon's profile is the least it may use.
	daemon, client := r.connect(daemonOf("v")), r.connect(clientOf("v", profile("noise-ikpsk2")))
	client.send(pskInit)
	daemon.want(pskInit)
	daemon.send(psk(responseFrame("r", "s")))
	client.want(psk(responseFrame("r", "s")))
	// A token without a profile allows each.
	free := r.connect(clientOf("v", without("e2eeProfile")))
	free.send(initFrame("r1"), strings.Replace(pskInit, `"r"`, `"r2"`, 1))
	daemon.want(initFrame("r1"), strings.Replace(pskInit, `"r"`, `"r2"`, 1))
}

func TestAClientThatSendsTooMuchIsToldWhatOf(t *testing.T) {
	t.Parallel()
	const most = 5
	r := start(t, clientPerMinute(most))
	daemon := r.connect(daemonOf("w"))
	viewer := r.viewer("w", "bob", "s1")
	for name, c := range map[string]struct {
		claims devplatform.Claims
		frame  func(n int) string
		to     *peer
		reason string
	}{
		"key exchange": {
			clientOf("w"), func(n int) string { return initFrame(fmt.Sprint("r", n)) }, daemon,
			"key exchange rate limit exceeded",
		},
		"runtime": {
			clientOf("w"), func(n int) string { return e2eeFrame("s", 1, n+1, "eA") }, nil, "runtime rate limit exceeded",
		},
		"pairing": {
			pairingOf("w"), func(n int) string { return offerRequest(fmt.Sprint("p", n)) }, daemon,
			"pairing rate limit exceeded",
		},
		"presence": {
			viewerOf("w", "ann", "s1"), func(int) string { return presenceFrame("s1", "heartbeat", "ann") }, viewer,
			"presence rate limit exceeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.connect(c.claims)
			p.t = t
			for n := range most {
				p.send(c.frame(n))
				if c.to != nil {
					c.to.want(c.frame(n))
				}
			}
			for range 100 {
				p.send("junk") // has no rate
				p.want(invalidFrame + `"w"}`)
			}
			p.send(c.frame(most))
			p.wantClose(4008, c.reason)
		})
	}
	viewer.want(leftFrame("s1", "ann"))
	// Who connects again gains nothing, and another client has its own.
	same := r.connect(clientOf("w", clientID("the-same")))
	for n := range most {
		same.send(e2eeFrame("s", 1, n+1, "eA"))
	}
	same.quiet("w")
	same.leave()
	again := r.connect(clientOf("w", clientID("the-same")))
	again.send(e2eeFrame("s", 1, 1, "eA"))
	again.wantClose(4008, "runtime rate limit exceeded")
	open(r.connect(clientOf("w", clientID("another"))), daemon, "another").exchange()
}

func TestAProtocolErrorHasItsCode(t *testing.T) {
	t.Parallel()
	r := start(t)
	for name, c := range map[string]struct {
		code int
		send func(p *peer)
	}{
		"no UTF-8": {wsconn.CodeNotUTF8, func(p *peer) { p.send("\xc3(") }},
		"too long": {wsconn.CodeTooLarge, func(p *peer) { p.send(strings.Repeat(" ", longest+1)) }},
		"no opcode": {
			wsconn.CodeProtocol, func(p *peer) { _, _ = p.conn.NetConn().Write([]byte{0x83, 0x80, 0, 0, 0, 0}) },
		},
		"not masked": {wsconn.CodeProtocol, func(p *peer) { _, _ = p.conn.NetConn().Write([]byte{0x81, 0x01, 'x'}) }},
		"a closing word": {
			wsconn.CodeNormal, func(p *peer) { _, _ = p.conn.NetConn().Write([]byte{0x88, 0x82, 0, 0, 0, 0, 3, 0xe8}) },
		},
	} {
		for _, claims := range []devplatform.Claims{daemonOf(strings.ReplaceAll(name, " ", "")), clientOf("w")} {
			p := r.connect(claims)
			c.send(p)
			closed, ok := errors.AsType[*wsconn.CloseError](p.wantEnd())
			if !ok || closed.Code != c.code || c.code == wsconn.CodeTooLarge && closed.Reason != "frame too large" {
				t.Errorf("%s: got %v, want the code %d", name, p.err, c.code)
			}
		}
	}
}
