package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/relaytest"
)

// via makes an endpoint reach the relay by a path.
func via(p *path) func(*client.Config) { return func(c *client.Config) { c.Relay = p.url() } }

func (e *env) listenVia(p *path, change ...func(*client.Config)) *client.Listener {
	return e.listen(func(c *client.ListenConfig) {
		via(p)(&c.Config)
		for _, f := range change {
			f(&c.Config)
		}
	})
}

func (e *env) dialVia(p *path, change ...func(*client.Config)) *client.Client {
	return e.dial(func(c *client.DialConfig) {
		via(p)(&c.Config)
		for _, f := range change {
			f(&c.Config)
		}
	})
}

// reach waits until a session is reachable or is not.
func (e *env) reach(s *client.Session, want bool) {
	e.t.Helper()
	for {
		ok, changed := s.Reachable()
		if ok == want {
			return
		}
		select {
		case <-changed:
		case <-s.Done():
			e.t.Fatalf("the session ended: %v", s.Err())
		case <-e.ctx.Done():
			e.t.Fatalf("reachable stayed %t", ok)
		}
	}
}

// flow numbers messages from one end to the other until stop, and then checks that all arrived, once and in order.
type flow struct {
	e    *env
	stop atomic.Bool
	sent chan int
	got  chan int
}

