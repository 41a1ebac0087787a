package legacy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/internal/legacycrypto"
)

func TestMessagesArriveBothWaysInBothProfiles(t *testing.T) {
	for _, profile := range []identity.Profile{identity.NoiseIK, identity.NoiseIKpsk2} {
		t.Run(profile.String(), func(t *testing.T) {
			e := start(t)
			e.listen()
			change := func(*legacy.DialConfig) {}
			if profile == identity.NoiseIKpsk2 {
				change = e.paired("phone")
			}
			up, down := e.open(e.dial(change))
			if up.ID() != down.ID() || up.Profile() != profile || down.Profile() != profile || !up.Legacy() {
				t.Fatalf("the two ends are not of one session of %v: %v %v", profile, up.ID(), down.ID())
			}
			if !up.Peer().IsZero() || up.PeerVersion() != "" || down.PairingPeerID() != "" {
				t.Error("a session claims to know what it can't")
			}
			for _, msg := range []string{"hello", "{}", strings.Repeat("ü", 40_000), strings.Repeat("x", up.MaxMessage())} {
				e.send(up, msg)
				e.want(down, msg)
				e.send(down, msg)
				e.want(up, msg)
			}
			if want := map[identity.Profile]string{identity.NoiseIKpsk2: "phone"}[profile]; down.PairingPeerID() != want {
				t.Errorf("the client is said to be %q, want %q", down.PairingPeerID(), want)
			}
		})
	}
}

func TestADaemonMaySpeakFirst(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	e.send(down, "welcome")
	e.want(up, "welcome")
}

func TestWhatTheProtocolCantCarryIsRefusedAndTheSessionGoesOn(t *testing.T) {
	e := start(t)
	e.listen()
	up, down := e.open(e.dial())
	e.wantReason(up.Send(e.ctx, nil), "FRAME_INVALID", "local")
	e.wantReason(up.Send(e.ctx, []byte{0xff}), "FRAME_INVALID", "local")
	e.wantReason(up.Send(e.ctx, make([]byte, up.MaxMessage()+1)), client.MessageTooLarge, "local")
	if err := up.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite: got %v, want errors.ErrUnsupported", err)
	}
	e.send(up, "still here")
	e.want(down, "still here")
}

func TestCloseWaitsForWhatWasSentAndThePeerLearnsNothing(t *testing.T) {
	e := start(t)
	e.listen()
	c := e.dial()
	up, down := e.open(c)
	for range 200 {
		e.send(up, strings.Repeat("m", 10_000))
	}
	if err := up.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := up.Close(); err != nil {
		t.Fatalf("the second Close: %v", err)
	}
	e.wantReason(up.Err(), client.Closed, "local")
	_, err := up.Recv(e.ctx)
	e.wantReason(err, client.Closed, "local")
	e.wantReason(up.Send(e.ctx, []byte("late")), client.Closed, "local")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if msg, err := down.Recv(e.ctx); err != nil || len(msg) != 10_000 {
			t.Fatalf("message %d: %d bytes, %v", i, len(msg), err)
		}
	}
	if err := down.Err(); err != nil {
		t.Fatalf("the daemon's session ended: %v", err)
	}
}

