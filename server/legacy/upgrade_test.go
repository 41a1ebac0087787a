package legacy_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server"
)

// L.1: the upgrade.

func TestAnUpgradesQueryNamesRoleWorkspaceAndAtMostATarget(t *testing.T) {
	t.Parallel()
	r := start(t)
	long := strings.Repeat("w", 128)
	const w = "w.1_2:3-A"
	plain := tokenOf(t, clientOf(w))
	for name, c := range map[string]struct {
		query, token string
		status       int
	}{
		"as clients write it":      {"role=client&workspaceId=" + w + "&runtimeTargetId=" + home, plain, 101},
		"without the target":       {"role=client&workspaceId=" + w, plain, 101},
		"in another order":         {"runtimeTargetId=" + home + "&workspaceId=" + w + "&role=client", plain, 101},
		"with others between":      {"x&role=client&y=1&workspaceId=" + w + "&&token=", plain, 101},
		"percent-encoded":          {"r%6fle=%63lient&workspaceId=w%2E1_2%3a3-A", plain, 101},
		"of several the first":     {"role=client&workspaceId=" + w + "&role=x&workspaceId=!", plain, 101},
		"128 characters":           {"role=client&workspaceId=" + long, tokenOf(t, clientOf(long)), 101},
		"none":                     {"", plain, 400},
		"no role":                  {"workspaceId=" + w, plain, 400},
		"a role of another case":   {"role=Client&workspaceId=" + w, plain, 400},
		"a role of nobody":         {"role=admin&workspaceId=" + w, plain, 400},
		"the first of two is bad":  {"role=&role=client&workspaceId=" + w, plain, 400},
		"no workspace":             {"role=client", plain, 400},
		"an empty workspace":       {"role=client&workspaceId=", plain, 400},
		"129 characters":           {"role=client&workspaceId=w" + long, plain, 400},
		"a slash in it":            {"role=client&workspaceId=a/b", plain, 400},
		"a plus, which is a space": {"role=client&workspaceId=a+b", plain, 400},
		"a line end in it":         {"role=client&workspaceId=a%0a", plain, 400},
		"an empty target":          {"role=client&workspaceId=" + w + "&runtimeTargetId=", plain, 400},
		"a bad target":             {"role=client&workspaceId=" + w + "&runtimeTargetId=a%20b", plain, 400},
		"a long target":            {"role=client&workspaceId=" + w + "&runtimeTargetId=w" + long, plain, 400},
		"a bad query and no token": {"role=client", "", 400},
	} {
		more := ""
		if c.token != "" {
			more = bearerLine(c.token)
		}
		if answer, body := r.answerTo(t, upgradeText(c.query, more)); answer.StatusCode != c.status {
			t.Errorf("%s: got %s %s, want %d", name, answer.Status, body, c.status)
		}
	}
}

func TestNothingButWsIsUpgraded(t *testing.T) {
	t.Parallel()
	r := start(t)
	ok := upgradeText(queryOf(clientOf("w")), bearerLine(tokenOf(t, clientOf("w"))))
	for name, c := range map[string]struct {
		old, new string
		status   int
	}{
		"/ws":             {"", "", 101},
		"/ws/":            {"/ws?", "/ws/?", 404},
		"/WS":             {"/ws?", "/WS?", 404},
		"/":               {"/ws?", "/?", 404},
		"/health":         {"/ws?", "/health?", 200},
		"POST":            {"GET", "POST", 405},
		"a bad key":       {"AAAA", "", 400},
		"no key":          {"Sec-WebSocket-Key", "X-Key", 400},
		"version 8":       {"Version: 13", "Version: 8", 101},
		"another browser": {"Host: relay", "Host: relay\r\nOrigin: https://app.example", 101},
	} {
		answer, body := r.answerTo(t, strings.Replace(ok, c.old, c.new, 1))
		if answer.StatusCode != c.status {
			t.Errorf("%s: got %s %s, want %d", name, answer.Status, body, c.status)
		}
	}
	// Two that today's relays answer with 400, for which HTTP has another status.
	for old, new := range map[string]string{"Version: 13": "Version: 12", "Upgrade: websocket": "Upgrade: h2c"} {
		answer, body := r.answerTo(t, strings.Replace(ok, old, new, 1))
		if answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("%s: got %s %s, want 400 or 426", new, answer.Status, body)
		}
	}
}

