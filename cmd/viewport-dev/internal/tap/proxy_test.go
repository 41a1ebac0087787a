package tap

import (
	"bytes"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a server that reads one connection to its end and then writes answer.
func answering(t *testing.T, answer []byte) (address string, got <-chan []byte) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan []byte, 1)
	go func() {
		defer close(received)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		b, _ := io.ReadAll(conn)
		received <- b
		_, _ = conn.Write(answer)
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		for range received {
		}
	})
	return ln.Addr().String(), received
}

func TestAProxyPassesEveryByteOnAndSeesAllOfThem(t *testing.T) {
	leak := data(2, 0)
	leak.Ciphertext = append(noise(70_000), testMark.Bytes...)
	up := connection(t, true, 16384, message(t, leak))
	down := connection(t, false, 16384, message(t, &relayv1.Envelope{Type: relayv1.FrameType_FRAME_TYPE_ACK}))
	address, received := answering(t, down)
	record := NewRecord(10)
	p, err := NewProxy("client", address, newMarks(t, testMark), record)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(up); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(answer, down) {
		t.Errorf("down: got %d bytes, %v; want the %d that were sent", len(answer), err, len(down))
	}
	if got := <-received; !bytes.Equal(got, up) {
		t.Errorf("up: got %d bytes, want the %d that were sent", len(got), len(up))
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	results := p.Results()
	if len(results) != 2 || results[0].Bytes != int64(len(up)) || results[1].Bytes != int64(len(down)) {
		t.Fatalf("got %+v, want %d bytes up and %d down", results, len(up), len(down))
	}
	if f := results[0].Findings; len(f) != 1 || f[0].Count != 1 || len(results[1].Findings) != 0 {
		t.Errorf("got %v and %v, want the mark up once and nothing down", f, results[1].Findings)
	}
	if got := len(record.Tallies()); got != 2 {
		t.Errorf("got %d kinds of envelopes, want 2", got)
	}
}

func TestAProxyThatEndsCutsItsConnectionsAndLeavesNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	p, err := NewProxy("client", ln.Addr().String(), newMarks(t, testMark), NewRecord(1))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("got a byte from a proxy that has ended, want an error")
	}
}

func TestAProxyWhoseRelayIsGoneSaysSo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := ln.Addr().String()
	_ = ln.Close()
	p, err := NewProxy("client", gone, newMarks(t, testMark), NewRecord(1))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(conn)
	_ = conn.Close()
	if err := p.Close(); err == nil {
		t.Error("got no error, want one")
	}
}
