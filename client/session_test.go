package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout guards against a hang; nothing here is about speed.
const timeout = 60 * time.Second

type env struct {
	t      *testing.T
	ctx    context.Context
	relay  *relaytest.Relay
	ends   *relaytest.Ends
	daemon *client.Listener
	over   string // "websocket": nothing else; "": what the SDK chooses
}

func start(t *testing.T, opts ...relaytest.Option) *env {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(stop)
	e := &env{t: t, ctx: ctx, relay: relaytest.Start(t, opts...), ends: relaytest.Pair(t, "acme", "laptop")}
	return e
}

func (e *env) listen(change ...func(*client.ListenConfig)) *client.Listener {
	e.t.Helper()
	cfg := e.relay.ListenConfig(e.ends)
	for _, f := range change {
		f(&cfg)
	}
	e.choose(&cfg.Config)
	l, err := client.Listen(e.ctx, cfg)
	if err != nil {
		e.t.Fatalf("Listen: %v", err)
	}
	e.t.Cleanup(func() { _ = l.Close() })
	e.daemon = l
	return l
}

func (e *env) dial(change ...func(*client.DialConfig)) *client.Client {
	e.t.Helper()
	cfg := e.relay.DialConfig(e.ends)
	for _, f := range change {
		f(&cfg)
	}
	e.choose(&cfg.Config)
	c, err := client.Dial(e.ctx, cfg)
	if err != nil {
		e.t.Fatalf("Dial: %v", err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	return c
}

// choose makes an endpoint use e.over.
func (e *env) choose(c *client.Config) {
	if e.over == "websocket" {
		c.Relay = strings.Replace(c.Relay, "http", "ws", 1)
	}
}

// overEach runs a test over each transport.
func overEach(t *testing.T, test func(*env), opts ...relaytest.Option) {
	for _, over := range []string{"grpc", "websocket"} {
		t.Run(over, func(t *testing.T) {
			e := start(t, opts...)
			e.over = over
			test(e)
		})
	}
}

// open returns both ends of a session.
func (e *env) open(c *client.Client) (up, down *client.Session) {
	e.t.Helper()
	up, err := c.Open(e.ctx)
	if err != nil {
		e.t.Fatalf("Open: %v", err)
	}
	down, err = e.daemon.Accept(e.ctx)
	if err != nil {
		e.t.Fatalf("Accept: %v", err)
	}
	return up, down
}

func (e *env) send(s *client.Session, msg string) {
	e.t.Helper()
	if err := s.Send(e.ctx, []byte(msg)); err != nil {
		e.t.Fatalf("Send: %v", err)
	}
}

func (e *env) want(s *client.Session, msg string) {
	e.t.Helper()
	got, err := s.Recv(e.ctx)
	if err != nil || string(got) != msg {
		e.t.Fatalf("Recv: got %q, %v, want %q", got, err, msg)
	}
}

func (e *env) wantReason(err error, reason client.Reason, by string) {
	e.t.Helper()
	var ce *client.Error
	if !errors.As(err, &ce) || ce.Reason != reason || ce.By != by {
		e.t.Fatalf("got error %v, want %s (%s)", err, reason, by)
	}
}

func TestMessagesArriveBothWaysAsTheyWereSent(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	if up.ID() != down.ID() || up.Peer() != e.ends.Daemon.Public || down.Peer() != e.ends.Client.Public {
		t.Fatalf("the two ends are not of one session: %v %v", up, down)
	}
	for _, msg := range []string{"", "hello", string(make([]byte, 16000)), string(make([]byte, 16001)), string(make([]byte, up.MaxMessage()))} {
		e.send(up, msg)
		e.want(down, msg)
		e.send(down, msg)
		e.want(up, msg)
	}
	e.wantReason(up.Send(e.ctx, make([]byte, up.MaxMessage()+1)), client.MessageTooLarge, "local")
	e.send(up, "still works")
	e.want(down, "still works")
}

func TestADirectionThatIsClosedEndsCleanlyAndTheOtherGoesOn(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	e.send(up, "last")
	if err := up.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	e.want(down, "last")
	if _, err := down.Recv(e.ctx); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
	e.send(down, "the other way")
	e.want(up, "the other way")
	e.wantReason(up.Send(e.ctx, []byte("x")), client.Closed, "local")
	if err := down.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := up.Recv(e.ctx); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
	<-up.Done()
	<-down.Done()
	if up.Err() != nil || down.Err() != nil {
		t.Fatalf("got ends %v and %v, want clean ones", up.Err(), down.Err())
	}
}

func TestCloseWithErrorTellsThePeerAfterEverythingThatWasSent(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	go func() {
		_ = down.Send(e.ctx, []byte("before"))
		_ = down.CloseWithError("DISK_FULL", "no room left")
	}()
	e.want(up, "before")
	_, err := up.Recv(e.ctx)
	e.wantReason(err, "DISK_FULL", "peer")
	_ = up.Close()
}

func TestAnAbortedSessionIsNeverACleanEnd(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	up.Abort()
	_, err := down.Recv(e.ctx)
	e.wantReason(err, client.Cancelled, "peer")
	_, err = up.Recv(e.ctx)
	e.wantReason(err, client.Cancelled, "local")
}

func TestMegabytesPassBothWaysAtOnceAndMatch(t *testing.T) {
	e := start(t)
	e.listen()
	c := e.dial()
	const size = 8 << 20
	var all sync.WaitGroup
	for n := range 3 {
		up, down := e.open(c)
		for i, s := range []*client.Session{up, down} {
			sum := make(chan [32]byte, 1)
			peer := []*client.Session{down, up}[i]
			all.Go(func() {
				h := sha256.New()
				w := s.Stream()
				r := rand.NewChaCha8([32]byte{byte(n), byte(i)})
				if _, err := io.CopyBuffer(io.MultiWriter(h, struct{ io.Writer }{w}), io.LimitReader(r, size), make([]byte, 300_000)); err != nil {
					t.Errorf("write: %v", err)
				}
				if err := w.CloseWrite(); err != nil {
					t.Errorf("close: %v", err)
				}
				sum <- [32]byte(h.Sum(nil))
			})
			all.Go(func() {
				h := sha256.New()
				if n, err := io.Copy(h, peer.Stream()); err != nil || n != size {
					t.Errorf("read: got %d bytes, %v, want %d", n, err, size)
				}
				if got, want := [32]byte(h.Sum(nil)), <-sum; got != want {
					t.Errorf("got another checksum than was sent")
				}
			})
		}
	}
	all.Wait()
}

func TestAReceiverThatNeverReadsBlocksItsSenderAndNobodyElse(t *testing.T) {
	e := start(t)
	e.listen()
	c := e.dial()
	slow, slowDown := e.open(c)
	quick, quickDown := e.open(c)
	blocked := make(chan error, 1)
	ctx, stop := context.WithCancel(e.ctx)
	go func() {
		for {
			if err := slow.Send(ctx, make([]byte, 100_000)); err != nil {
				blocked <- err
				return
			}
		}
	}()
	for range 50 {
		e.send(quick, "ping")
		e.want(quickDown, "ping")
		e.send(quickDown, "pong")
		e.want(quick, "pong")
	}
	stop()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the sender's context", err)
	}
	_ = slowDown
}

func TestOpenWithoutADaemonIsPeerUnavailable(t *testing.T) {
	e := start(t)
	_, err := e.dial().Open(e.ctx)
	e.wantReason(err, client.PeerUnavailable, "relay")
}

func TestADaemonThatClosesTellsItsClients(t *testing.T) {
	e := start(t)
	l := e.listen()
	up, down := e.open(e.dial())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := up.Recv(e.ctx)
	e.wantReason(err, client.Cancelled, "peer")
	e.wantReason(down.Err(), client.Closed, "local")
	if _, err := l.Accept(e.ctx); !errors.Is(err, client.Closed) {
		t.Fatalf("Accept after Close: got %v, want Closed", err)
	}
}

func TestARefusedTokenIsTheRelaysReason(t *testing.T) {
	e := start(t)
	cfg := e.relay.DialConfig(e.ends)
	cfg.Token = client.StaticToken("not.a.token")
	_, err := client.Dial(e.ctx, cfg)
	e.wantReason(err, client.TokenInvalid, "relay")
	cfg.Token = client.StaticToken(e.relay.Token(identity.Client, "acme", "laptop", relaytest.TTL(-time.Hour)))
	_, err = client.Dial(e.ctx, cfg)
	e.wantReason(err, client.TokenExpired, "relay")
}

func TestSessionsWorkOverTLSAndWithEitherWayOfAdmission(t *testing.T) {
	for name, o := range map[string][]relaytest.Option{
		"TLS": {relaytest.WithTLS()}, "JWKS alone": {relaytest.WithJWKSOnly()}, "validate alone": {relaytest.WithValidateOnly()},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, o...)
			e.listen()
			up, down := e.open(e.dial())
			e.send(up, "over "+name)
			e.want(down, "over "+name)
		})
	}
}

func TestAStreamReadsWhatWasWrittenWhateverTheMessages(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		w := up.Stream()
		_, _ = w.Write(data)
		_ = w.Close()
	}()
	r := down.Stream()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(data))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCloseCancelsASessionWhoseSendIsStuck(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	stuck := make(chan error, 1)
	go func() {
		for {
			if err := up.Send(e.ctx, make([]byte, 100_000)); err != nil {
				stuck <- err
				return
			}
		}
	}()
	// The daemon never reads, so once it holds a window Send is stuck. Close must not wait for it.
	e.wantReason(up.Close(), client.Cancelled, "local")
	if err := <-stuck; !errors.Is(err, client.Cancelled) && !errors.Is(err, client.Closed) {
		t.Fatalf("Send: got %v, want Cancelled, or Closed if Close came between two", err)
	}
	<-down.Done()
	e.wantReason(down.Err(), client.Cancelled, "peer")
}
