package legacywire

import (
	"net/url"
	"strings"
	"testing"
)

const ownPath = "/api/runtime/workspaces/ws/managed-executors/e1"

var workerPaths = []struct {
	name, path, executor string
	allowed              bool
}{
	{"the executor itself", ownPath, "e1", true},
	{"below it", ownPath + "/lease", "e1", true},
	{"deep below it", ownPath + "/runs/r-1_2.3~4/events", "e1", true},
	{"a slash at the end", ownPath + "/", "e1", true},
	{"two slashes", ownPath + "//x", "e1", true},
	{"a query", ownPath + "/runs?after=10&filter[x]=a%20b/../c?d", "e1", true},
	{"encoded characters", ownPath + "/a%20b%2fc%C3%A9", "e1", true},
	{"every plain character", ownPath + "/-._~!$&'()*+,;=:@[]", "e1", true},
	{"dots in a name", ownPath + "/..a/b../.../a..b/.a", "e1", true},
	{"an executor with characters to encode", "/api/runtime/workspaces/ws/managed-executors/a%2Fb%3Ac%20d/x",
		"a/b:c d", true},
	{"an executor that is not ASCII", "/api/runtime/workspaces/ws/managed-executors/%C3%A9", "é", true},
	{"an executor with marks", "/api/runtime/workspaces/ws/managed-executors/-_.!~*'()", "-_.!~*'()", true},

	{"no executor", ownPath, "", false},
	{"another executor", ownPath + "/x", "e2", false},
	{"an executor that starts the same", ownPath + "2", "e1", false},
	{"a query on the executor itself", ownPath + "?x=1", "e1", false},
	{"another workspace", "/api/runtime/workspaces/ws2/managed-executors/e1", "e1", false},
	{"the workspace alone", "/api/runtime/workspaces/ws", "e1", false},
	{"written otherwise", "/api/runtime/workspaces/ws/managed-executors/%651", "e1", false},
	{"encoded in lower case", "/api/runtime/workspaces/ws/managed-executors/a%2fb", "a/b", false},
	{"an executor that is not encoded", "/api/runtime/workspaces/ws/managed-executors/a/b", "a/b", false},
	{"an executor that is no UTF-8", "/api/runtime/workspaces/ws/managed-executors/%FF", "\xff", false},
	{"an executor called ..", "/api/runtime/workspaces/ws/managed-executors/..", "..", false},
	{"an executor with .. in it", "/api/runtime/workspaces/ws/managed-executors/..%2F..%2Fx", "../../x", false},
	{"the host", "//evil.test" + ownPath, "e1", false},
	{"a whole URL", "https://evil.test" + ownPath, "e1", false},

	{"up", ownPath + "/../e2", "e1", false},
	{"up to another API", ownPath + "/../../../../internal/relay/presence/resolve", "e1", false},
	{"up and back", ownPath + "/x/../y", "e1", false},
	{"up at the end", ownPath + "/..", "e1", false},
	{"here", ownPath + "/./x", "e1", false},
	{"encoded dots", ownPath + "/%2e%2e/e2", "e1", false},
	{"encoded dots in capitals", ownPath + "/%2E%2E/e2", "e1", false},
	{"one encoded dot", ownPath + "/.%2e/e2", "e1", false},
	{"here, encoded", ownPath + "/%2e/x", "e1", false},
	{"encoded slashes", ownPath + "/..%2fe2", "e1", false},
	{"all encoded", ownPath + "/%2e%2e%2fe2", "e1", false},
	{"encoded twice", ownPath + "/%252e%252e/e2", "e1", false},
	{"encoded three times", ownPath + "/%25252e%25252e/e2", "e1", false},
	{"encoded too often for anything good", ownPath + "/%2525252541", "e1", false},
	{"backslashes", ownPath + `/..\..\e2`, "e1", false},
	{"an encoded backslash", ownPath + "/x%5c..%5c..%5ce2", "e1", false},
	{"dots with a parameter", ownPath + "/..;/e2", "e1", false},
	{"dots with a parameter, encoded", ownPath + "/..%3bx=1/e2", "e1", false},
	{"dots and a tab", ownPath + "/.\t./e2", "e1", false},
	{"dots and an encoded tab", ownPath + "/.%09./e2", "e1", false},
	{"an encoded NUL", ownPath + "/..%00/e2", "e1", false},
	{"a line feed", ownPath + "/x\r\nHost: evil.test", "e1", false},
	{"a fragment", ownPath + "/x#y", "e1", false},
	{"a fragment behind a query", ownPath + "/x?y#z", "e1", false},
	{"a blank", ownPath + "/a b", "e1", false},
	{"a blank in the query", ownPath + "/a?b c", "e1", false},
	{"an empty query, which a parser drops", ownPath + "/a?", "e1", false},
	{"quotes in the query, which a parser encodes", ownPath + "/a?b='c'", "e1", false},
	{"not ASCII", ownPath + "/é", "e1", false},
	{"not ASCII in the query", ownPath + "/a?é", "e1", false},
	{"a malformed percent sign", ownPath + "/%4", "e1", false},
	{"another malformed percent sign", ownPath + "/%zz", "e1", false},
	{"characters that parsers disagree about", ownPath + "/a|b^c", "e1", false},
	{"braces", ownPath + "/{a}", "e1", false},
	{"longer than any", ownPath + "/" + strings.Repeat("a", 8<<10), "e1", false},
}

func TestAWorkerReachesItsOwnExecutorOnly(t *testing.T) {
	for _, c := range workerPaths {
		if got := WorkerPathAllowed(c.path, "ws", c.executor); got != c.allowed {
			t.Errorf("%s: %q: got %v, want %v", c.name, c.path, got, c.allowed)
		}
		if !c.allowed {
			continue
		}
		if u, err := url.Parse("https://platform.test" + c.path); err != nil || u.RequestURI() != c.path {
			t.Errorf("%s: a client would send %q (%v), want %q", c.name, u.RequestURI(), err, c.path)
		}
	}
	for _, workspace := range []string{"", ".", "..", "a/b", "ws2"} {
		if WorkerPathAllowed(ownPath, workspace, "e1") {
			t.Errorf("workspace %q: got the path of ws allowed", workspace)
		}
	}
	if WorkerPathAllowed("/api/runtime/workspaces/../managed-executors/e1", "..", "e1") {
		t.Error("workspace ..: got its path allowed, which is another's")
	}
}

func TestOfManySpellingsOfAHeaderTheLastCounts(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"type":"viewport.worker_transport.request/v1","requestId":"r","method":"GET","path":"` + ownPath +
		`","headers":{"x":"y"`)
	name := []byte("x-viewport-worker-body-sha256")
	const spellings = 1 << 14
	for i := range spellings {
		for bit, at := range []int{2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16} {
			name[at] = name[at]&^0x20 | byte(i>>bit&1)<<5
		}
		b.WriteString(`,"` + string(name) + `":"` + string(name) + `"`)
	}
	b.WriteString("}}")
	f, err := Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	want := Header{"x-viewport-worker-body-sha256", string(name)}
	if len(f.Worker.Headers) != 1 || f.Worker.Headers[0] != want {
		t.Errorf("got %v, want the last of %d spellings", f.Worker.Headers, spellings)
	}
}
