package hub

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

// This file is how the links of a relay that goes away are sent to its successor. What they are told is when to come
// back: spread, so that the successor is not run over, but the links of one target together, because a session stands
// still while its ends are at two relays.
//
// In a target the daemon goes first and its clients follow at once when it has left: then whoever comes to the
// successor finds the other end there, and RESUME is answered. A client that comes first finds nobody, waits for
// PEER_AVAILABLE, and up to half a second more.

const (
	// goAnyway is the part of the limit after which the clients of a target go whether or not their daemon has.
	goAnyway = 5
	// comeLater is how long after their daemon the clients of a target that is ended are to come back.
	comeLater = 250 * time.Millisecond
	// comeApart is the least time over which the clients of a target are spread.
	comeApart = 50 * time.Millisecond
	// comeRate bounds how many links a second are sent to the successor, which has to admit them.
	comeRate = 1000
	// refusedRetry is when whoever came too late, on a connection that there was, is to come back.
	refusedRetry = time.Second
)

// Drained is what became of the links of a hub.
type Drained struct {
	// Links were there when Drain began; Left of them left by themselves, Ended were ended at the limit.
	Links, Left, Ended int
}

// Drain refuses new links with DRAINING, tells it to those there are, each with a retry_after of its own within the
// first half of limit, and waits until all have left; what is left at the limit, or when ctx ends, is ended with
// DRAINING. A link that is ended has not left yet: its transport detaches it. Call it once.
func (h *Hub) Drain(ctx context.Context, limit time.Duration) (d Drained) {
	h.mu.Lock()
	h.closed.Store(draining(refusedRetry))
	h.mu.Unlock()
	for _, t := range h.all() {
		d.Links += t.drain(limit)
	}
	atLimit := time.NewTimer(limit)
	defer atLimit.Stop()
	for over := false; !over && h.present.Load() > 0; {
		select {
		case <-h.left:
		case <-atLimit.C:
			over = true
		case <-ctx.Done():
			over = true
		}
	}
	// There may be no successor before this process has ended, so nobody is kept waiting longer than the rate demands.
	within := time.Duration(h.present.Load()) * time.Second / comeRate
	for _, t := range h.all() {
		d.Ended += t.dismiss(within)
	}
	d.Left = d.Links - d.Ended
	return d
}

// draining is the reason of a link that is to come back after a time.
func draining(retry time.Duration) *reason.Error {
	return reason.New(reason.Draining, "").After(max(retry, time.Millisecond)) // 0 would be "not said"
}

// farewell says when the links of one target are to come back: its daemon, and each client up to apart later than
// client.
type farewell struct{ daemon, client, apart time.Duration }

// together makes a farewell of a target with so many links, whose daemon is to come back within a time and its clients
// later.
func together(links int, within, later time.Duration) farewell {
	daemon := time.Duration(rand.Int64N(max(int64(within), 1)))
	return farewell{daemon: daemon, client: daemon + later, apart: apart(links)}
}

func apart(links int) time.Duration {
	return max(comeApart, time.Duration(links)*time.Second/comeRate)
}

func (f farewell) of(l *Link) *reason.Error {
	if l.Peer.Role == route.Daemon {
		return draining(f.daemon)
	}
	return draining(f.client + rand.N(f.apart))
}

// drain tells every link of the target to go within half of the limit, and returns how many there were.
func (t *target) drain(limit time.Duration) int {
	now := t.lock()
	defer t.unlock(now)
	n, later := len(t.links), limit/goAnyway
	t.tell(together(n, limit/2-later-apart(n), later), now)
	return n
}

func (t *target) tell(f farewell, now time.Time) {
	for _, l := range t.links {
		t.act(t.machine.Step(route.Event{Kind: route.Drain, Link: l.machine, Reason: f.of(l)}, now))
	}
}

// follow sends the clients of a target after its daemon, which has left: nobody is here to speak to any more. Called
// with t.mu held.
func (t *target) follow(now time.Time) {
	if t.machine.Stats().Daemon {
		return
	}
	t.tell(farewell{apart: apart(len(t.links))}, now)
}

// dismiss ends every link of the target, and returns how many there were.
func (t *target) dismiss(within time.Duration) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := together(len(t.links), within, comeLater)
	for _, l := range t.links {
		l.finish(f.of(l))
	}
	return len(t.links)
}
