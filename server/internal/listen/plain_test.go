package listen

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
)

func TestOnePlainPortServesGRPCAndHTTP(t *testing.T) {
	p := open(t, Options{})
	for range 3 {
		if got, err := p.call(t, insecure.NewCredentials()); err != nil || got != "insecure" {
			t.Errorf("a gRPC call: got %q, %v, want insecure", got, err)
		}
		if got, want := p.get(t, nil), "HTTP/1.1 tls=false"; got != want {
			t.Errorf("an HTTP request: got %q, want %q", got, want)
		}
	}
	if s := p.mux.Stats(); s.GRPC != 3 || s.HTTP != 3 {
		t.Errorf("got %+v, want 3 gRPC and 3 HTTP connections", s)
	}
}

func TestAPrefaceThatArrivesByteByByteIsStillGRPC(t *testing.T) {
	p := open(t, Options{})
	conn := p.dial(t)
	for i := range len(preface) {
		send(t, conn, preface[i:i+1])
	}
	send(t, conn, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // empty SETTINGS
	header := make([]byte, 9)
	if _, err := io.ReadFull(conn, header); err != nil || header[3] != 4 {
		t.Fatalf("got frame header %x, %v, want the server's SETTINGS (type 4)", header, err)
	}
}

func TestARequestThatOpensLikeThePrefaceIsStillHTTP(t *testing.T) {
	p := open(t, Options{})
	for _, method := range []string{"P", "PR", "PRI", "PROPFIND", "POST", "PRIX"} {
		conn := p.dial(t)
		for _, part := range []string{method, " /", " HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n", "\r\n"} {
			send(t, conn, part)
		}
		if got := closedByPeer(t, conn); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("%s: got %q, want HTTP/1.1 200", method, got)
		}
	}
}

// recorder records the deadline of the connections that a listener accepts.
type recorder struct{ net.Listener }

type recorded struct {
	*net.TCPConn
	deadline time.Time
}

func (r recorder) Accept() (net.Conn, error) {
	conn, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &recorded{TCPConn: conn.(*net.TCPConn)}, nil
}

func (r *recorded) SetDeadline(t time.Time) error {
	r.deadline = t
	return r.TCPConn.SetDeadline(t)
}

// serve runs a Mux of base without servers behind it.
func serve(t *testing.T, base net.Listener, o Options) *Mux {
	t.Helper()
	m := New(base, o)
	served := make(chan error, 1)
	go func() { served <- m.Serve(t.Context()) }()
	t.Cleanup(func() { // t.Context has ended by now
		if err := <-served; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	return m
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	base, err := TCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func TestAServerGetsTheConnectionWithAllItsBytesAndNoDeadline(t *testing.T) {
	for _, first := range []string{preface, "GET / HTTP/1.1\r\n\r\n"} {
		m := serve(t, recorder{listenTCP(t)}, Options{})
		l := m.GRPC()
		if first != preface {
			l = m.HTTP()
		}
		send(t, port{mux: m, addr: m.Addr().String()}.dial(t), first)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if d := conn.(*recorded).deadline; !d.IsZero() {
			t.Errorf("got the connection with deadline %v, want none", d)
		}
		got := make([]byte, len(first))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != first {
			t.Errorf("read %q, %v, want %q", got, err, first)
		}
	}
}

func TestGRPCGetsTheUntouchedTCPConnection(t *testing.T) {
	m := serve(t, listenTCP(t), Options{})
	send(t, port{mux: m, addr: m.Addr().String()}.dial(t), preface)
	conn, err := m.GRPC().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("got a %T, want *net.TCPConn: gRPC pools reads of nothing else", conn)
	}
}

func TestGarbageIsClosedOrAnswered400(t *testing.T) {
	p := open(t, Options{})
	for name, test := range map[string]struct{ send, want string }{
		"zeros":                  {"\x00\x00\x00\x00", ""},
		"a TLS hello":            {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""},
		"high bytes":             {"\xff\xfe\xfd", ""},
		"text":                   {"hello\r\n\r\n", "HTTP/1.1 400"},
		"an empty line":          {"\r\n\r\n", "HTTP/1.1 400"},
		"HTTP without a version": {"GET /\r\n\r\n", "HTTP/1.1 400"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := p.dial(t)
			send(t, conn, test.send)
			if got := closedByPeer(t, conn); !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want %q and then a close", got, test.want)
			}
		})
	}
	if s := p.mux.Stats(); s.Foreign != 3 || s.HTTP != 3 {
		t.Errorf("got %+v, want 3 foreign and 3 HTTP connections", s)
	}
}

func TestWhoSaysTooLittleIsClosedAtTheDeadline(t *testing.T) {
	serverTLS, _ := loadTLS(t)
	for name, test := range map[string]struct {
		options   Options
		send      string
		halfClose bool
	}{
		"nothing":                   {},
		"a part of the preface":     {send: preface[:23]},
		"half-closed in the middle": {send: "PRI", halfClose: true},
		"nothing, TLS":              {options: Options{TLS: serverTLS}},
		"a part of a TLS hello":     {options: Options{TLS: serverTLS}, send: "\x16\x03\x01\x02\x00\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.SniffTimeout = 50 * time.Millisecond
			p := open(t, test.options)
			conn := p.dial(t)
			send(t, conn, test.send)
			if test.halfClose {
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if got := closedByPeer(t, conn); got != "" {
				t.Errorf("got %q, want nothing", got)
			}
			if s := p.mux.Stats(); s.Silent != 1 {
				t.Errorf("got %+v, want 1 silent connection", s)
			}
		})
	}
}

func TestAPeerThatLeavesSilentlyIsCounted(t *testing.T) {
	p := open(t, Options{})
	conn := p.dial(t)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	closedByPeer(t, conn)
	if s := p.mux.Stats(); s.Failed != 1 {
		t.Errorf("got %+v, want 1 failed connection", s)
	}
}

func TestAFloodOfSilentConnectionsIsBoundedAndKeepsNobodyOut(t *testing.T) {
	const most = 3
	p := open(t, Options{MaxPending: most})
	var silent []*net.TCPConn
	for range 3 * most {
		silent = append(silent, p.dial(t))
	}
	for _, conn := range silent[:2*most] { // the oldest gave way
		closedByPeer(t, conn)
	}
	if s := p.mux.Stats(); s.Pending != most || s.Evicted != 2*most {
		t.Errorf("got %+v, want %d pending and %d evicted", s, most, 2*most)
	}
	if got, err := p.call(t, insecure.NewCredentials()); err != nil {
		t.Errorf("a gRPC call during the flood: got %q, %v", got, err)
	}
	send(t, silent[len(silent)-1], "GET / HTTP/1.0\r\n\r\n")
	line, err := bufio.NewReader(silent[len(silent)-1]).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.0 200") {
		t.Errorf("the newest of the silent ones speaks up: got %q, %v, want HTTP/1.0 200", line, err)
	}
}
