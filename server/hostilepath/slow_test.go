package hostilepath_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/client"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func TestReceiversBehindABlackHoleFillTheirPartOfTheRelayAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, seldom)
	hole := newPath(t, w.Addr)
	c := w.couple(t, "swamped", w.clean, hole)
	const many = 24 // whose windows together are more than a link's queue
	var talks []*talk
	for range many {
		k := c.talk()
		k.exchange(1)
		talks = append(talks, k)
	}
	witness := w.witness(t, c, false)
	queued := w.queued()
	hole.set(func(f *faults) { f.hold[down] = true })
	for _, k := range talks {
		k.allow(20) // three windows
	}
	for i, k := range talks {
		k.flows[up].wait(t, "what goes up is not held up", func() bool { return k.flows[up].sent > 3 })
		k.flows[down].wait(t, fmt.Sprint("sender ", i, " fills its window"), func() bool { return k.flows[down].sent > 3 })
	}
	// Beyond its budget a link keeps 32 KiB of each session (docs/protocol.md, Flow control), and what memory a frame pins.
	const most = 1<<20 + many*(48<<10)
	for range 10 {
		witness.exchange(2)
		if n := queued(); n > most {
			t.Errorf("the relay keeps %d bytes, want at most %d", n, most)
		}
	}
	if n := queued(); n < 200<<10 {
		t.Errorf("the relay keeps %d bytes: the receivers are not behind", n)
	}
	for _, k := range talks {
		k.lives()
		// A window, and the message that has begun: its last part waits for more.
		if n := k.flows[down].bytes(); n > limits.SessionWindow+longest {
			t.Errorf("%d bytes were taken from a sender, want at most a window", n)
		}
	}
	hole.heal()
	for _, k := range talks {
		k.arrive()
		k.finish()
	}
	witness.finish()
}

// bytes is how much of the flow Send has taken and Recv has not given.
func (f *flow) bytes() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := f.received; i < f.sent; i++ {
		n += len(f.message(i))
	}
	return n
}

// queued returns what tells how many bytes the relay's queues keep.
func (w *world) queued() func() uint64 {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+w.AdminAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(patient(w.t), "authorization", "Bearer "+w.AdminToken)
	admin := relayv1.NewAdminServiceClient(conn)
	return func() uint64 {
		st, err := admin.GetStatus(ctx, &relayv1.GetStatusRequest{})
		if err != nil {
			w.t.Fatalf("GetStatus: %v", err)
		}
		return st.GetQueuedBytes()
	}
}

func TestASendThatWaitsForALostPathIsNotToldThatItsPeerIsSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, often)
	hole, clock := newPath(t, w.Addr), newPath(t, w.Addr)
	c := w.couple(t, "patient", w.clean, w.clean)
	soon := func(c *client.Config) { c.SendTimeout = 2 * time.Second }
	k := c.talkBy(w.dial(t, c.ends, hole, []func(*client.Config){soon}))
	w.couple(t, "clock", w.clean, clock)
	k.exchange(3)
	hole.set(func(f *faults) { f.hold = [2]bool{true, true} })
	unreachable(t, k.up)
	k.allow(40)
	before := clock.counts().data
	clock.await("heartbeats of twice the time", func(n counts) bool { return more(before, n.data, 16) })
	k.lives()
	hole.heal()
	k.arrive()
	k.finish()
}
