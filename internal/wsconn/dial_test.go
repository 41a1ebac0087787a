package wsconn

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// upgrade answers a request that opens a WebSocket, with the first subprotocol that it offers, and returns the server's
// end.
func upgrade(t *testing.T, w http.ResponseWriter, r *http.Request) *Conn {
	if refused := Check(r); refused != nil {
		t.Errorf("a good request: %v", refused)
		return nil
	}
	protocol, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return nil
	}
	received, _ := rw.Reader.Peek(rw.Reader.Buffered())
	s := New(nc, received, Config{Limit: mib})
	// The first message comes together with the answer.
	first := AppendAccept(nil, r.Header.Get("Sec-WebSocket-Key"), protocol)
	_, _ = nc.Write(s.AppendMessage(first, Text, []byte("hello "+r.Header.Get("X-Me")+", "+r.URL.RawQuery)))
	return s
}

func TestDialOpensAConnectionToAServer(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := upgrade(t, w, r)
		for {
			kind, msg, err := s.ReadMessage(nil)
			if err != nil {
				break
			}
			_ = s.Send(s.AppendMessage(nil, kind, msg))
		}
		_ = s.Close()
	})
	for _, secure := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler)
		d := &Dialer{Header: http.Header{"X-Me": {"me"}}, Protocols: []string{"first", "second"}}
		if server.Start(); secure {
			server.Close()
			server = httptest.NewTLSServer(handler)
			d.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig
		}
		c, protocol, err := d.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/ws?a=b", Config{Limit: mib})
		if err != nil {
			t.Fatal(err)
		}
		if protocol != "first" {
			t.Errorf("got subprotocol %q, want the first", protocol)
		}
		if _, got, err := c.ReadMessage(nil); err != nil || string(got) != "hello me, a=b" {
			t.Errorf("got %q, %v", got, err)
		}
		for range 3 {
			_ = c.Send(c.AppendMessage(nil, Text, []byte("echo")))
			if _, got, err := c.ReadMessage(nil); err != nil || string(got) != "echo" {
				t.Errorf("got %q, %v", got, err)
			}
		}
		c.End(CodeNormal, "")
		_ = c.Close()
		server.Close()
	}
}

func TestARefusalTellsTheServersAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"ok":false}`+strings.Repeat(" ", 10_000))
	}))
	defer server.Close()
	_, _, err := new(Dialer).Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), Config{Limit: mib})
	e, ok := errors.AsType[*DialError](err)
	if !ok || e.Status != 503 || e.Header.Get("Retry-After") != "5" ||
		!strings.HasPrefix(string(e.Body), `{"ok":false} `) {
		t.Fatalf("got %v", err)
	}
	if len(e.Body) != maxBody {
		t.Errorf("%d bytes of the body were kept, want %d", len(e.Body), maxBody)
	}
}

// answering is a server that answers every connection with a text, in which ACCEPT is the right Sec-WebSocket-Accept.
func answering(t *testing.T, text string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		in := bufio.NewReader(nc)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.WriteString(nc, strings.ReplaceAll(text, "ACCEPT", acceptOf(r.Header.Get("Sec-WebSocket-Key"))))
		_, _ = io.Copy(io.Discard, in)
	}()
	return "ws://" + l.Addr().String()
}

func TestAnAnswerThatBreaksTheProtocolOpensNothing(t *testing.T) {
	const switches = "HTTP/1.1 101 Switching Protocols\r\n"
	const good = switches + "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	for name, test := range map[string]struct {
		answer string
		offer  []string
		opens  bool
	}{
		"good": {answer: good + "\r\n", opens: true},
		"good with a subprotocol": {
			answer: good + "Sec-WebSocket-Protocol: a\r\n\r\n", offer: []string{"b", "a"}, opens: true,
		},
		"another accept":            {answer: strings.Replace(good, "ACCEPT", "x", 1) + "\r\n"},
		"another protocol":          {answer: strings.Replace(good, "websocket", "h2c", 1) + "\r\n"},
		"no connection header":      {answer: strings.Replace(good, "Connection", "X", 1) + "\r\n"},
		"an extension":              {answer: good + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
		"a subprotocol not offered": {answer: good + "Sec-WebSocket-Protocol: a\r\n\r\n"},
		"no subprotocol":            {answer: good + "\r\n", offer: []string{"a"}},
		"200":                       {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"no HTTP":                   {answer: "hello\r\n\r\n"},
		"headers without an end":    {answer: switches + strings.Repeat("A: b\r\n", 20_000)},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Dialer{Protocols: test.offer}
			c, _, err := d.Dial(t.Context(), answering(t, test.answer), Config{Limit: mib})
			if (err == nil) != test.opens {
				t.Errorf("got %v, want it to open: %v", err, test.opens)
			}
			if c != nil {
				c.Abort()
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(nc))
		cancel() // and no answer
		_, _ = io.Copy(io.Discard, nc)
		_ = nc.Close()
	}()
	if _, _, err := new(Dialer).Dial(ctx, "ws://"+l.Addr().String(), Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	for _, bad := range []string{"http://host", "ws://", "host:80", "ws://user:secret@host", "://"} {
		if _, _, err := new(Dialer).Dial(t.Context(), bad, Config{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without the password", bad, err)
		}
	}
}

func TestCheckRefusesWhatOpensNoWebSocket(t *testing.T) {
	const good = "GET /ws HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for name, test := range map[string]struct {
		from, to string
		status   int // 0: none
	}{
		"good":                 {"", "", 0},
		"version 8":            {": 13", ": 8", 0},
		"other cases":          {"Upgrade: websocket", "upgrade: WebSocket", 0},
		"several protocols":    {"Upgrade: websocket", "Upgrade: h2c, websocket", 0},
		"POST":                 {"GET", "POST", 405},
		"HEAD":                 {"GET", "HEAD", 405},
		"HTTP/1.0":             {"HTTP/1.1", "HTTP/1.0", 400},
		"no upgrade":           {"Upgrade: websocket\r\n", "", 426},
		"h2c":                  {"Upgrade: websocket", "Upgrade: h2c", 426},
		"no connection":        {"Connection", "X", 400},
		"connection: close":    {"keep-alive, Upgrade", "close", 400},
		"version 7":            {": 13", ": 7", 426},
		"no version":           {"Sec-WebSocket-Version: 13\r\n", "", 426},
		"two versions":         {": 13", ": 13\r\nSec-WebSocket-Version: 8", 426},
		"no key":               {"Sec-WebSocket-Key", "X", 400},
		"a short key":          {"AAAA", "", 400},
		"a key of other chars": {"AAAA", "A*AA", 400},
		"two keys":             {"AA==", "AA==\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 400},
		"a body":               {"Host", "Content-Length: 1\r\nHost", 400},
		"a body in chunks":     {"Host", "Transfer-Encoding: chunked\r\nHost", 400},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.Replace(good, test.from, test.to, 1) + "\r\n")))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		status := 0
		if refused := Check(r); refused != nil {
			status = refused.Status
		}
		if status != test.status {
			t.Errorf("%s: got %d, want %d", name, status, test.status)
		}
	}
}

func TestTheAcceptIsThatOfTheRFC(t *testing.T) {
	const want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
	if got := string(AppendAccept(nil, "dGhlIHNhbXBsZSBub25jZQ==", "chat")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
