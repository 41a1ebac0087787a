package wsconn

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

const mib = 1 << 20

// exchange sends messages of all kinds of lengths from one end and wants them unchanged at the other.
func exchange(t *testing.T, from, to *Conn) {
	t.Helper()
	var sent [][]byte
	for _, n := range []int{0, 1, 125, 126, 127, 4096, 65535, 65536, 200_000, 5, 1000, mib} {
		m := make([]byte, n)
		_, _ = rand.Read(m)
		sent = append(sent, m)
	}
	done := make(chan error, 1)
	go func() {
		var out []byte
		for i, m := range sent {
			out = from.AppendMessage(out, Binary, m)
			if i%3 == 2 {
				if err := from.Send(out); err != nil {
					done <- err
					return
				}
				out = out[:0]
			}
		}
		done <- nil
	}()
	for _, want := range sent {
		kind, got, err := to.ReadMessage(nil)
		if err != nil || kind != Binary || !bytes.Equal(got, want) {
			t.Fatalf("a message of %d bytes: got %d bytes, kind %d, %v", len(want), len(got), kind, err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	t.Run("TCP", func(t *testing.T) {
		c, s := pair(t, mib)
		exchange(t, c, s)
		exchange(t, s, c)
	})
	t.Run("TLS", func(t *testing.T) {
		serverTLS, clientTLS := testTLS(t)
		a, b := sockets(t)
		clientTLS.ServerName = "example.com"
		c := New(tls.Client(a, clientTLS), nil, Config{Client: true, Limit: mib})
		s := New(tls.Server(b, serverTLS), nil, Config{Limit: mib})
		exchange(t, c, s)
		exchange(t, s, c)
	})
	t.Run("byte by byte", func(t *testing.T) {
		a, b := sockets(t)
		s := New(b, nil, Config{Limit: mib})
		go func() {
			for _, x := range join(frame(ws.OpText, true, "hello"), frame(ws.OpBinary, true, strings.Repeat("x", 300))) {
				_, _ = a.Write([]byte{x})
			}
		}()
		for _, want := range []string{"hello", strings.Repeat("x", 300)} {
			if _, got, err := s.ReadMessage(nil); err != nil || string(got) != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
	})
}

func TestWhatWasReadBeforeTheConnectionWasMadeComesFirst(t *testing.T) {
	twos := strings.Repeat("two", 50)
	all := join(frame(ws.OpText, true, "one"), frame(ws.OpText, true, twos), frame(ws.OpText, true, "three"))
	for cut := range len(all) {
		a, b := sockets(t)
		s := New(b, all[:cut], Config{Limit: mib})
		if _, err := a.Write(all[cut:]); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"one", twos, "three"} {
			if _, got, err := s.ReadMessage(nil); err != nil || string(got) != want {
				t.Fatalf("with the first %d bytes: got %q, %v, want %q", cut, got, err, want)
			}
		}
		_, _ = a.Close(), b.Close()
	}
}

func TestAMessageIsAppendedToTheCallersMemory(t *testing.T) {
	c, s := pair(t, 100)
	out := c.AppendMessage(nil, Text, []byte("abc"))
	if err := c.Send(c.AppendMessage(out, Text, bytes.Repeat([]byte("d"), 100))); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2, 10)
	_, got, err := s.ReadMessage(buf)
	if err != nil || string(got) != "\x00\x00abc" || &got[0] != &buf[0] {
		t.Errorf("got %q, %v, want it behind the two bytes, in the same memory", got, err)
	}
	if _, got, err = s.ReadMessage(got); err != nil || len(got) != 105 {
		t.Errorf("got %d bytes, %v; the limit is the message's, not the memory's", len(got), err)
	}
}

func TestFragmentsAreOneMessageAndPingsBetweenThemAreAnswered(t *testing.T) {
	a, b := sockets(t)
	pongs := 0
	s := New(b, nil, Config{Limit: mib, OnPong: func() { pongs++ }})
	_, _ = a.Write(join(
		frame(ws.OpText, false, "f\xc3"), frame(ws.OpPing, true, "are you there"), frame(ws.OpContinuation, false, "\xbcn"),
		frame(ws.OpPong, true, ""), frame(ws.OpContinuation, false, ""), frame(ws.OpContinuation, true, "f"),
	))
	if kind, got, err := s.ReadMessage(nil); err != nil || string(got) != "fünf" || kind != Text {
		t.Fatalf("got %q, %v", got, err)
	}
	if f, err := readFrame(a); err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "are you there" {
		t.Errorf("got %+v, %v, want the pong", f, err)
	}
	if pongs != 1 {
		t.Errorf("got %d pongs, want 1", pongs)
	}
}

func TestWhoBreaksTheProtocolIsToldSo(t *testing.T) {
	rsv := frame(ws.OpText, true, "x")
	rsv[0] |= 0x40
	huge := []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}
	negative := bytes.Clone(huge)
	negative[2] = 0xff
	for name, test := range map[string]struct {
		sent []byte
		code int
	}{
		"a mask is missing":                  {compiled(ws.NewTextFrame([]byte("x"))), CodeProtocol},
		"a reserved bit":                     {rsv, CodeProtocol},
		"a reserved opcode":                  {frame(3, true, "x"), CodeProtocol},
		"a reserved control opcode":          {frame(11, true, "x"), CodeProtocol},
		"a fragmented ping":                  {frame(ws.OpPing, false, "x"), CodeProtocol},
		"a long ping":                        {frame(ws.OpPing, true, strings.Repeat("x", 126)), CodeProtocol},
		"a continuation of nothing":          {frame(ws.OpContinuation, true, "x"), CodeProtocol},
		"a message within another":           {join(frame(ws.OpText, false, "x"), frame(ws.OpText, true, "y")), CodeProtocol},
		"a length with its first bit set":    {negative, CodeProtocol},
		"half a close code":                  {frame(ws.OpClose, true, "x"), CodeProtocol},
		"a close code that stands for none":  {frame(ws.OpClose, true, "\x03\xed"), CodeProtocol},
		"a close code that nobody has given": {frame(ws.OpClose, true, "\x07\xd0"), CodeProtocol},
		"a close reason that is not UTF-8":   {frame(ws.OpClose, true, "\x03\xe8\xff"), CodeNotUTF8},
		"a text that is not UTF-8":           {frame(ws.OpText, true, "\xff"), CodeNotUTF8},
		"a text that ends within a character": {
			join(frame(ws.OpText, false, "a"), frame(ws.OpContinuation, true, "\xc3")), CodeNotUTF8,
		},
		"a message above the limit": {huge, CodeTooLarge},
		"one byte above the limit":  {frame(ws.OpText, true, strings.Repeat("x", 1001)), CodeTooLarge},
		"fragments that exceed it": {
			join(frame(ws.OpText, false, strings.Repeat("x", 1000)), frame(ws.OpContinuation, true, "x")), CodeTooLarge,
		},
		"an empty fragment and the huge": {
			join(frame(ws.OpBinary, false, ""), append([]byte{0x80}, huge[1:]...)), CodeTooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := sockets(t)
			s := New(b, nil, Config{Limit: 1000})
			_, _ = a.Write(test.sent)
			_, _ = a.Write(bytes.Repeat([]byte("more that nobody reads "), 1000))
			_, msg, err := s.ReadMessage(nil)
			if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != test.code || !e.Local || msg != nil {
				t.Errorf("the server: got %v, want a CloseError %d", err, test.code)
			}
			if _, _, again := s.ReadMessage(nil); again != err {
				t.Errorf("once more: got %v, want the same error", again)
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				_ = s.Close()
			}()
			if code, reason, _ := closeOf(t, a); code != test.code || reason == "" {
				t.Errorf("the peer: got code %d, %q, want %d and why", code, reason, test.code)
			}
			_ = a.Close()
			<-closed
		})
	}
}

