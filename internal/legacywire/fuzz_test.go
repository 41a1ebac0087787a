package legacywire

import (
	"bytes"
	"math/rand/v2"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// newRandom is seeded the same each time: what fails, fails again.
func newRandom(testing.TB) *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// FuzzParse: Parse and the reference agree about every text, and about every binary message as text.
func FuzzParse(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		agree(t, message)
		text := Text(message)
		if !utf8.Valid(text) || utf8.Valid(message) && !bytes.Equal(text, message) {
			t.Fatalf("%q as text: got %q", message, text)
		}
		agree(t, text)
	})
}

// FuzzParseQuery: what is accepted is within the bounds, and url.ParseQuery, where it accepts a query, reads the same.
func FuzzParseQuery(f *testing.F) {
	for _, c := range queries {
		f.Add(c.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ParseQuery(raw)
		theirs, theirErr := url.ParseQuery(strings.SplitN(raw, "#", 2)[0])
		if theirErr == nil {
			role, workspace, target := theirs.Get("role"), theirs.Get("workspaceId"), theirs["runtimeTargetId"]
			want := ParseRole(role) != 0 && ids.MatchString(workspace) && (target == nil || ids.MatchString(target[0]))
			if (err == nil) != want {
				t.Fatalf("%q: got %v, want accepted: %v", raw, err, want)
			}
			if want && (q.Role.String() != role || q.Workspace != workspace || q.Target != theirs.Get("runtimeTargetId")) {
				t.Fatalf("%q: got %+v, want %v", raw, q, theirs)
			}
		}
		if err == nil && (q.Role == 0 || !ids.MatchString(q.Workspace) || q.Target != "" && !ids.MatchString(q.Target)) {
			t.Fatalf("%q: got %+v", raw, q)
		}
	})
}

// FuzzParseOffer: what is selected was offered, and a token is only if nothing else was.
func FuzzParseOffer(f *testing.F) {
	for _, c := range offers {
		f.Add(strings.Join(c.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, header string) {
		o, err := ParseOffer(strings.Split(header, "\n"))
		if n := len(o.token); n != 0 && (n < 10 || n > 4096 || !strings.Contains(header, "auth."+o.token)) {
			t.Fatalf("%q: got the token %q", header, o.token)
		}
		if err != nil {
			if o.Select != "" || o.SelectsToken {
				t.Fatalf("%q: refused, but got %+v", header, o)
			}
			return
		}
		names := map[string]bool{}
		others := 0
		for name := range strings.SplitSeq(strings.ReplaceAll(header, "\n", ","), ",") {
			name = strings.Trim(name, " \t")
			if names[name] || name == "" || strings.ContainsAny(name, " \t\"(),/:;<=>?@[\\]{}") {
				t.Fatalf("%q: accepted", header)
			}
			names[name] = true
			if !strings.HasPrefix(name, "auth.") {
				others++
			}
		}
		if !names[o.Select] || o.SelectsToken != (others == 0) || o.SelectsToken != strings.HasPrefix(o.Select, "auth.") {
			t.Fatalf("%q: got %+v", header, o)
		}
	})
}

// FuzzWorkerPathAllowed: whatever is allowed is sent as it is, and stays below the executor's path however a server
// decodes and cleans it.
func FuzzWorkerPathAllowed(f *testing.F) {
	for _, c := range workerPaths {
		f.Add(c.path, c.executor)
	}
	f.Fuzz(func(t *testing.T, p, executor string) {
		if !WorkerPathAllowed(p, "ws", executor) {
			return
		}
		u, err := url.Parse("https://platform.test" + p)
		if err != nil || u.RequestURI() != p || u.Fragment != "" || u.Host != "platform.test" {
			t.Fatalf("%q: a client would send %q (%v)", p, u, err)
		}
		encoded, _ := encodeURIComponent(executor)
		own := "/api/runtime/workspaces/ws/managed-executors/" + encoded
		seen, _, _ := strings.Cut(p, "?")
		for range 8 {
			is := path.Clean(strings.ReplaceAll(seen, `\`, "/"))
			below := path.Clean(strings.ReplaceAll(own, `\`, "/"))
			if is != below && !strings.HasPrefix(is, below+"/") {
				t.Fatalf("%q for %q: a server may see %q, which is not below %q", p, executor, is, below)
			}
			seen, own = percentDecode(seen, false), percentDecode(own, false)
		}
	})
}
