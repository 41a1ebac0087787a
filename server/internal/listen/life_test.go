package listen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials/insecure"
)

// scripted is a listener that returns what its script says, then blocks until it is closed.
type scripted struct {
	script []error // nil: a connection
	closed chan struct{}
	// exhausted is closed when the script is at its end.
	exhausted chan struct{}
}

func (s *scripted) Accept() (net.Conn, error) {
	if len(s.script) == 0 {
		if s.exhausted != nil {
			close(s.exhausted)
		}
		<-s.closed
		return nil, net.ErrClosed
	}
	err := s.script[0]
	s.script = s.script[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	return ours, nil
}

func (s *scripted) Close() error {
	close(s.closed)
	return nil
}

func (s *scripted) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptGoesOnWhenDescriptorsRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &scripted{closed: make(chan struct{}), exhausted: make(chan struct{}), script: []error{
			syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, nil, syscall.EMFILE, nil,
		}}
		m := New(base, Options{})
		served := make(chan error, 1)
		go func() { served <- m.Serve(t.Context()) }()
		<-base.exhausted // the bubble's clock moves on while everything waits
		synctest.Wait()
		if s := m.Stats(); s.AcceptErrors != 4 || s.Accepted != 2 {
			t.Errorf("got %+v, want 4 errors of accept and 2 connections", s)
		}
		_ = m.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
}

func TestAPortThatFailsForGoodEndsServe(t *testing.T) {
	m := New(&scripted{closed: make(chan struct{}), script: []error{syscall.EBADF}}, Options{})
	if err := m.Serve(t.Context()); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
	if _, err := m.GRPC().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after it: got %v, want net.ErrClosed", err)
	}
}

func TestCloseEndsEverythingThatWasNotHandedOver(t *testing.T) {
	m := New(listenTCP(t), Options{})
	served := make(chan error, 1)
	go func() { served <- m.Serve(t.Context()) }()
	p := port{mux: m, addr: m.Addr().String()}

	taken := p.dial(t)
	send(t, taken, preface)
	kept, err := m.GRPC().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	silent, nobodyTakesIt := p.dial(t), p.dial(t)
	send(t, nobodyTakesIt, preface)

	if err := m.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: got %v, want nil", err)
	}
	closedByPeer(t, silent)
	closedByPeer(t, nobodyTakesIt)
	for _, l := range []net.Listener{m.GRPC(), m.HTTP()} {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v, want net.ErrClosed", err)
		}
	}
	send(t, kept, "still there")
	buf := make([]byte, 11)
	if _, err := taken.Read(buf); err != nil || string(buf) != "still there" {
		t.Errorf("the connection that was handed over: got %q, %v, want it to live", buf, err)
	}
}

func TestOneProtocolCanEndWithoutTheOther(t *testing.T) {
	p := open(t, Options{})
	if _, err := p.call(t, insecure.NewCredentials()); err != nil {
		t.Fatal(err)
	}
	p.grpc.Stop()
	conn := p.dial(t)
	send(t, conn, preface)
	if got := closedByPeer(t, conn); got != "" {
		t.Errorf("gRPC after its server stopped: got %q, want a close", got)
	}
	if got := p.get(t, nil); !strings.HasPrefix(got, "HTTP/1.1") {
		t.Errorf("HTTP: got %q, want an answer", got)
	}
}

func TestAPortThatStoppedAcceptingServesWhatItHasAndCanBeOpenedByAnother(t *testing.T) {
	p := open(t, Options{})
	begun, served := p.dial(t), p.dial(t) // they are accepted in this order
	send(t, served, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	readResponse(t, served)
	if err := p.mux.StopAccepting(); err != nil {
		t.Fatal(err)
	}
	if err := p.mux.StopAccepting(); err != nil {
		t.Errorf("twice: got %v, want nil", err)
	}
	successor, err := TCP(t.Context(), p.addr)
	if err != nil {
		t.Fatalf("another one for the same address: %v", err)
	}
	defer func() { _ = successor.Close() }()
	p.dial(t)
	if conn, err := successor.Accept(); err != nil {
		t.Errorf("a new connection does not come to the successor: %v", err)
	} else {
		_ = conn.Close()
	}
	for _, conn := range []net.Conn{served, begun} { // the second has said nothing before
		send(t, conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		readResponse(t, conn)
	}
}

// readResponse reads an answer of HTTP/1.1.
func readResponse(t *testing.T, conn net.Conn) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("got %s, %v, want 200", r.Status, err)
	}
}

func TestOnlyConnectionsThatMayNotHaveBegunAreClosedAsFresh(t *testing.T) {
	m := New(listenTCP(t), Options{SniffTimeout: time.Hour})
	served := make(chan error, 1)
	go func() { served <- m.Serve(t.Context()) }()
	p := port{mux: m, addr: m.Addr().String()}
	take := func() (ours, theirs net.Conn) {
		ours = p.dial(t)
		send(t, ours, preface)
		theirs, err := m.GRPC().Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = theirs.Close() })
		return ours, theirs
	}
	old, oldServed := take()
	m.grpc.fresh[0].at = time.Now().Add(-2 * time.Hour)
	fresh, _ := take()
	m.CloseFresh()
	closedByPeer(t, fresh)
	send(t, oldServed, "alive")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(old, buf); err != nil {
		t.Errorf("one that was taken long ago: %v, want it to live", err)
	}
	_ = m.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve: got %v, want nil", err)
	}
}

func FuzzTheVerdictDoesNotDependOnHowBytesArrive(f *testing.F) {
	for _, seed := range []string{
		preface, preface + "more", "GET / HTTP/1.1", "PRI", "PRI * HTTP/1.1", "\x16\x03\x01", "\r\n", "é",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decided := undecided
		for n := 1; n <= len(b); n++ {
			switch v := classify(b[:n]); {
			case decided != undecided && v != decided:
				t.Fatalf("%q: got %d after %d bytes and %d before", b, v, n, decided)
			case v == undecided && n >= len(preface):
				t.Fatalf("%q: undecided after %d bytes", b, n)
			default:
				decided = v
			}
		}
	})
}

// gate is a log handler that holds up who logs.
type gate struct{ open chan struct{} }

func (g gate) Enabled(context.Context, slog.Level) bool  { return true }
func (g gate) Handle(context.Context, slog.Record) error { <-g.open; return nil }
func (g gate) WithAttrs([]slog.Attr) slog.Handler        { return g }
func (g gate) WithGroup(string) slog.Handler             { return g }

func TestServeReturnsOnlyWhenItsGoroutinesAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{})}
		base := &scripted{closed: make(chan struct{}), script: []error{nil}}
		m := New(base, Options{Log: slog.New(g)})
		served := make(chan error, 1)
		go func() { served <- m.Serve(t.Context()) }()
		synctest.Wait() // the connection is being dropped
		_ = m.Close()
		synctest.Wait()
		select {
		case err := <-served:
			t.Errorf("Serve returned %v while a connection was being dropped", err)
			served <- err
		default:
		}
		close(g.open)
		if err := <-served; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
}