func TestATokenComesByHeaderOrSubprotocolAndInDevelopmentByQuery(t *testing.T) {
	t.Parallel()
	// One that is of no use, but would be asked about if it were taken.
	const bad = "bad.bad.bad"
	good := tokenOf(t, clientOf("w"))
	query := queryOf(clientOf("w"))
	type row struct {
		query string
		lines string
		// status without query tokens, and with them.
		status, development int
		// selected is the subprotocol in the answer.
		selected string
	}
	rows := map[string]row{
		"none":                     {"", "", 401, 401, ""},
		"Authorization":            {"", bearerLine(good), 101, 101, ""},
		"in any case, with blanks": {"", "authorization:  bEARER \t " + good + " \r\n", 101, 101, ""},
		"another scheme":           {"", "Authorization: Basic " + good + "\r\n", 401, 401, ""},
		"no scheme":                {"", "Authorization: " + good + "\r\n", 401, 401, ""},
		"a subprotocol": {
			"", "Sec-WebSocket-Protocol: auth." + good + "\r\n", 101, 101, "auth." + good,
		},
		"behind a name": {
			"", "Sec-WebSocket-Protocol: viewport.v1, auth." + good + "\r\n", 101, 101, "viewport.v1",
		},
		"before a name": {
			"", "Sec-WebSocket-Protocol: auth." + good + ",viewport.v1\r\n", 101, 101, "viewport.v1",
		},
		"in a line of its own": {
			"", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: auth." + good + "\r\n", 101, 101, "a",
		},
		"a header beside names": {"", bearerLine(good) + "Sec-WebSocket-Protocol: a, b\r\n", 101, 101, "a"},
		"the header counts first": {
			"", bearerLine(bad) + "Sec-WebSocket-Protocol: a, auth." + good + "\r\n", 401, 401, "",
		},
		"a short header counts as none": {
			"", bearerLine("short") + "Sec-WebSocket-Protocol: a, auth." + good + "\r\n", 101, 101, "a",
		},
		"a long header counts as none": {
			"", bearerLine(strings.Repeat("t", 4097)) + "Sec-WebSocket-Protocol: a, auth." + good + "\r\n", 101, 101, "a",
		},
		"the query":                 {"&token=" + good, "", 401, 101, ""},
		"a header beside the query": {"&token=" + bad, bearerLine(good), 101, 101, ""},
		"a short one in the query":  {"&token=short", "", 401, 401, ""},
		"a subprotocol before the query": {
			"&token=" + good, "Sec-WebSocket-Protocol: a, auth." + bad + "\r\n", 401, 401, "",
		},
		"a name offered twice":               {"", bearerLine(good) + "Sec-WebSocket-Protocol: a, a\r\n", 400, 400, ""},
		"an offer with an empty entry":       {"", bearerLine(good) + "Sec-WebSocket-Protocol: a,,b\r\n", 400, 400, ""},
		"a bad offer and a token in the URL": {"&token=" + good, "Sec-WebSocket-Protocol: a, a\r\n", 401, 400, ""},
	}
	check := func(name string, r *relay, c row, status int) {
		answer, body := r.answerTo(t, upgradeText(query+c.query, c.lines))
		if answer.StatusCode != status {
			t.Errorf("%s: got %s %s, want %d", name, answer.Status, body, status)
			return
		}
		if got := answer.Header.Get("Sec-WebSocket-Protocol"); status == 101 && got != c.selected {
			t.Errorf("%s: the relay selects %q, want %q", name, got, c.selected)
		}
	}
	r := start(t)
	development := start(t, func(c *server.Config) { c.QueryTokens = true })
	for name, c := range rows {
		check(name, r, c, c.status)
		check(name+", in development", development, c, c.development)
	}
	for _, r := range []*relay{r, development} {
		if strings.Contains(r.log.String(), good) {
			t.Error("the token is in the log")
		}
	}
}

