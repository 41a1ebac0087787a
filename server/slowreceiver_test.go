package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/getviewport/relay/client"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

const (
	// slowWindow is a session's window in these tests, and slowMessage the bytes of a message: one frame.
	slowWindow  = 128 << 10
	slowMessage = 15_000
	// slowBound is how many such messages a sender can get rid of without its peer's reading: a window of them, and
	// one that the peer has put together.
	slowBound = slowWindow/(slowMessage+256) + 1
)

// sender sends numbered messages until it is told to stop, and counts those that Send took.
type sender struct {
	session *client.Session
	sent    atomic.Int64
	full    chan struct{} // closed when it has filled a window
	ended   chan error
}

func slowMessageOf(n int) []byte {
	m := bytes.Repeat([]byte{byte(n)}, slowMessage)
	binary.BigEndian.PutUint64(m, uint64(n))
	return m
}

func sendTo(ctx context.Context, s *client.Session) *sender {
	w := &sender{session: s, full: make(chan struct{}), ended: make(chan error, 1)}
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			if err = s.Send(ctx, slowMessageOf(n)); err == nil && w.sent.Add(1) == slowBound-1 {
				close(w.full)
			}
		}
		w.ended <- err
	}()
	return w
}

// blocked fails the test if the sender got rid of more than a window.
func (w *sender) blocked(t *testing.T) {
	t.Helper()
	if n := w.sent.Load(); n > slowBound {
		t.Errorf("%d messages of %d bytes were taken from the sender, want at most %d", n, slowMessage, slowBound)
	}
	select {
	case err := <-w.ended:
		t.Fatalf("the sender got %v, want it to wait", err)
	default:
	}
}

// readAll receives messages 0 to n-1 of a sender.
func readAll(ctx context.Context, s *client.Session, n int) error {
	for i := range n {
		m, err := s.Recv(ctx)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if !bytes.Equal(m, slowMessageOf(i)) {
			return fmt.Errorf("message %d is not what was sent", i)
		}
	}
	return nil
}

// slow starts a relay with small windows.
func slow(t *testing.T) *relay {
	t.Helper()
	return start(t, func(c *server.Config) { c.Limits.SessionWindow = slowWindow })
}

func TestASenderWaitsForAReceiverThatNeverReadsWhileOthersOfTheSameLinksRunAtFullWindows(t *testing.T) {
	r := slow(t)
	pair := connectSDK(t, client.Config{Relay: "http://" + r.addr}, "slow-one")
	slowUp, slowDown := pair.open()
	fineUp, fineDown := pair.open()
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	// Each end of the slow session sends, and neither reads.
	senders := map[*client.Session]*sender{slowDown: sendTo(ctx, slowUp), slowUp: sendTo(ctx, slowDown)}

	push(t, fineUp, fineDown, 64*slowWindow)
	push(t, fineDown, fineUp, 64*slowWindow)
	for _, w := range senders {
		w.blocked(t)
	}
	// What waits is with the receiver, within its window: the relay keeps none of it.
	admin, asked := r.admin()
	r.until("the relay keeps nothing", func() bool {
		st, err := admin.GetStatus(asked, &relayv1.GetStatusRequest{})
		return err == nil && st.GetQueuedBytes() == 0
	})
	for receiver, w := range senders {
		if err := readAll(ctx, receiver, 10*slowBound); err != nil {
			t.Errorf("once it reads again: %v", err)
		}
		if n := w.sent.Load(); n < 9*slowBound {
			t.Errorf("got %d messages from the sender, want it to go on", n)
		}
	}
	cancel()
	for _, w := range senders {
		<-w.ended
	}
}

// until asks until ok.
func (r *relay) until(what string, ok func() bool) {
	r.t.Helper()
	for ctx := patient(r.t); !ok(); {
		if ctx.Err() != nil {
			r.t.Fatalf("%s: never", what)
		}
	}
}

