package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var frameLimits = envelope.Limits{MaxEnvelope: 2 << 20, MaxBatch: 64 << 10}

// transport is a link's end that discards what it is given to send.
type transport struct {
	hub  *Hub
	link *Link
	sent func(frames int)
}

func attach(h *Hub, target string, peer route.Peer) (*transport, error) {
	tr := &transport{hub: h, sent: func(int) {}}
	link, err := h.Attach(context.Background(), Info{Workspace: "w", Target: target, Peer: peer}, func() { h.Go(tr.send) })
	if err != nil {
		return nil, err
	}
	tr.link = link
	link.Open()
	return tr, nil
}

func (tr *transport) send() {
	for {
		var o envelope.Outgoing
		if !tr.link.Take(16379, &o) {
			return
		}
		tr.sent(o.Frames())
		o.Free()
	}
}

// receive is a batch that arrived.
func (tr *transport) receive(b *Batch, headers ...envelope.Header) *reason.Error {
	var message []byte
	for i := range headers {
		h := &headers[i]
		h.Workspace, h.Target, h.Encoding = []byte("w"), []byte(tr.link.Target), relayv1.Encoding_ENCODING_NOISE
		message = envelope.Append(message, h, make([]byte, 100))
	}
	_, end := tr.link.Receive(b, message)
	return end
}

func keyOf(n int) []byte { return append(make([]byte, 14), byte(n>>8), byte(n)) }

func frame(n int, typ relayv1.FrameType, sequence uint64) envelope.Header {
	key := keyOf(n)
	h := envelope.Header{Type: typ, Session: []byte(envelope.SessionID(key)), Sequence: sequence}
	if typ == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT {
		h.BindKey = key
	}
	if typ <= relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE {
		h.Profile = relayv1.Profile_PROFILE_NOISE_IK
	}
	return h
}

func TestLinksThatComeAndGoWhileTheySendLeaveAConsistentHub(t *testing.T) {
	h := New(route.Limits{Heartbeat: 5 * time.Millisecond, SessionWindow: 128 << 10}, frameLimits)
	const rounds = 30
	var running sync.WaitGroup
	for worker := range 8 {
		running.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			var b Batch
			for round := range rounds {
				peer := route.Peer{Role: route.Client}
				if worker%4 == 0 {
					peer = route.Peer{Role: route.Daemon, InstallID: "i"}
				}
				tr, err := attach(h, []string{"a", "b"}[worker%2], peer)
				if err != nil {
					t.Errorf("attach: %v", err)
					return
				}
				n := worker*rounds + round
				for i := range uint64(20) {
					if peer.Role == route.Client {
						typ := relayv1.FrameType_FRAME_TYPE_DATA
						if i == 0 {
							typ = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
						}
						tr.receive(&b, frame(n, typ, i+1))
					} else {
						// Answers whatever session may be there by now, and sends to it.
						other := random.IntN(8*rounds) | 1
						tr.receive(&b, frame(other, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, 1),
							frame(other, relayv1.FrameType_FRAME_TYPE_DATA, 2))
					}
				}
				if round%7 == 0 {
					if err := h.Check(); err != nil {
						t.Errorf("in the middle: %v", err)
					}
				}
				tr.link.Detach()
				tr.link.Detach() // twice is no harm
			}
		})
	}
	running.Wait()
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	h.Drain(context.Background(), 0)
	h.Wait()
	if total := h.Totals(); total.Clients+total.Daemons != 0 || total.Queued != 0 {
		t.Errorf("got %+v, want no link and nothing queued", total)
	}
}

func TestATargetThatHoldsNothingIsForgotten(t *testing.T) {
	h := New(route.Limits{}, frameLimits)
	for range 3 {
		tr, err := attach(h, "a", route.Peer{Role: route.Client})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(h.Targets()); n != 1 {
			t.Errorf("with a link: got %d targets, want 1", n)
		}
		tr.link.Detach()
		if n := len(h.Targets()); n != 0 {
			t.Errorf("without: got %d targets, want 0", n)
		}
	}
	h.Wait()
}

func TestTrafficOfLinksThatHaveEndedStaysCounted(t *testing.T) {
	h := New(route.Limits{}, frameLimits)
	tr, err := attach(h, "a", route.Peer{Role: route.Client})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	if end := tr.receive(&b, frame(1, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, 1)); end != nil {
		t.Fatal(end)
	}
	before := h.Totals().In
	tr.link.Detach()
	if got := h.Totals().In; got != before || got.Frames != 1 {
		t.Errorf("got %+v, want %+v", got, before)
	}
	h.Drain(context.Background(), 0)
	h.Wait()
}

func TestATimerThatFiresAfterTheEndOfItsTargetDoesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(route.Limits{Heartbeat: time.Second}, frameLimits)
		tr, err := attach(h, "a", route.Peer{Role: route.Client})
		if err != nil {
			t.Fatal(err)
		}
		target := h.all()[0]
		tr.link.Detach()
		time.Sleep(time.Hour) // a deadline that was still to come is long past
		target.tick()         // as one that was waiting for the mutex
		time.Sleep(time.Hour) // never passes while a timer comes again at once
		h.Drain(context.Background(), 0)
		h.Wait()
	})
}

func TestWhoeverWaitsForAProbeMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(route.Limits{}, frameLimits)
		first, err := attach(h, "a", route.Peer{Role: route.Daemon, InstallID: "i1"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		second := Info{Workspace: "w", Target: "a", Peer: route.Peer{Role: route.Daemon, InstallID: "i2"}}
		if _, err := h.Attach(ctx, second, func() {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want its context's end", err)
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		// A third one that has patience gets the place of the silent daemon.
		third, err := h.Attach(context.Background(), second, func() {})
		if err != nil {
			t.Fatalf("got %v, want the silent daemon to give way", err)
		}
		<-first.link.Done()
		if code := first.link.Err().Code; code != reason.Replaced {
			t.Errorf("the silent daemon: got %s, want REPLACED", code)
		}
		first.link.Detach()
		third.Detach()
		h.Wait()
	})
}