// I.23.
func TestATokenIsNotEchoedWhereABrowserOffersAName(t *testing.T) {
	t.Parallel()
	r := start(t)
	token := tokenOf(t, clientOf("w"))
	for _, offer := range []string{"viewport.v1, auth." + token, "auth." + token + ", viewport.v1"} {
		answer, _ := r.answerTo(t, upgradeText(queryOf(clientOf("w")), "Sec-WebSocket-Protocol: "+offer+"\r\n"))
		for name, values := range answer.Header {
			if strings.Contains(strings.Join(values, ","), token) {
				t.Errorf("offered a name: the token is in %s", name)
			}
		}
	}
	refused, body := r.answerTo(t, upgradeText(queryOf(clientOf("v")), "Sec-WebSocket-Protocol: auth."+token+"\r\n"))
	var all strings.Builder
	_ = refused.Header.Write(&all)
	if refused.StatusCode != 403 || strings.Contains(all.String()+body, token) {
		t.Errorf("got %s %s, with the token: %v", refused.Status, body, strings.Contains(all.String()+body, token))
	}
}

func TestCompressionIsDeclined(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, c := range []devplatform.Claims{daemonOf("w"), clientOf("w")} {
		answer, _ := r.answerTo(t, upgradeText(queryOf(c), bearerLine(tokenOf(t, c))+
			"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"))
		if answer.StatusCode != 101 || answer.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("got %s with the extensions %q", answer.Status, answer.Header.Get("Sec-WebSocket-Extensions"))
		}
	}
}

// longest is the longest frame, in bytes: what a daemon makes of a message of 1 MiB.
const longest = 3 << 19

// I.16, too.
func TestTheLongestMessageOfADaemonPassesAndNoLonger(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	for i, n := range []int{1 << 20, longest} {
		up, down := e2eeFrame(s.id, 1, i+1, ""), e2eeFrame(s.id, 1, i+1, "")
		up, down = e2eeFrame(s.id, 1, i+1, long(up, n)), e2eeFrame(s.id, 1, i+1, long(down, n))
		s.client.send(up)
		s.daemon.want(up)
		s.daemon.send(down)
		s.client.want(down)
	}
	for _, p := range []*peer{s.client, s.daemon} {
		p.send(strings.Repeat(" ", longest+1))
		closed, ok := errors.AsType[*wsconn.CloseError](p.wantEnd())
		if !ok || closed.Code != wsconn.CodeTooLarge {
			t.Errorf("got %v, want the end with 1009", p.err)
		}
	}
}

// L.2: the platform is asked as it is today.

func TestThePlatformIsAskedAsTodayAndItsUnknownClaimsPass(t *testing.T) {
	t.Parallel()
	type call struct{ method, path, contentType, key, body string }
	calls := make(chan call, 16)
	var claims string // of the next answer
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		calls <- call{
			q.Method, q.RequestURI, q.Header.Get("Content-Type"), q.Header.Get("X-Relay-Internal-Key"), string(body),
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true,"more":1,"claims":`+claims+`}`)
	}))
	defer stub.Close()
	const path = "/api/runtime/internal/relay/validate"
	r := start(t, func(c *server.Config) {
		c.ValidateURL, c.InternalKey = stub.URL+path, "the-internal-key-of-this-relay"
	})
	for name, c := range map[string]struct{ query, claims, body string }{
		"a daemon": {
			"role=workspace-daemon&workspaceId=w&runtimeTargetId=t",
			`{"workspaceId":" w\t","runtimeTargetId":"t","role":"workspace-daemon","installId":"i","newToday":{"a":[1]}}`,
			`{"relayToken":"0123456789","role":"workspace-daemon","workspaceId":"w","runtimeTargetId":"t"}`,
		},
		"a client without a role": {
			"role=client&workspaceId=w&runtimeTargetId=t", `{"workspaceId":"w","runtimeTargetId":"t","scope":"runtime"}`,
			`{"relayToken":"0123456789","role":"client","workspaceId":"w","runtimeTargetId":"t"}`,
		},
		"a client whose token alone has a target": {
			"role=client&workspaceId=w", `{"workspaceId":"w","runtimeTargetId":"t","scope":"session-events","unknown":null}`,
			`{"relayToken":"0123456789","role":"client","workspaceId":"w"}`,
		},
	} {
		if !json.Valid([]byte(c.claims)) {
			t.Fatal(name)
		}
		claims = c.claims
		p, err := r.dial(request{query: c.query, header: bearer("0123456789")})
		if err != nil {
			t.Errorf("%s: %s", name, describe(err))
			continue
		}
		p.leave()
		want := call{"POST", path, "application/json", "the-internal-key-of-this-relay", c.body}
		if got := <-calls; got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if len(calls) != 0 {
		t.Error("the platform is asked more than once an upgrade")
	}
}
