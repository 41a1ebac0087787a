package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/session"
	"github.com/getviewport/relay/internal/wsconn"
)

func TestPausesGrowAlsoWhenLinksAreEstablishedAndClosedAtOnce(t *testing.T) {
	var b backoff
	for i, most := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		b.lived(10 * time.Millisecond)
		if p := b.next(); p < 0 || p > most*time.Second {
			t.Errorf("pause %d is %v, want at most %v s", i, p, most)
		}
		if b.pause < most*time.Second*9/10 {
			t.Errorf("pause %d is drawn from %v, want about %v s", i, b.pause, most)
		}
	}
	b.lived(time.Hour)
	if b.next(); b.pause != firstPause {
		t.Errorf("after a link that lived long the pause is drawn from %v", b.pause)
	}
}

// ends is both ends' links, with nothing in between: what the test does not carry across is not carried.
type ends struct {
	t        testing.TB
	id       Identity
	up, down *link
	client   *Client
	intake   *intake
}

func pairOfLinks(t testing.TB) *ends {
	t.Helper()
	id, err := NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	static, err := id.key()
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{t: t, id: id}
	log := slog.New(slog.DiscardHandler)
	e.intake = &intake{
		cfg:    ListenConfig{SessionLifetime: defaultLifetime},
		daemon: legacycrypto.DaemonConfig{Static: static, Required: legacycrypto.NoiseIK},
		slots:  make(chan struct{}, atOnce), accepted: make(chan *client.Session, backlog),
	}
	e.up, e.down = newLink(log, nil), newLink(log, e.intake.stray)
	e.client = &Client{exchange: legacycrypto.ClientConfig{Profile: legacycrypto.NoiseIK, Daemon: static.Public()}}
	e.client.keeper = newKeeper(context.Background(), &Config{Log: log}, "client", nil)
	e.client.keeper.set(e.up, nil, nil)
	return e
}

// carry takes across what there is, and waits for what that starts.
func (e *ends) carry() {
	for moved := true; moved; {
		moved = false
		for from, to := range map[*link]*link{e.up: e.down, e.down: e.up} {
			for text := from.nextText(); text != nil; text = from.nextText() {
				to.receive(text)
				to.finished.Wait()
				moved = true
			}
		}
	}
}

// open returns both ends of a session.
func (e *ends) open() (up, down *client.Session) {
	e.t.Helper()
	got := make(chan *client.Session, 1)
	go func() {
		s, _ := e.client.Open(context.Background())
		got <- s
	}()
	for {
		e.carry()
		select {
		case up = <-got:
			if up == nil {
				e.t.Fatal("Open failed")
			}
			return up, <-e.intake.accepted
		case <-e.up.wake:
		}
	}
}

func TestOpenWaitsTenSecondsForADaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := pairOfLinks(t)
		began := time.Now()
		_, err := e.client.Open(t.Context())
		if !errors.Is(err, client.HandshakeTimeout) || time.Since(began) != 10*time.Second {
			t.Errorf("Open: %v after %v", err, time.Since(began))
		}
		if len(e.up.waiting) != 0 {
			t.Error("it still waits")
		}
		// The answer that comes now is nobody's.
		e.carry()
		if len(e.up.members) != 0 {
			t.Error("there is a session")
		}
		e.downEnds()
	})
}

// downEnds ends what has timers.
func (e *ends) downEnds() {
	e.down.endAll(session.Link, errClosedHere)
	e.up.endAll(session.Link, errClosedHere)
}

// A daemon's session with a client that left is forgotten, and one that gives way does so before others that are needed
// more.
func TestTheSessionThatIsMissedLeastGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := pairOfLinks(t)
		var ups, downs []*client.Session
		for range 4 {
			up, down := e.open()
			ups, downs = append(ups, up), append(downs, down)
			time.Sleep(time.Second)
		}
		for _, i := range []int{0, 3, 1} { // of 2 nothing is ever heard
			if err := ups[i].Send(t.Context(), []byte("here")); err != nil {
				t.Fatal(err)
			}
			e.carry()
			time.Sleep(time.Second)
		}
		for _, i := range []int{2, 0, 3} {
			e.down.makeRoom(5 - len(gone(downs)) - 1)
			if err := downs[i].Err(); !errors.Is(err, client.Reason("CAPACITY")) {
				t.Fatalf("session %d was to give way: %v", i, err)
			}
		}
		if downs[1].Err() != nil {
			t.Error("the last one has ended")
		}
		e.down.makeRoom(2)
		time.Sleep(defaultLifetime)
		if !errors.Is(downs[1].Err(), client.PeerSilent) {
			t.Errorf("the session with a silent client: %v", downs[1].Err())
		}
		if len(e.down.members) != 0 {
			t.Error("it is still on the link")
		}
		e.downEnds()
	})
}

