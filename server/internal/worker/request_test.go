package worker

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/legacywire"
)

// allowedPaths are some that a client which decodes and encodes them would change.
var allowedPaths = []string{
	ownPath, ownPath + "/", ownPath + "//x", ownPath + "/a%2Fb%2fc", ownPath + "/a%20b+c", ownPath + "/%C3%A9",
	ownPath + "/-._~!$&'()*+,;=:@[]", ownPath + "/a%41", ownPath + "/..a/...", ownPath + "/x?a=%2e%2e/..&b=[c]%20?d/",
	ownPath + "/x?a;b", ownPath + "/x?a%zz", ownPath + "/x?a?b",
}

func TestTheRequestLineHasExactlyThePathThatTheWorkerSigned(t *testing.T) {
	// A server that knows nothing of URLs: it reads a head and answers.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			for r := bufio.NewReader(conn); ; {
				line, err := r.ReadString('\n')
				if lines <- line; err != nil {
					break
				}
				for line != "\r\n" && err == nil {
					line, err = r.ReadString('\n')
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
				break
			}
			_ = conn.Close()
		}
	}()
	defer func() {
		_ = listener.Close()
		<-ended
	}()
	l := forwarder(t, "http://"+listener.Addr().String()+"/dropped?x#y", Config{}).Link("ws", "e1")
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch} {
		for _, path := range allowedPaths {
			reply := ask(t, l, legacywire.Request{Method: method, Path: path})
			if line := <-lines; line != method+" "+path+" HTTP/1.1\r\n" || reply.Status != http.StatusNoContent {
				t.Errorf("%s %q: got the line %q and %+v", method, path, line, reply)
			}
		}
	}
}

func TestThePathIsTheSameOverHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.RequestURI)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	l := forwarder(t, server.URL, Config{HTTP: server.Client()}).Link("ws", "e1")
	for _, path := range allowedPaths {
		if reply := ask(t, l, legacywire.Request{Path: path}); reply.Body != "HTTP/2.0 "+path {
			t.Errorf("%q: got %+v", path, reply)
		}
	}
}

func TestAWorkerThatLeavesItsExecutorIsDeniedAndThePlatformIsNotAsked(t *testing.T) {
	p := startPlatform(t, func(http.ResponseWriter, *http.Request) {})
	f := forwarder(t, p.URL, Config{})
	for _, c := range []struct{ name, path, executor string }{
		{"up to another API", ownPath + "/../../../../internal/relay/presence/resolve", "e1"},
		{"encoded dots", ownPath + "/%2e%2e/e2", "e1"},
		{"one encoded dot", ownPath + "/.%2E/e2", "e1"},
		{"encoded twice", ownPath + "/%252e%252e/e2", "e1"},
		{"dots with a parameter", ownPath + "/..;/e2", "e1"},
		{"up past two slashes", ownPath + "//../e2", "e1"},
		{"backslashes", ownPath + `\..\e2`, "e1"},
		{"more backslashes", ownPath + `/..\e2`, "e1"},
		{"encoded slashes", ownPath + "/..%2fe2", "e1"},
		{"encoded backslashes", ownPath + "/..%5ce2", "e1"},
		{"a fragment", ownPath + "/x#/../y", "e1"},
		{"another request", ownPath + " HTTP/1.1\r\nHost: x\r\n\r\nGET /", "e1"},
		{"another host", "//127.0.0.1:1" + ownPath, "e1"},
		{"another URL", "http://127.0.0.1:1" + ownPath, "e1"},
		{"somebody at", "@127.0.0.1:1" + ownPath, "e1"},
		{"another executor", ownPath + "2", "e1"},
		{"another workspace", strings.Replace(ownPath, "/ws/", "/ws2/", 1), "e1"},
		{"no executor", strings.TrimSuffix(ownPath, "e1"), ""},
		{"nothing", "*", "e1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantRefusal(t, ask(t, f.Link("ws", c.executor), legacywire.Request{Path: c.path}), 403, pathDenied)
		})
	}
	if s := f.Stats(); p.asked.Load() != 0 || s != (Stats{Denied: 19}) {
		t.Errorf("the platform was asked %d times, got %+v; want 0 and 19 denied", p.asked.Load(), s)
	}
}

