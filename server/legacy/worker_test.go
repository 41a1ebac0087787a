package legacy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// L.10, I.27 and I.28: the worker transport.

const own = "/api/runtime/workspaces/w/managed-executors/e1"

// workerReply is what a worker is told.
type workerReply struct {
	Type      string            `json:"type"`
	RequestID string            `json:"requestId"`
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
}

// reply receives the answer to a worker's request.
func (p *peer) reply() (r workerReply) {
	p.t.Helper()
	m, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(m.text), &r); err != nil || r.Type != "viewport.worker_transport.response/v1" {
		p.t.Fatalf("got %q, %v, want an answer", m.text, err)
	}
	return r
}

// seen is a request as the platform saw it.
type seen struct {
	Method, Path, Body string
	Headers            map[string]string
}

func (r workerReply) seen(t *testing.T) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.Body), &s); err != nil || r.Status != 200 {
		t.Fatalf("got %+v, %v, want what the platform saw", r, err)
	}
	return s
}

func TestAWorkerReachesItsOwnCallsAndTheyArriveAsItSentThem(t *testing.T) {
	t.Parallel()
	r := start(t, workersOn)
	p := r.connect(workerOf("w", "e1"))
	passed := []string{
		"authorization", "accept", "content-type", "x-viewport-run-lease", "x-viewport-assignment-claim",
		"x-viewport-worker-fingerprint", "x-viewport-worker-timestamp", "x-viewport-worker-nonce",
		"x-viewport-worker-body-sha256", "x-viewport-worker-signature", "x-viewport-server-id",
	}
	var headers []string
	for i, name := range passed {
		if i%2 == 0 {
			name = strings.ToUpper(name)
		}
		headers = append(headers, fmt.Sprintf(`"%s":"v%d"`, name, i))
	}
	for i, name := range []string{"cookie", "x-forwarded-for", "x-relay-internal-key", "host", "transfer-encoding", "x"} {
		headers = append(headers, fmt.Sprintf(`"%s":"no%d"`, name, i))
	}
	headers = append(headers, `"accept-language":7`, `"x-viewport-run-lease ":"no"`)
	for _, c := range []struct{ method, path, body, arrives string }{
		{"GET", own, "", ""},
		{"POST", own + "/leases/l%20a/renew?x=1&y=%2f", `"{\"a\":\"\u00e9\"}"`, `{"a":"é"}`},
		{"PATCH", own + "/runs/;v=1/~:@!$&'()*+,=-._", `""`, ""},
		{"POST", own + "/without-a-body", "", ""},
		{"GET", own + "/with-one", `"dropped"`, ""},
	} {
		p.send(workerRequest(" r 1", c.method, c.path, strings.Join(headers, ","), c.body))
		reply := p.reply()
		got := reply.seen(t)
		if got.Method != c.method || got.Path != c.path || got.Body != c.arrives || reply.RequestID != " r 1" {
			t.Errorf("got %+v for %q, want %+v", got, reply.RequestID, c)
		}
		for i, name := range passed {
			if got.Headers[name] != fmt.Sprint("v", i) {
				t.Errorf("%s: got %q", name, got.Headers[name])
			}
			delete(got.Headers, name)
		}
		for _, name := range []string{"accept-encoding", "content-length", "user-agent"} { // of HTTP itself
			delete(got.Headers, name)
		}
		if len(got.Headers) != 0 {
			t.Errorf("other headers arrive: %v", slices.Collect(maps.Keys(got.Headers)))
		}
		if reply.Headers["x-dev-echo"] != "1" || reply.Headers["content-type"] == "" ||
			reply.Headers["authorization"] != "" || reply.Headers["set-cookie"] != "" {
			t.Errorf("the worker gets the headers %v", reply.Headers)
		}
	}
}

const pathDenied = `","status":403,"headers":{"content-type":"application/json"},` +
	`"body":"{\"ok\":false,\"reason\":\"WORKER_TRANSPORT_PATH_DENIED\"}"}`