func TestAClientIsAsStrict(t *testing.T) {
	a, b := sockets(t)
	c := New(b, nil, Config{Client: true, Limit: 1000})
	_, _ = a.Write(frame(ws.OpText, true, "masked"))
	_, _, err := c.ReadMessage(nil)
	if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != CodeProtocol {
		t.Errorf("a masked frame of a server: got %v, want code 1002", err)
	}
	f, err := readFrame(a)
	if err != nil || !f.Header.Masked {
		t.Fatalf("got %+v, %v, want a masked close frame", f.Header, err)
	}
	ws.Cipher(f.Payload, f.Header.Mask, 0)
	if code, _ := ws.ParseCloseFrameData(f.Payload); code != CodeProtocol {
		t.Errorf("got code %d, want 1002", code)
	}
}

func TestTheEndOfEitherSideReachesTheOther(t *testing.T) {
	t.Run("End", func(t *testing.T) {
		c, s := pair(t, mib)
		if err := s.Send(s.AppendMessage(nil, Text, []byte("last"))); err != nil {
			t.Fatal(err)
		}
		s.End(4000, "go")
		s.End(4001, "not this")
		if _, _, err := s.ReadMessage(nil); err == nil || *err.(*CloseError) != (CloseError{4000, "go", true}) {
			t.Errorf("its own reader: got %v", err)
		}
		if err := s.Send(s.AppendMessage(nil, Text, []byte("late"))); err == nil {
			t.Error("a message was sent behind the last word")
		}
		s.Ping()
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		if _, got, err := c.ReadMessage(nil); err != nil || string(got) != "last" {
			t.Errorf("got %q, %v, want what was sent before", got, err)
		}
		if _, _, err := c.ReadMessage(nil); err == nil || *err.(*CloseError) != (CloseError{4000, "go", false}) {
			t.Errorf("the peer's reader: got %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	t.Run("a reader that waits", func(t *testing.T) {
		_, s := pair(t, mib)
		got := make(chan error, 1)
		go func() {
			_, _, err := s.ReadMessage(nil)
			got <- err
		}()
		s.End(4000, strings.Repeat("x", 200))
		if e, ok := (<-got).(*CloseError); !ok || e.Code != 4000 || len(e.Reason) != MaxReason {
			t.Errorf("got %v", e)
		}
	})
	t.Run("a close frame without a code", func(t *testing.T) {
		a, b := sockets(t)
		s := New(b, nil, Config{Limit: mib})
		_, _ = a.Write(frame(ws.OpClose, true, ""))
		if _, _, err := s.ReadMessage(nil); err == nil || *err.(*CloseError) != (CloseError{Code: CodeNone}) {
			t.Errorf("got %v", err)
		}
		if f, err := readFrame(a); err != nil || f.Header.OpCode != ws.OpClose || len(f.Payload) != 0 {
			t.Errorf("got %+v, %v, want an empty close frame", f, err)
		}
	})
	t.Run("none at all", func(t *testing.T) {
		a, b := sockets(t)
		s := New(b, nil, Config{Limit: mib})
		_, _ = a.Write(frame(ws.OpText, true, "hello")[:4])
		_ = a.Close()
		if _, _, err := s.ReadMessage(nil); err != io.EOF {
			t.Errorf("got %v, want io.EOF", err)
		}
	})
	t.Run("Abort", func(t *testing.T) {
		c, s := pair(t, mib)
		s.Abort()
		if _, _, err := s.ReadMessage(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
		if err := s.Send(s.AppendMessage(nil, Text, nil)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send: got %v, want net.ErrClosed", err)
		}
		if _, _, err := c.ReadMessage(nil); err == nil {
			t.Error("the peer's reader has no error")
		}
	})
}

// counted counts the writes to a connection.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func TestMessagesThatAreSentTogetherAreOneWrite(t *testing.T) {
	a, b := sockets(t)
	w := &counted{Conn: b}
	s, c := New(w, nil, Config{Limit: mib}), New(a, nil, Config{Client: true, Limit: mib})
	var out []byte
	for i := range 10 {
		out = s.AppendMessage(out, Text, fmt.Append(nil, i))
	}
	if err := s.Send(out); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, got, err := c.ReadMessage(nil); err != nil || string(got) != fmt.Sprint(i) {
			t.Fatalf("got %q, %v, want %d", got, err, i)
		}
	}
	if n := w.writes.Load(); n != 1 {
		t.Errorf("got %d writes, want 1", n)
	}
}

// gated is a connection whose writes wait.
type gated struct {
	net.Conn
	begun, open chan struct{}
}

func (c *gated) Write(b []byte) (int, error) {
	select {
	case c.begun <- struct{}{}:
	default:
	}
	<-c.open
	return c.Conn.Write(b)
}

func TestWhatComesUpDuringAWriteFollowsItAndWaitsForNobody(t *testing.T) {
	a, b := sockets(t)
	w := &gated{Conn: b, begun: make(chan struct{}, 1), open: make(chan struct{})}
	s := New(w, nil, Config{Limit: mib})
	sent := make(chan error, 1)
	go func() { sent <- s.Send(s.AppendMessage(nil, Text, []byte("message"))) }()
	<-w.begun
	s.Ping()
	s.Ping()
	// The reader answers none of these while the writer is at it, and is not held up: it comes to the message behind
	// them.
	for i := range 1000 {
		_, _ = a.Write(frame(ws.OpPing, true, fmt.Sprint(i)))
	}
	_, _ = a.Write(frame(ws.OpText, true, "read"))
	if _, got, err := s.ReadMessage(nil); err != nil || string(got) != "read" {
		t.Fatalf("got %q, %v", got, err)
	}
	s.End(4000, "end")
	close(w.open)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	code, _, before := closeOf(t, a)
	var got []string
	for _, f := range before {
		got = append(got, fmt.Sprintf("%d %s", f.Header.OpCode, f.Payload))
	}
	if want := []string{"1 message", "10 999", "9 "}; fmt.Sprint(got) != fmt.Sprint(want) || code != 4000 {
		t.Errorf("got %q and code %d, want %q and 4000", got, code, want)
	}
}

func TestAPeerThatSendsPingsAndReadsNothingIsCut(t *testing.T) {
	a, b := sockets(t)
	_ = b.(*net.TCPConn).SetWriteBuffer(4096)
	s := New(b, nil, Config{Limit: mib, WriteTimeout: 20 * time.Millisecond})
	flooded := make(chan error, 1)
	go func() {
		ping := bytes.Repeat(frame(ws.OpPing, true, strings.Repeat("x", 125)), 100)
		for {
			if _, err := a.Write(ping); err != nil {
				flooded <- err
				return
			}
		}
	}()
	if _, _, err := s.ReadMessage(nil); err == nil {
		t.Error("the reader has no error")
	}
	_ = s.Close()
	<-flooded
}

func TestAWriterIsNotHeldByAPeerThatReadsNothing(t *testing.T) {
	_, b := sockets(t)
	s := New(b, nil, Config{Limit: mib, WriteTimeout: 20 * time.Millisecond})
	out := s.AppendMessage(nil, Binary, make([]byte, mib))
	for {
		if err := s.Send(out); err != nil {
			break
		}
	}
	if _, _, err := s.ReadMessage(nil); err == nil {
		t.Error("the reader of a connection that was cut has no error")
	}
}

func TestALengthAloneCostsNoMemory(t *testing.T) {
	a, b := sockets(t)
	s := New(b, nil, Config{Limit: 1 << 30})
	_, _ = a.Write([]byte{0x82, 0xff, 0, 0, 0, 0, 0x30, 0, 0, 0, 1, 2, 3, 4})
	_, _ = a.Write(make([]byte, 100))
	_ = a.(*net.TCPConn).CloseWrite()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := s.ReadMessage(nil); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > mib {
		t.Errorf("%d bytes were allocated for a message of which 100 bytes arrived", n)
	}
}

func TestAConnectionThatWaitsHoldsNoBuffer(t *testing.T) {
	all := join(frame(ws.OpText, true, "one"), frame(ws.OpText, true, strings.Repeat("x", 1000)))
	for _, cut := range []int{1, 2, 5, 8, 9, 10, 12, 16, 17, 18, 100, len(all) - 1, len(all)} {
		a, b := sockets(t)
		s := New(b, nil, Config{Limit: mib})
		if _, err := a.Write(all[:cut]); err != nil {
			t.Fatal(err)
		}
		// The deadline has the reader come back from where it waits: nobody else may look at its buffer.
		_ = b.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		for err := error(nil); err == nil; {
			_, _, err = s.readMessage(nil)
		}
		if s.in.buffer != nil {
			t.Errorf("after %d bytes: it holds a buffer", cut)
		}
	}
}