func (e *env) flow(from, to *client.Session) *flow {
	f := &flow{e: e, sent: make(chan int, 1), got: make(chan int, 1)}
	go func() {
		n := 0
		for ; !f.stop.Load(); n++ {
			msg := make([]byte, 8+n%3000)
			binary.BigEndian.PutUint64(msg, uint64(n))
			if err := from.Send(e.ctx, msg); err != nil {
				e.t.Errorf("Send %d: %v", n, err)
				break
			}
		}
		if err := from.CloseWrite(); err != nil {
			e.t.Errorf("CloseWrite: %v", err)
		}
		f.sent <- n
	}()
	go func() {
		n := 0
		for ; ; n++ {
			msg, err := to.Recv(e.ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(msg) != 8+n%3000 || binary.BigEndian.Uint64(msg) != uint64(n) {
				e.t.Errorf("Recv: got message of %d bytes, %v, want the %dth", len(msg), err, n)
				break
			}
		}
		f.got <- n
	}()
	return f
}

func (f *flow) end() {
	f.e.t.Helper()
	f.stop.Store(true)
	if sent, got := <-f.sent, <-f.got; sent != got {
		f.e.t.Errorf("sent %d messages, %d arrived", sent, got)
	}
}

func TestASessionGoesOnWhenTheRelayRestarts(t *testing.T) {
	overEach(t, func(e *env) {
		e.listen()
		up, down := e.open(e.dial())
		flows := []*flow{e.flow(up, down), e.flow(down, up)}
		for range 3 {
			e.relay.Restart()
			e.reach(up, true)
			e.reach(down, true)
		}
		for _, f := range flows {
			f.end()
		}
	})
}

func TestASessionGoesOnWhenEitherNetworkIsCut(t *testing.T) {
	overEach(t, func(e *env) {
		t := e.t
		clients, daemons := newPath(t, e.relay.Addr), newPath(t, e.relay.Addr)
		e.listenVia(daemons)
		up, down := e.open(e.dialVia(clients))
		flows := []*flow{e.flow(up, down), e.flow(down, up)}
		for i := range 6 {
			p := []*path{clients, daemons}[i%2]
			p.cut(true)
			e.reach(up, false) // the client hears of its own link and of its daemon's
			p.cut(false)
			e.reach(up, true)
		}
		for _, f := range flows {
			f.end()
		}
		if err := up.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestALinkThatIsABlackHoleIsFoundDeadEvenByAWriterThatIsStuck(t *testing.T) {
	overEach(t, func(e *env) {
		t := e.t
		clients := newPath(t, e.relay.Addr)
		e.listen()
		up, down := e.open(e.dialVia(clients))
		f := e.flow(up, down)
		clients.blackHole(true)
		e.reach(up, false)
		clients.blackHole(false)
		e.reach(up, true)
		f.end()
	}, relaytest.WithHeartbeat(200*time.Millisecond))
}

func TestOpenWaitsForTheRelayAndTheDaemonToComeBack(t *testing.T) {
	overEach(t, func(e *env) {
		t := e.t
		daemons := newPath(t, e.relay.Addr)
		e.listenVia(daemons)
		c := e.dial()
		e.open(c)
		daemons.cut(true)
		e.relay.Stop()
		opened := make(chan error, 1)
		go func() {
			_, err := c.Open(e.ctx)
			opened <- err
		}()
		e.relay.Restart()
		daemons.cut(false)
		if err := <-opened; err != nil {
			t.Fatalf("Open: %v", err)
		}
	})
}

func TestOpenIsOneThatTakesLongerWhenItsHandshakeIsCutOff(t *testing.T) {
	e := start(t)
	clients := newPath(t, e.relay.Addr)
	asked := make(chan struct{}, 16)
	authorised := make(chan struct{})
	e.listen(func(c *client.ListenConfig) {
		inner := c.Authorise
		c.Authorise = func(ctx context.Context, caller client.Caller) (client.Permission, error) {
			asked <- struct{}{}
			<-authorised
			return inner(ctx, caller)
		}
	})
	c := e.dialVia(clients)
	opened := make(chan *client.Session, 1)
	go func() {
		s, err := c.Open(e.ctx)
		if err != nil {
			t.Errorf("Open: %v", err)
		}
		opened <- s
	}()
	<-asked
	clients.cut(false)
	<-asked // it has begun anew
	close(authorised)
	up := <-opened
	down, err := e.daemon.Accept(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.send(up, "hello")
	e.want(down, "hello")
}

func TestADaemonThatLostItsKeysEndsTheSessionWithOneClearError(t *testing.T) {
	e := start(t)
	daemons := newPath(t, e.relay.Addr)
	e.listenVia(daemons)
	up, _ := e.open(e.dial())
	daemons.cut(true) // the old process is gone for the relay
	e.reach(up, false)
	e.listen()
	_, err := up.Recv(e.ctx)
	e.wantReason(err, client.SessionUnknown, "peer")
	if err2 := up.Send(e.ctx, []byte("x")); err2.Error() != err.Error() {
		t.Errorf("Send gives %v, Recv %v, want one error", err2, err)
	}
}

func TestATokenIsRenewedBeforeItExpiresAndTheSessionDoesNotNotice(t *testing.T) {
	overEach(t, func(e *env) {
		t := e.t
		clients, daemons := newPath(t, e.relay.Addr), newPath(t, e.relay.Addr)
		var asked [2]atomic.Int32
		short := func(i int, role identity.Role) func(*client.Config) {
			return func(c *client.Config) {
				c.Token = func(context.Context) (string, error) {
					ttl := time.Hour
					if asked[i].Add(1) == 1 {
						ttl = 2 * time.Second
					}
					return e.relay.Token(role, "acme", "laptop", relaytest.TTL(ttl)), nil
				}
			}
		}
		e.listenVia(daemons, short(0, identity.Daemon))
		up, down := e.open(e.dialVia(clients, short(1, identity.Client)))
		flows := []*flow{e.flow(up, down), e.flow(down, up)}
		for range 2 {
			<-clients.accepted
			<-daemons.accepted
		}
		for _, f := range flows {
			f.end()
		}
	})
}

func TestADrainedRelayIsLeftForTheNextBeforeItEnds(t *testing.T) {
	overEach(t, func(e *env) {
		e.listen()
		up, down := e.open(e.dial())
		f := e.flow(up, down)
		e.relay.Restart()
		e.reach(up, true)
		f.end()
	})
}

func TestASendToAPeerThatDoesNotReadIsToldSo(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial(func(c *client.DialConfig) { c.SendTimeout = 100 * time.Millisecond }))
	var err error
	for sent := 0; err == nil; sent++ {
		err = up.Send(e.ctx, make([]byte, 1000)) // one frame: it is taken whole or not at all
	}
	e.wantReason(err, client.PeerSlow, "peer")
	if err := up.Err(); err != nil {
		t.Fatalf("the session ended: %v", err)
	}
	if _, err := down.Recv(e.ctx); err != nil {
		t.Fatal(err)
	}
}

// revoke tells the platform that all tokens of an installation are revoked.
func (e *env) revoke(installID string) {
	e.t.Helper()
	body, err := json.Marshal(map[string]string{"installId": installID})
	if err != nil {
		e.t.Fatal(err)
	}
	r, err := http.Post(e.relay.PlatformURL+"/dev/revoke", "application/json", bytes.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		e.t.Fatalf("revoke: %s", r.Status)
	}
}

func TestARevokedClientEndsForGoodWithTheRelaysReason(t *testing.T) {
	overEach(t, func(e *env) {
		t := e.t
		clients := newPath(t, e.relay.Addr)
		e.listen()
		token := e.relay.Token(identity.Client, "acme", "laptop", relaytest.InstallID("stolen"))
		c := e.dialVia(clients, func(c *client.Config) { c.Token = client.StaticToken(token) })
		up, _ := e.open(c)
		e.revoke("stolen")
		clients.cut(false)
		<-c.Done()
		_, err := up.Recv(e.ctx)
		e.wantReason(err, "PAIRING_REVOKED", "relay")
		if _, err := c.Open(e.ctx); !errors.Is(err, client.Reason("PAIRING_REVOKED")) || !errors.Is(c.Err(), client.Reason("PAIRING_REVOKED")) {
			t.Errorf("Open gives %v, Err %v, want PAIRING_REVOKED", err, c.Err())
		}
	})
}