// I.27.
func TestAWorkerReachesNothingBesideItsOwnCalls(t *testing.T) {
	t.Parallel()
	asked := ownPlatform(t)
	r := start(t, onPlatform(asked), workersOn)
	token, err := asked.MintLegacy(workerOf("w", "e1"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.dial(request{query: queryOf(workerOf("w", "e1")), header: bearer(token)})
	if err != nil {
		t.Fatal(describe(err))
	}
	asked.ResetCalls()
	for _, path := range []string{
		own + "2", own + "x/y", own + "%2f..", "/api/runtime/workspaces/w", "/api/runtime/workspaces/v/managed-executors/e1",
		"/api/runtime/workspaces/w/managed-executors/e2", "/api/runtime/workspaces/W/managed-executors/e1",
		"/api/runtime/workspaces/%77/managed-executors/e1", "/api/runtime/workspaces//w/managed-executors/e1",
		own + "/../../../../internal/relay/presence/resolve", own + "/..", own + "/../e2", own + "/.", own + "/a/./b",
		own + "/%2e%2e/%2e%2e/x", own + "/%2E%2e/x", own + "/.%2e/x", own + "/%252e%252e/x", own + "/%25252e%25252e/x",
		own + `/..\\..\\x`, own + `/%5c..%5cx`, own + "/..%2f..%2fx", own + "/..;/x", own + "/..;a=b/x", own + "/%2e%2e;/x",
		own + "/a#/../../x", own + "/a?", own + "/a b", own + `/a\tb`, own + `/a\u0000b`, own + "/é", own + "/%zz",
		own + `/a\r\nHost: evil`, own + `/a HTTP/1.1\r\n\r\n`, own + "/" + strings.Repeat("a", 10<<10), own + "/%",
		own + "@evil.example/",
		own + "/%00", own + "/a%0d%0ab",
	} {
		p.send(workerRequest("r", "GET", path, "", ""))
		p.want(`{"type":"viewport.worker_transport.response/v1","requestId":"r` + pathDenied)
	}
	if n := asked.Calls().Worker; n != 0 {
		t.Errorf("the platform was asked %d times", n)
	}
	// A token that names no executor has no calls.
	if token, err = asked.MintLegacy(workerOf("w", "")); err != nil {
		t.Fatal(err)
	}
	p, err = r.dial(request{query: queryOf(workerOf("w", "")), header: bearer(token)})
	if err != nil {
		t.Fatal(describe(err))
	}
	p.send(workerRequest("r", "GET", own, "", ""))
	p.send(workerRequest("q", "GET", "/api/runtime/workspaces/w/managed-executors/", "", ""))
	for _, id := range []string{"r", "q"} {
		p.want(`{"type":"viewport.worker_transport.response/v1","requestId":"` + id + pathDenied)
	}
}

func TestAWorkersOtherFramesAreDroppedAndItsConnectionGoesOn(t *testing.T) {
	t.Parallel()
	r := start(t, workersOn)
	p := r.connect(workerOf("w", "e1"))
	p.send("junk", "[]", initFrame("r"), subscribeFrame("s1", 0), workerRequest("r", "DELETE", own, "", ""),
		workerRequest("", "GET", own, "", ""), workerRequest("r", "GET", "/api/other", "", ""),
		strings.Replace(workerRequest("r", "GET", own, "", ""), `"headers":{}`, `"headers":[]`, 1),
		workerRequest("good", "GET", own, "", ""))
	if got := p.reply(); got.RequestID != "good" {
		t.Errorf("got an answer to %q", got.RequestID)
	}
}

// I.28.
func TestAWorkersRequestsAreBounded(t *testing.T) {
	t.Parallel()
	asked := ownPlatform(t)
	r := start(t, onPlatform(asked), workersOn)
	token, err := asked.MintLegacy(workerOf("w", "e1"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.dial(request{query: queryOf(workerOf("w", "e1")), header: bearer(token)})
	if err != nil {
		t.Fatal(describe(err))
	}
	ask := func(id, path string) workerReply {
		p.send(workerRequest(id, "GET", own+path, "", ""))
		return p.reply()
	}
	if got := ask("r", "/redirect"); got.Status != 307 && got.Status != 502 || asked.Calls().Redirected != 0 {
		t.Errorf("a redirect: got %+v, followed %d times", got, asked.Calls().Redirected)
	}
	if got := ask("r", "/status/503"); got.Status != 503 {
		t.Errorf("the platform's 503: got %+v", got)
	}
	got := ask("r", "/big/60000000")
	if got.Status != 502 || !strings.Contains(got.Body, "WORKER_TRANSPORT_FORWARD_FAILED") {
		t.Errorf("an answer of 60 MB: got %d %.100q", got.Status, got.Body)
	}
	// Those that hang take all places, and no more than these.
	waiting := 0
	for ; ; waiting++ {
		p.send(workerRequest(fmt.Sprint("hangs-", waiting), "GET", own+"/slow", "", ""))
		p.send(workerRequest("probe", "GET", own+"2", "", ""))
		first := p.reply()
		if first.RequestID == "probe" {
			continue
		}
		if first.Status != 503 || !strings.Contains(first.Body, "WORKER_TRANSPORT_BUSY") || waiting == 0 || waiting > 64 {
			t.Errorf("behind %d that hang: got %+v", waiting, first)
		}
		break
	}
	// They end with their link, which leaves nothing.
	p.leave()
	r.empty()
}
