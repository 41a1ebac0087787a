package wsconn

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends tests that would hang; nothing is asserted about it.
const patience = 30 * time.Second

// sockets returns both ends of a TCP connection.
func sockets(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b = <-accepted; b == nil {
		t.Fatal("nothing was accepted")
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	_ = a.SetReadDeadline(time.Now().Add(patience))
	return a, b
}

// testTLS is a server's configuration and the one of a client that trusts it.
func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	return s.TLS, client
}

// pair is a client and a server over a socket.
func pair(t testing.TB, limit int) (client, server *Conn) {
	t.Helper()
	a, b := sockets(t)
	return New(a, nil, Config{Client: true, Limit: limit}), New(b, nil, Config{Limit: limit})
}

// frame is a client's frame as it is on the wire.
func frame(op ws.OpCode, fin bool, payload string) []byte {
	f := ws.NewFrame(op, fin, []byte(payload))
	return compiled(ws.MaskFrameInPlaceWith(f, [4]byte{1, 2, 3, 4}))
}

// readFrame reads a frame of a server.
func readFrame(nc net.Conn) (ws.Frame, error) {
	h, err := ws.ReadHeader(nc)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(nc, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

func compiled(f ws.Frame) []byte { return ws.MustCompileFrame(f) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// closeOf reads what a server sends until the end of the stream, and returns the code and reason of its close frame, 0
// if there was none, with what came before it.
func closeOf(t testing.TB, nc net.Conn) (code int, reason string, before []ws.Frame) {
	t.Helper()
	for {
		f, err := readFrame(nc)
		if err != nil {
			if err != io.EOF {
				t.Errorf("reading the server's frames: %v", err)
			}
			return 0, "", before
		}
		if f.Header.OpCode == ws.OpClose {
			c, r := ws.ParseCloseFrameData(f.Payload)
			return int(c), r, before
		}
		before = append(before, f)
	}
}
