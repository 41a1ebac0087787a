package hub

import (
	"sync"
	"time"

	"github.com/getviewport/relay/internal/route"
)

// target is a machine with its mutex.
type target struct {
	// Static.
	hub *Hub
	key key

	// mu guards what follows: held for one step of the machine and map work, never while sending.
	mu      sync.Mutex
	machine *route.Target
	links   map[*route.Link]*Link // those that wait for admission included
	// channels has the links that subscribe to each.
	channels map[string][]*Link
	timer    *time.Timer // runs fire; nil until first armed
	expiry   time.Time   // no link is to end before because of its token; zero: none ever is
	armed    time.Time   // when the timer fires; zero: not armed
	gone     bool        // taken out of the hub: find it again
}

func newTarget(h *Hub, k key) *target {
	return &target{
		hub: h, key: k, links: make(map[*route.Link]*Link),
		machine: route.New(route.Config{
			Workspace: k.workspace, Target: k.targetOnWire(), Limits: h.limits, Budget: h.budget, Drops: h.drops,
			Refusals: h.refusals,
		}),
	}
}

// attach hands l to the machine; it reports false if the target is gone.
func (t *target) attach(l *Link) bool {
	now := t.lock()
	defer t.unlock(now)
	if t.gone {
		return false
	}
	l.target = t
	why := t.hub.closed.Load()
	// Looked up under the mutex that Revoke takes after the list has changed: either it is seen here, or l there.
	if why == nil && t.hub.revoked(l.Names()) {
		why = errRevoked
	}
	if why != nil {
		l.detached = true
		l.verdict <- why
		return true
	}
	l.machine = route.NewLink(t.hub.serial.Add(1), l.Peer)
	t.links[l.machine] = l
	t.expireAt(l)
	t.act(t.machine.Step(route.Event{Kind: route.Attach, Link: l.machine}, now))
	return true
}

// act carries out what the machine decided. Called with t.mu held.
func (t *target) act(effects []route.Effect) {
	for _, e := range effects {
		l := t.links[e.Link]
		if l == nil {
			continue
		}
		switch e.Kind {
		case route.Wake:
			if l.open {
				l.send()
			} else {
				l.wakeAtOpen = true
			}
		case route.Admitted:
			l.admitted = true
			l.verdict <- nil
		case route.Refused:
			delete(t.links, e.Link)
			l.verdict <- e.Reason
		case route.CloseLink:
			l.finish(e.Reason)
		}
	}
}

// lock takes the mutex and returns the time, which is read only then: for the machine it never goes back.
func (t *target) lock() (now time.Time) {
	t.mu.Lock()
	return time.Now()
}

// unlock gives up the mutex after arming the timer for the next deadline, and takes an empty target out of the hub.
func (t *target) unlock(now time.Time) {
	// Not when gone: nobody takes a step any more, so a deadline that is past would come again at once, for ever.
	if deadline := t.deadline(); !t.gone && !deadline.IsZero() && (t.armed.IsZero() || deadline.Before(t.armed)) {
		t.arm(deadline, now)
	}
	gone := !t.gone && len(t.links) == 0 && t.machine.Idle()
	if gone {
		t.disarm()
	}
	t.mu.Unlock()
	if gone {
		t.hub.forget(t)
	}
}

// arm makes the timer fire at deadline. The hub waits for its goroutine as for its others.
func (t *target) arm(deadline, now time.Time) {
	t.armed = deadline
	switch {
	case t.timer == nil:
		t.hub.running.Add(1)
		t.timer = time.AfterFunc(deadline.Sub(now), t.fire)
	case !t.timer.Reset(deadline.Sub(now)):
		t.hub.running.Add(1)
	}
}

// disarm ends the timer for good.
func (t *target) disarm() {
	t.gone = true
	if t.timer != nil && t.timer.Stop() {
		t.hub.running.Done()
	}
}

// fire is the timer's goroutine.
func (t *target) fire() {
	defer t.hub.running.Done()
	t.tick()
}

// tick takes a step: a deadline has come.
func (t *target) tick() {
	now := t.lock()
	t.armed = time.Time{}
	var expired []expelled
	if !t.gone {
		t.act(t.machine.Step(route.Event{Kind: route.Tick}, now))
		expired = t.expire(now)
	}
	t.unlock(now)
	t.hub.retireExpelled(&t.hub.ends.Expired, expired)
}

// stop ends the timer; sessions that wait for their peers are forgotten with the process.
func (t *target) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disarm()
}

// attached returns the links of the target.
func (t *target) attached() []*Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Link, 0, len(t.links))
	for _, l := range t.links {
		all = append(all, l)
	}
	return all
}
