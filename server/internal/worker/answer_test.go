package worker

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/legacywire"
)

func TestARedirectIsTheWorkersToSeeAndNobodyFollowsIt(t *testing.T) {
	trap := startPlatform(t, func(http.ResponseWriter, *http.Request) {})
	var location string
	var status int
	p := startPlatform(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
	l := forwarder(t, p.URL, Config{}).Link("ws", "e1")
	asked := int64(0)
	for _, status = range []int{300, 301, 302, 303, 304, 307, 308} {
		for _, location = range []string{trap.URL + ownPath, ownPath + "/x", "/", "::", ""} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				asked++
				reply := ask(t, l, legacywire.Request{Method: method, Body: []byte("x")})
				if got := reply.Headers["location"]; reply.Status != status || got != location {
					t.Errorf("%d to %q: got %+v", status, location, reply)
				}
			}
		}
	}
	if trap.asked.Load() != 0 || p.asked.Load() != asked {
		t.Errorf("got %d requests there and %d here, want 0 and %d", trap.asked.Load(), p.asked.Load(), asked)
	}
}

func TestAWorkerGetsEachHeaderOnceAndNoneOfCredentialsOrOfTheHop(t *testing.T) {
	p := startPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, name := range []string{"Authorization", "Set-Cookie", "Cookie", "Keep-Alive", "Proxy-Authenticate",
			"Proxy-Authorization", "Proxy-Connection", "TE", "Upgrade", "X-Hop", "X-Hop-2"} {
			h[name] = []string{secret, secret}
		}
		h["Connection"] = []string{"keep-alive, X-HOP", "x-hop-2"}
		h["Trailer"] = []string{"X-Later"}
		h["X-MANY"] = []string{"a", "b, c", ""}
		h["x-latin"] = []string{"\xe9\t\""}
		h["Content-Encoding"] = []string{"identity"}
		h["Content-Type"] = []string{"application/json"}
		h["Date"] = nil
		_, _ = io.WriteString(w, "{}")
		h["X-Later"] = []string{secret}
	})
	reply := ask(t, forwarder(t, p.URL, Config{}).Link("ws", "e1"), legacywire.Request{})
	want := map[string]string{
		"content-type": "application/json", "x-many": "a, b, c, ", "x-latin": "é\t\"", "content-encoding": "identity",
	}
	if reply.Status != 200 || reply.Body != "{}" || !maps.Equal(reply.Headers, want) {
		t.Errorf("got %+v, want the headers %q", reply, want)
	}
}

func TestAHeaderWithANameThatIsNoneIsLeftOut(t *testing.T) {
	p := startPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: 1\r\na b: 2\r\nA B: 3\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}
	})
	reply := ask(t, forwarder(t, p.URL, Config{}).Link("ws", "e1"), legacywire.Request{})
	if want := map[string]string{"x": "1", "content-length": "0"}; !maps.Equal(reply.Headers, want) {
		t.Errorf("got %+v, want the headers %q", reply, want)
	}
}

func TestAnAnswerIsPassedOnWhateverItSays(t *testing.T) {
	var status int
	var body string
	p := startPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	f := forwarder(t, p.URL, Config{})
	for _, c := range []struct {
		status       int
		body, passed string
	}{
		{200, `{"ok":true}`, `{"ok":true}`}, {201, "", ""}, {204, "", ""}, {401, `"`, `"`}, {429, "\x00\n", "\x00\n"},
		{500, "é\U0001F600", "é\U0001F600"}, {503, "a\xff\xe2\x82b", "a\ufffd\ufffdb"}, {200, "\xef\xbb\xbfx", "x"},
		{599, "x", "x"},
	} {
		status, body = c.status, c.body
		if reply := ask(t, f.Link("ws", "e1"), legacywire.Request{}); reply.Status != c.status || reply.Body != c.passed {
			t.Errorf("%d %q: got %+v", c.status, c.body, reply)
		}
	}
}

func TestAnAnswerThatCantBePassedOnFails(t *testing.T) {
	const most = 1 << 16
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    string
	}{
		"an endless body": {func(w http.ResponseWriter, r *http.Request) {
			for part := bytes.Repeat([]byte("x"), 4096); ; {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}, "too long"},
		"a body that says how long it is": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(most+1))
			w.WriteHeader(200)
		}, "too long"},
		"a body that is long as text": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte{1}, most))
		}, "too long"},
		"endless headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, "protocol"},
		"a compressed body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x1f\x8b")
		}, "compressed"},
		"half a body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, secret[:3])
		}, "protocol"},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, secret+"\r\n\r\n")
				_ = conn.Close()
			}
		}, "protocol"},
		"another protocol": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
				_ = conn.Close()
			}
		}, "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startPlatform(t, c.handler)
			var log bytes.Buffer
			f := forwarder(t, p.URL, Config{MaxResponse: most, Log: slog.New(slog.NewTextHandler(&log, nil))})
			l := f.Link("ws", "e1")
			wantRefusal(t, ask(t, l, legacywire.Request{
				Method: http.MethodPost, Path: ownPath + "/" + secret + "?x=" + secret, Body: []byte(secret),
				Headers: []legacywire.Header{{Name: "authorization", Value: "Bearer " + secret}},
			}), 502, failed)
			l.Wait()
			if line := log.String(); strings.Contains(line, secret) || strings.Count(line, "\n") != 1 ||
				!strings.Contains(line, "workspace=ws executor=e1") || !strings.Contains(line, "kind="+strconv.Quote(c.kind)) &&
				!strings.Contains(line, "kind="+c.kind+"\n") {
				t.Errorf("got log %q, want one line of kind %q without the credential", line, c.kind)
			}
			if s := f.Stats(); s != (Stats{Failed: 1}) {
				t.Errorf("got %+v, want 1 failed", s)
			}
		})
	}
}

func TestAnAnswerIsAsLongAsMayBe(t *testing.T) {
	p := startPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(`"`, 1<<20)) // each of which takes two bytes
	})
	reply := ask(t, forwarder(t, p.URL, Config{}).Link("ws", "e1"), legacywire.Request{})
	if reply.Status != 200 || len(reply.Body) != 1<<20 {
		t.Errorf("got %d with %d bytes, want 200 with 1 MiB", reply.Status, len(reply.Body))
	}
}

func TestAPlatformThatIsNotThereOrNotItselfFails(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	stranger := httptest.NewUnstartedServer(nil)
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	stranger.StartTLS()
	defer stranger.Close()
	for kind, address := range map[string]string{"connection": gone.URL, "certificate": stranger.URL} {
		t.Run(kind, func(t *testing.T) {
			var log bytes.Buffer
			l := forwarder(t, address, Config{Log: slog.New(slog.NewTextHandler(&log, nil))}).Link("ws", "e1")
			wantRefusal(t, ask(t, l, legacywire.Request{}), 502, failed)
			if !strings.Contains(log.String(), "kind="+kind) {
				t.Errorf("got log %q, want kind %s", &log, kind)
			}
		})
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []Config{
		{}, {Platform: &url.URL{Scheme: "https"}}, {Platform: &url.URL{Scheme: "ws", Host: "x"}},
		{Platform: &url.URL{Scheme: "https", Host: "x", User: url.UserPassword("a", secret)}},
		{Platform: &url.URL{Scheme: "https", Host: "x"}, PerLink: -1},
		{Platform: &url.URL{Scheme: "https", Host: "x"}, Timeout: -1},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%+v: got %v, want an error without the password", c.Platform, err)
		}
	}
}