func TestWhatWasSentStillGoesOutWhenTheClientIsClosed(t *testing.T) {
	e := start(t)
	e.listen()
	c := e.dial()
	up, down := e.open(c)
	const n = 100
	for range n {
		e.send(up, strings.Repeat("m", 10_000))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	e.wantReason(up.Err(), client.Closed, "local")
	for i := range n {
		if msg, err := down.Recv(e.ctx); err != nil || len(msg) != 10_000 {
			t.Fatalf("message %d: %d bytes, %v", i, len(msg), err)
		}
	}
}

func TestSessionsEndWithTheirLinkAndNewOnesCanBeOpened(t *testing.T) {
	e := start(t)
	e.listen()
	c := e.dial()
	up, down := e.open(c)
	e.send(down, "before")
	e.want(up, "before")
	e.send(up, "unread")
	e.send(up, "unread")
	e.want(down, "unread")
	e.relay.cut(true)
	for _, s := range []*client.Session{up, down} {
		waitFor(e.ctx, t, s.Done(), "the end of a session")
	}
	if msg, err := down.Recv(e.ctx); err == nil && string(msg) != "unread" {
		t.Fatalf("got %q", msg)
	} else if err == nil {
		_, err = down.Recv(e.ctx)
		e.wantReason(err, client.LinkLost, "link")
	}
	_, err := up.Recv(e.ctx)
	e.wantReason(err, client.LinkLost, "link")
	e.wantReason(up.Close(), client.LinkLost, "link")
	up = e.reopen(c)
	down, err = e.daemon.Accept(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.send(up, "again")
	e.want(down, "again")
}

// reopen opens a session after faults: until the daemon is back, too.
func (e *env) reopen(c *legacy.Client) *client.Session {
	e.t.Helper()
	for {
		s, err := c.Open(e.ctx)
		switch {
		case err == nil:
			return s
		case errors.Is(err, client.PeerUnavailable), errors.Is(err, client.LinkLost):
		default:
			e.t.Fatalf("Open: %v", err)
		}
	}
}

func TestWithoutADaemonOpenSaysSoAndOpenSessionsEnd(t *testing.T) {
	e := start(t)
	c := e.dial()
	_, err := c.Open(e.ctx)
	e.wantReason(err, client.PeerUnavailable, "relay")
	l := e.listen()
	up, _ := e.open(c)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for up.Err() == nil { // the relay says it upon a message
		_ = up.Send(e.ctx, []byte("are you there?"))
	}
	e.wantReason(up.Err(), client.PeerUnavailable, "relay")
	_, err = up.Recv(e.ctx)
	e.wantReason(err, client.PeerUnavailable, "relay")
}

// Over a thousand messages each way cross several changes of keys, and nothing shows of it.
func TestKeysChangeInTheMiddleOfTrafficAndNobodyNotices(t *testing.T) {
	for _, profile := range []identity.Profile{identity.NoiseIK, identity.NoiseIKpsk2} {
		t.Run(profile.String(), func(t *testing.T) {
			e := start(t)
			var mu sync.Mutex
			ids := map[string]uint64{}
			e.relay.change = func(f frame) []frame {
				if env, ok := parsed(t, f.text).(*legacycrypto.Envelope); ok {
					mu.Lock()
					ids[env.SessionID] = env.Epoch
					mu.Unlock()
				}
				return []frame{f}
			}
			e.listen()
			change := func(*legacy.DialConfig) {}
			if profile == identity.NoiseIKpsk2 {
				change = e.paired("phone")
			}
			up, down := e.open(e.dial(change))
			id := up.ID()
			var all sync.WaitGroup
			// An end sends no more than 20 messages ahead of what it has received, so that it meets the call for a new key.
			const n, ahead = 1100, 20
			for _, end := range []*client.Session{up, down} {
				may := make(chan bool, n+ahead)
				for range ahead {
					may <- true
				}
				all.Go(func() {
					for i := range n {
						<-may
						if err := end.Send(e.ctx, fmt.Appendf(nil, "message %d", i)); err != nil {
							t.Errorf("Send %d: %v", i, err)
							return
						}
					}
				})
				all.Go(func() {
					for i := range n {
						got, err := end.Recv(e.ctx)
						if err != nil || string(got) != fmt.Sprintf("message %d", i) {
							t.Errorf("Recv %d: got %q, %v", i, got, err)
							close(may)
							return
						}
						may <- true
					}
				})
			}
			all.Wait()
			if up.ID() != id || down.ID() != id {
				t.Error("the application sees another id")
			}
			mu.Lock()
			defer mu.Unlock()
			if len(ids) < 3 {
				t.Errorf("%d keys for 2200 messages: it was to be at least 3", len(ids))
			}
			for s, epoch := range ids {
				if epoch < 1 || epoch > uint64(len(ids)) {
					t.Errorf("session %s has epoch %d", s, epoch)
				}
			}
		})
	}
}

func TestADaemonThatRequiresAPairingDoesNotAnswerOthers(t *testing.T) {
	e := start(t)
	refused := make(logged, 10)
	e.listen(func(c *legacy.ListenConfig) { c.Profile, c.Log = identity.NoiseIKpsk2, slog.New(refused) })
	known := e.paired("phone")
	up, down := e.open(e.dial(known))
	e.send(up, "it is me")
	e.want(down, "it is me")
	for name, change := range map[string]func(*legacy.DialConfig){
		"noise-ik":        func(*legacy.DialConfig) {},
		"unknown pairing": func(c *legacy.DialConfig) { known(c); c.PairingPeerID = "nobody" },
		"wrong key": func(c *legacy.DialConfig) {
			other, err := legacy.NewIdentity("")
			if err != nil {
				t.Fatal(err)
			}
			known(c)
			c.Daemon = other.Public()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, ctx := e.dial(change), make(chan error, 1)
			stopped, stop := context.WithCancel(e.ctx)
			go func() {
				_, err := c.Open(stopped)
				ctx <- err
			}()
			for m := ""; m != "refused a key exchange"; {
				select {
				case m = <-refused:
				case <-e.ctx.Done():
					t.Fatal("the daemon did not refuse")
				}
			}
			e.send(down, "what was answered came before this")
			e.want(up, "what was answered came before this")
			stop()
			if err := <-ctx; !errors.Is(err, context.Canceled) {
				t.Errorf("Open: got %v, want it to wait for an answer that does not come", err)
			}
		})
	}
}

// logged gets what is logged as a warning or an error.
type logged chan string

func (l logged) logger() *slog.Logger { return slog.New(l) }

func (l logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l logged) WithGroup(string) slog.Handler                    { return l }
func (l logged) Handle(_ context.Context, r slog.Record) error {
	select {
	case l <- r.Message:
	default:
	}
	return nil
}

// The daemon can't know that the client's PSK is another, and answers; the answer does not verify.
func TestAWrongPSKOpensNothing(t *testing.T) {
	e := start(t)
	e.listen()
	known := e.paired("phone")
	e.relay.change = func(f frame) []frame {
		if f.up {
			return []frame{f}
		}
		return []frame{f, {text: []byte(`{"type":"relay_status","code":"DAEMON_UNAVAILABLE"}`)}}
	}
	e.relay.loose = true
	c := e.dial(func(c *legacy.DialConfig) {
		known(c)
		c.PSK = identity.NewSecret([32]byte{9})
	})
	_, err := c.Open(e.ctx) // ended by the word of the relay, which came after the answer
	e.wantReason(err, client.PeerUnavailable, "relay")
}

func TestManySessionsShareALink(t *testing.T) {
	e := start(t)
	e.listen()
	go func() {
		for {
			s, err := e.daemon.Accept(e.ctx)
			if err != nil {
				return
			}
			go func() {
				for {
					msg, err := s.Recv(e.ctx)
					if err != nil {
						return
					}
					_ = s.Send(e.ctx, msg)
				}
			}()
		}
	}()
	c := e.dial()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			s, err := c.Open(e.ctx)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			for j := range 20 {
				msg := bytes.Repeat(fmt.Appendf(nil, "%d/%d ", i, j), 1+j*100)
				if err := s.Send(e.ctx, msg); err != nil {
					t.Errorf("Send: %v", err)
				}
				if got, err := s.Recv(e.ctx); err != nil || !bytes.Equal(got, msg) {
					t.Errorf("Recv: %v", err)
				}
			}
		})
	}
	all.Wait()
}
