package route_test

import (
	"sync"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

func TestHandshakesBeyondTheRateAreRefusedUntilTimeHasPassed(t *testing.T) {
	play(t, route.Limits{HandshakesPerSecond: 5, HandshakeBurst: 2}, `
		attach d daemon
		attach c client
		attach c2 client
		c: INIT a, INIT b, INIT x
		c> STATUS RATE_LIMITED x
		d> INIT a, INIT b
		# it holds for nobody else, and not for what is no handshake
		c2: INIT y
		c: RESUME e
		d> INIT y, RESUME e
		+199ms
		c: INIT x
		c> STATUS RATE_LIMITED x
		+1ms
		c: INIT x, INIT z
		c> STATUS RATE_LIMITED z
		d> INIT x
		# a pause fills the bucket, and no more than that
		+1h
		c: INIT z, INIT w, INIT a
		c> STATUS RATE_LIMITED a
		d> INIT z, INIT w
	`)
}

func TestTheLastPlaceOfATargetIsItsDaemons(t *testing.T) {
	play(t, route.Limits{LinksPerTarget: 3}, `
		attach c client
		attach c2 client
		attach c3 client
		! c3 refused CAPACITY
		attach d daemon
		c> STATUS PEER_AVAILABLE
		c2> STATUS PEER_AVAILABLE
		attach d2 daemon gen=2
		! d closed REPLACED
		! d2 admitted
		c> STATUS PEER_AVAILABLE
		c2> STATUS PEER_AVAILABLE
		attach c4 client
		! c4 refused CAPACITY
		detach c
		attach c5 client
	`)
}

func TestARefusalNamesItsLimitAndIsCounted(t *testing.T) {
	var refusals route.Refusals
	now := time.Unix(0, 0)
	target := route.New(route.Config{
		Workspace: workspace, Target: target, Limits: route.Limits{LinksPerTarget: 2}, Refusals: &refusals,
	})
	target.Step(route.Event{Kind: route.Attach, Link: route.NewLink(1, route.Peer{Role: route.Client})}, now)
	effects := target.Step(route.Event{Kind: route.Attach, Link: route.NewLink(2, route.Peer{Role: route.Client})}, now)
	why := effects[0].Reason
	if why.Code != reason.Capacity || why.Meta["limit"] != "links-per-target" || why.Meta["value"] != "2" || why.RetryAfter <= 0 {
		t.Errorf("got %v %v, want CAPACITY of links-per-target 2 with a retry_after", why, why.Meta)
	}
	if n := refusals.Count(route.LinksPerTarget); n != 1 {
		t.Errorf("got %d refusals, want 1", n)
	}
}

// Targets have a mutex each, and one budget.
func TestTargetsThatRunAtOnceNeverExceedTheProcessesBytes(t *testing.T) {
	const targets, tries, limit, size = 16, 20, 1_000_000, 8000
	for range tries {
		budget := route.NewBudget(limit)
		all := make([]*filler, targets)
		for i := range all {
			all[i] = newFiller(budget)
			all[i].fill(3, size) // a trickle passes over the budget: it is there before
		}
		var running sync.WaitGroup
		for _, f := range all {
			running.Go(func() { f.fill(50, size) })
		}
		running.Wait()
		// What is reserved and not forwarded stays counted.
		if n := budget.Used(); n > limit || n < limit-2*size {
			t.Fatalf("got %d bytes, want %d to the last frame that fits", n, limit)
		}
		for _, f := range all {
			if err := f.target.Check(); err != nil {
				t.Error(err)
			}
			f.target.Step(route.Event{Kind: route.Detach, Link: f.daemon}, f.now)
		}
		if n := budget.Used(); n != 0 {
			t.Fatalf("got %d bytes after the end, want none", n)
		}
	}
}

// filler is a target with a session, whose client sends and whose daemon takes nothing.
type filler struct {
	target         *route.Target
	client, daemon *route.Link
	frame          envelope.Frame
	now            time.Time
}

func newFiller(budget *route.Budget) *filler {
	f := &filler{
		target: route.New(route.Config{Workspace: workspace, Target: target, Budget: budget}), now: time.Unix(0, 0),
		daemon: route.NewLink(1, route.Peer{Role: route.Daemon}), client: route.NewLink(2, route.Peer{Role: route.Client}),
	}
	f.target.Step(route.Event{Kind: route.Attach, Link: f.daemon}, f.now)
	f.target.Step(route.Event{Kind: route.Attach, Link: f.client}, f.now)
	h := envelope.Header{
		Encoding: relayv1.Encoding_ENCODING_NOISE, Sequence: 1,
		Workspace: []byte(workspace), Target: []byte(target), Session: []byte(sessionID("a")),
	}
	init, response := h, h
	init.Type, init.BindKey = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, bindKey("a")
	response.Type = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	f.target.Sequence(f.client, &envelope.Frame{Header: init}, f.now)
	f.target.Sequence(f.daemon, &envelope.Frame{Header: response}, f.now)
	h.Type, h.Resend = relayv1.FrameType_FRAME_TYPE_DATA, true // goes on, whatever was dropped before
	f.frame.Header = h
	return f
}

func (f *filler) fill(frames, size int) {
	f.frame.Header.CiphertextLen = size
	for range frames {
		f.frame.Header.Sequence++
		f.target.Sequence(f.client, &f.frame, f.now)
	}
}