func TestThePlatformGetsTheWorkersHeadersAndBodyAndNoOthers(t *testing.T) {
	const value = "a\tb \xe9"
	type seen struct {
		header http.Header
		length int64
		body   string
	}
	requests := make(chan seen, 1)
	p := startPlatform(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- seen{r.Header, r.ContentLength, string(body)}
	})
	l := forwarder(t, p.URL, Config{}).Link("ws", "e1")
	for _, c := range []struct {
		method, body, arrives string
		length                string // of the header
	}{
		{http.MethodGet, "", "", ""},
		{http.MethodGet, "not for a GET", "", ""},
		{http.MethodPost, "", "", "0"},
		{http.MethodPatch, "", "", "0"},
		{http.MethodPost, `{"é":1}`, `{"é":1}`, "8"},
		{http.MethodPatch, "\x00\xef\xbb\xbf", "\x00\xef\xbb\xbf", "4"},
	} {
		reply := ask(t, l, legacywire.Request{
			Method: c.method, Body: []byte(c.body),
			Headers: []legacywire.Header{
				{Name: "authorization", Value: "Bearer " + secret}, {Name: "x-viewport-worker-signature", Value: value},
				{Name: "accept", Value: ""},
			},
		})
		if reply.Status != 200 {
			t.Fatalf("%s %q: got %+v", c.method, c.body, reply)
		}
		r := <-requests
		if r.body != c.arrives || r.header.Get("Content-Length") != c.length {
			t.Errorf("%s %q: got %+v", c.method, c.body, r)
		}
		r.header.Del("Content-Length")
		want := []string{"Accept", "Accept-Encoding", "Authorization", "User-Agent", "X-Viewport-Worker-Signature"}
		if names := slices.Sorted(maps.Keys(r.header)); !slices.Equal(names, want) {
			t.Errorf("got headers %q, want %q", names, want)
		}
		if r.header.Get("Authorization") != "Bearer "+secret || r.header.Get("X-Viewport-Worker-Signature") != value ||
			r.header.Get("Accept-Encoding") != "identity" {
			t.Errorf("got %q", r.header)
		}
	}
}

func TestAHeaderThatHTTPCantCarryFails(t *testing.T) {
	p := startPlatform(t, func(http.ResponseWriter, *http.Request) {})
	f := forwarder(t, p.URL, Config{})
	wantRefusal(t, ask(t, f.Link("ws", "e1"), legacywire.Request{BadHeader: true}), 502, failed)
	header := []legacywire.Header{{Name: "accept", Value: "x\r\ny: z"}}
	wantRefusal(t, ask(t, f.Link("ws", "e1"), legacywire.Request{Headers: header}), 502, failed)
	if n := p.asked.Load(); n != 0 {
		t.Errorf("the platform was asked %d times, want 0", n)
	}
}

func TestARequestIsAsLongAsMayBeAndNoLonger(t *testing.T) {
	p := startPlatform(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	f := forwarder(t, p.URL, Config{MaxRequest: 1000})
	body := make([]byte, 1001)
	if reply := ask(t, f.Link("ws", "e1"), legacywire.Request{Method: "POST", Body: body[:1000]}); reply.Status != 200 {
		t.Errorf("1000 bytes: got %+v, want 200", reply)
	}
	wantRefusal(t, ask(t, f.Link("ws", "e1"), legacywire.Request{Method: "POST", Body: body}), 413,
		"WORKER_TRANSPORT_REQUEST_TOO_LARGE")
	if reply := ask(t, f.Link("ws", "e1"), legacywire.Request{Body: body}); reply.Status != 200 {
		t.Errorf("a GET, whose body is not sent: got %+v, want 200", reply)
	}
	if s := f.Stats(); s != (Stats{Forwarded: 2, TooLarge: 1}) {
		t.Errorf("got %+v, want 2 forwarded and 1 too large", s)
	}
}