func TestASenderWhosePeerDoesNotReadIsToldAfterItsTimeAndMayGoOnWhenThatReadsAgain(t *testing.T) {
	t.Parallel()
	r := slow(t)
	pair := connectSDK(t, client.Config{Relay: "http://" + r.addr, SendTimeout: beat}, "slow-told")
	for name, ends := range map[string]func() (from, to *client.Session){
		"up":   pair.open,
		"down": func() (from, to *client.Session) { to, from = pair.open(); return from, to },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := patient(t)
			from, to := ends()
			fineUp, fineDown := pair.open()
			w := sendTo(ctx, from)
			if err := <-w.ended; !errors.Is(err, client.PeerSlow) {
				t.Fatalf("got %v, want PeerSlow", err)
			}
			sent := int(w.sent.Load())
			if sent < slowBound-1 || sent > slowBound {
				t.Errorf("%d messages were taken from the sender, want a window of %d", sent, slowBound)
			}
			// Whoever reads is not slow.
			for n := range 20 {
				for _, s := range [][2]*client.Session{{fineUp, fineDown}, {fineDown, fineUp}} {
					if err := s[0].Send(ctx, []byte{byte(n)}); err != nil {
						t.Fatal(err)
					}
					if m, err := s[1].Recv(ctx); err != nil || !bytes.Equal(m, []byte{byte(n)}) {
						t.Fatalf("got %v, %v, want %d", m, err, n)
					}
				}
			}
			if err := readAll(ctx, to, sent); err != nil {
				t.Errorf("once it reads again: %v", err)
			}
			// Of the message that was not sent nothing was, so it may be sent now.
			err := error(client.PeerSlow)
			for errors.Is(err, client.PeerSlow) { // a busy machine may take longer than the time
				err = from.Send(ctx, slowMessageOf(sent))
			}
			if err != nil {
				t.Fatal(err)
			}
			if m, err := to.Recv(ctx); err != nil || !bytes.Equal(m, slowMessageOf(sent)) {
				t.Errorf("got %d bytes, %v, want the next message", len(m), err)
			}
		})
	}
}

func TestASenderThatIsToldInTheMiddleOfAMessageEndsTheSessionAndItsPeerGetsNoPartOfIt(t *testing.T) {
	t.Parallel()
	r := slow(t)
	pair := connectSDK(t, client.Config{Relay: "http://" + r.addr, SendTimeout: beat}, "slow-part")
	up, down := pair.open()
	ctx := patient(t)
	if err := up.Send(ctx, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := up.Send(ctx, make([]byte, 2*slowWindow)); !errors.Is(err, client.PeerSlow) {
		t.Fatalf("got %v, want PeerSlow", err)
	}
	if m, err := down.Recv(ctx); string(m) != "whole" {
		t.Errorf("got %d bytes, %v, want what was sent before", len(m), err)
	}
	if m, err := down.Recv(ctx); !errors.Is(err, client.Cancelled) {
		t.Errorf("got %d bytes, %v, want Cancelled", len(m), err)
	}
	if err := up.Err(); !errors.Is(err, client.Cancelled) {
		t.Errorf("the sender's session ended with %v, want Cancelled", err)
	}
}

func TestManyReceiversThatNeverReadCostTheirWindowsAndNoMore(t *testing.T) {
	const many = 60 // twice a burst of handshakes and more
	r := start(t, func(c *server.Config) {
		c.Limits.SessionWindow, c.Limits.HandshakesPerSecond = slowWindow, server.Unlimited
	})
	pair := connectSDK(t, client.Config{Relay: "http://" + r.addr}, "slow-many")
	fineUp, fineDown := pair.open()
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	before := heap()
	var senders []*sender
	var receivers []*client.Session
	for range many {
		up, down := pair.open()
		senders = append(senders, sendTo(ctx, down))
		receivers = append(receivers, up)
	}
	for _, w := range senders {
		select {
		case <-w.full:
		case err := <-w.ended:
			t.Fatalf("a sender got %v before it had filled a window", err)
		}
	}
	push(t, fineUp, fineDown, 16*slowWindow)
	push(t, fineDown, fineUp, 16*slowWindow)
	for _, w := range senders {
		w.blocked(t)
	}
	// A window at the receiver; at the sender another until it is acked, and the buffers that are kept for the next ones;
	// and what a session is made of.
	const most = many * (2*slowWindow + slowWindow/4 + 32<<10)
	if now := heap(); now > before+most {
		t.Errorf("%d sessions that nobody reads cost %d bytes, want at most %d", many, now-before, most)
	}
	var reading sync.WaitGroup
	for _, s := range receivers {
		reading.Go(func() {
			if err := readAll(ctx, s, 3*slowBound); err != nil {
				t.Errorf("once it reads again: %v", err)
			}
		})
	}
	reading.Wait()
	cancel()
	for _, w := range senders {
		<-w.ended
	}
}

// heap is what is live.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what sync.Pools keep survives one
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
