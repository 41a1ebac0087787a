package hostilepath_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/getviewport/relay/client"
)

// unreachable waits until a session knows that it has no way to its peer.
func unreachable(t *testing.T, s *client.Session) {
	t.Helper()
	for ctx := patient(t); ; {
		ok, changed := s.Reachable()
		if !ok {
			return
		}
		select {
		case <-changed:
		case <-s.Done():
			t.Fatalf("the session ended: %v", s.Err())
		case <-ctx.Done():
			t.Fatal("the black hole was never noticed")
		}
	}
}

func TestABlackHoleIsFoundByHeartbeatsAndUntilItHealsSendAndRecvMerelyWait(t *testing.T) {
	w := newWorld(t, often)
	// Upwards it is the relay that misses heartbeats, downwards the endpoint, and both ways each of them.
	for name, held := range map[string][2]bool{
		"upwards": {up: true}, "downwards": {down: true}, "both ways": {true, true},
	} {
		for _, end := range []string{"client", "daemon"} {
			t.Run(fmt.Sprint(end, " ", name), func(t *testing.T) {
				t.Parallel()
				hole, other := newPath(t, w.Addr), newPath(t, w.Addr)
				at := map[string]*path{"client": other, "daemon": other, end: hole}
				c := w.couple(t, fmt.Sprintf("hole-%s-%t-%t", end, held[up], held[down]), at["daemon"], at["client"])
				k := c.talk()
				k.exchange(5)
				witness := w.witness(t, c, end == "daemon")
				before := hole.counts()

				// Connections to come fall into it, too: they are accepted, and nothing is heard of them.
				hole.set(func(f *faults) { f.hold = held })
				k.allow(40)
				unreachable(t, k.up)
				if end == "daemon" && held[down] {
					unreachable(t, k.down)
				}
				hole.await("the endpoint connects again, into the hole", func(n counts) bool {
					return n.conns > before.conns && n.held[up]+n.held[down] > 0
				})
				k.lives()
				witness.exchange(10)
				k.lives()

				hole.heal()
				k.arrive()
				k.exchange(5)
				k.finish()
				witness.finish()
			})
		}
	}
}

func TestAHandshakeThatIsCutInTheMiddleIsBegunAgainAndOpenJustTakesLonger(t *testing.T) {
	w := newWorld(t, seldom)
	for _, end := range []string{"client", "daemon"} {
		for _, direction := range []int{up, down} {
			t.Run(fmt.Sprint(end, []string{" upwards", " downwards"}[direction]), func(t *testing.T) {
				t.Parallel()
				cut := newPath(t, w.Addr)
				at := map[string]*path{"client": w.clean, "daemon": w.clean, end: cut}
				c := w.couple(t, fmt.Sprint("cut-", end, direction), at["daemon"], at["client"])
				first := c.talk() // so that the client has met its daemon: to others it may be away for good
				first.exchange(1)
				first.finish()
				cut.setExisting(func(f *faults) { f.hold[direction] = true })
				type opened struct {
					session *client.Session
					err     error
				}
				result := make(chan opened, 1)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				go func() {
					s, err := c.dialer.Open(ctx)
					result <- opened{s, err}
				}()
				cut.await("a message of the handshake is under way", func(n counts) bool { return n.held[direction] > 0 })
				cut.cut()
				got := <-result
				if got.err != nil {
					t.Fatalf("Open: %v", got.err)
				}
				// The daemon may have accepted the one that the client gave up; that ends by itself.
				for {
					s, err := c.listener.Accept(ctx)
					if err != nil {
						t.Fatalf("Accept: %v", err)
					}
					if s.ID() != got.session.ID() {
						s.Abort()
						continue
					}
					k := newTalk(t, got.session, s)
					k.exchange(5)
					k.finish()
					return
				}
			})
		}
	}
}