func gone(all []*client.Session) (n []*client.Session) {
	for _, s := range all {
		if s.Err() != nil {
			n = append(n, s)
		}
	}
	return n
}

func TestSessionsThatNobodyAcceptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := pairOfLinks(t)
		e.intake.accepted = make(chan *client.Session, 1)
		for range 2 {
			go func() { _, _ = e.client.Open(t.Context()) }()
			synctest.Wait()
			e.carry()
		}
		if len(e.down.members) != 1 {
			t.Errorf("%d sessions wait, 1 fits", len(e.down.members))
		}
		e.downEnds()
	})
}

func TestARelayThatIsSilentIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := pairOfLinks(t)
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		e.up.conn = wsconn.New(here, nil, wsconn.Config{Client: true, Limit: 1000, OnPong: e.up.pong})
		began := time.Now()
		e.up.start()
		<-e.up.done
		if d := time.Since(began); d > 5*pingEvery || !errors.Is(e.up.err, client.LinkLost) {
			t.Errorf("the link ended after %v: %v", d, e.up.err)
		}
		_ = there.Close()
		e.up.closeAndWait()
	})
}

// Whatever texts a relay makes up, neither end panics, no session is made or ends but by the relay's own word, and
// what is genuine goes on.
func FuzzLink(f *testing.F) {
	const placeholder = "SESSION"
	f.Add([]byte(`{"type":"relay_status","code":"DAEMON_UNAVAILABLE"}`))
	f.Add([]byte(`{"type":"relay_status","code":1}`))
	f.Add([]byte(`{"type":"relay_key_update_required","sessionId":"SESSION","nextEpoch":2}`))
	f.Add([]byte(`{"type":"e2ee","version":2,"profile":"noise-ik","sessionId":"SESSION","epoch":1,"seq":2,` +
		`"iv":"AAAAAAAAAAAAAAAA","tag":"AAAAAAAAAAAAAAAAAAAAAA","ciphertext":"AAAA"}`))
	f.Add([]byte(`{"type":"relay_key_exchange_init","version":3,"profile":"noise-ik","requestId":"x",` +
		`"previousSessionId":"SESSION"}`))
	f.Add([]byte(`{"type":"relay_pairing_redeem_request","requestId":"x","offerId":"y"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e := pairOfLinks(t)
		up, down := e.open()
		text = bytes.ReplaceAll(text, []byte(placeholder), []byte(up.ID()))
		e.up.receive(text)
		e.down.receive(text)
		e.down.finished.Wait()
		defer e.downEnds()
		if statusCode(text) != "" || bytes.Contains(text, []byte("relay_key_update_required")) {
			return
		}
		if len(e.up.members) != 1 || len(e.down.members) != 1 {
			t.Fatalf("%d and %d sessions", len(e.up.members), len(e.down.members))
		}
		for i, way := range []struct{ from, to *client.Session }{{up, down}, {down, up}} {
			msg := fmt.Sprint("genuine ", i)
			if err := way.from.Send(t.Context(), []byte(msg)); err != nil {
				t.Fatal(err)
			}
			e.carry()
			if got, err := way.to.Recv(t.Context()); err != nil || string(got) != msg {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	})
}

func TestALateAnswerIsNoSession(t *testing.T) {
	e := pairOfLinks(t)
	h, err := legacycrypto.NewClientHandshake(e.client.exchange)
	if err != nil {
		t.Fatal(err)
	}
	init, err := h.Init()
	if err != nil {
		t.Fatal(err)
	}
	o := &opening{link: e.up, exchange: e.client.exchange, handshake: h, ready: make(chan opened, 1)}
	if err := e.up.await(h.RequestID(), o); err != nil {
		t.Fatal(err)
	}
	e.down.receive(init)
	e.down.finished.Wait()
	e.carry()
	o.giveUp() // it has been answered, and nobody has looked
	if len(e.up.members) != 0 || len(o.ready) != 0 {
		t.Error("there is a session that nobody knows")
	}
	e.downEnds()
}

func TestTheEndpointHasTheQueryOfTodaysPeers(t *testing.T) {
	c := Config{URL: "wss://relay.example.com", Workspace: "a:b", Target: "t", Token: client.StaticToken("x")}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	if got := c.endpoint("client"); got != "wss://relay.example.com/ws?role=client&runtimeTargetId=t&workspaceId=a%3Ab" {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{
		"", "relay.example.com", "https://relay.example.com/ws", "wss://relay/ws?token=x", "wss://u:p@relay/ws",
	} {
		c.URL = bad
		if c.check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
