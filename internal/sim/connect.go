package sim

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

const (
	firstPause  = 200 * time.Millisecond
	maxPause    = 15 * time.Second
	healthyLink = 10 * time.Second
	// replacedPause is how long a daemon waits that another one replaced, or keeps out.
	replacedPause = 30 * time.Second
	dialTimeout   = 20 * time.Second
)

// backoff decides when an endpoint connects again (docs/protocol.md, Handshake and resume 7).
type backoff struct {
	pause time.Duration
	since time.Time // of the link
}

// after is how long to wait after a link that ended, or an attempt that failed, for why.
func (b *backoff) after(w *world, why *reason.Error) time.Duration {
	b.pause = min(max(2*b.pause, firstPause), maxPause)
	wait := w.within(b.pause) // full jitter, the first try too
	if why == nil {
		return wait
	}
	switch why.Code {
	case reason.Replaced, reason.DaemonAlreadyConnected:
		return wait + max(why.RetryAfter, replacedPause)
	}
	return wait + why.RetryAfter
}

// wantsLink reports whether the endpoint opens a link now: its only one, or one that will take over.
func (e *endpoint) wantsLink() bool {
	now := e.world.now
	due := e.current == nil || !e.moveAt.IsZero() && !now.Before(e.moveAt)
	return due && e.dialing == nil && !e.stopped && !now.Before(e.connectAt)
}

// connect opens a link.
func (e *endpoint) connect() {
	w := e.world
	n := w.front()
	if n == nil || w.now.Before(e.offline) {
		e.failed(nil)
		return
	}
	e.dialing, e.dialBy = n.attach(e), w.now.Add(dialTimeout)
	e.links = append(e.links, e.dialing)
	w.note("%s connects to %s", e.name, n.name)
}

// failed notes an attempt that came to nothing.
func (e *endpoint) failed(why *reason.Error) {
	e.retry(why)
	if e.current != nil {
		e.moveAt = e.connectAt
	}
}

// retry lets the endpoint connect again after a while, or never.
func (e *endpoint) retry(why *reason.Error) {
	w := e.world
	if why != nil && (why.Code == reason.PairingRevoked || why.Code == reason.StaleGeneration) {
		e.stop()
		return
	}
	wait := e.backoff.after(w, why)
	w.note("%s connects again in %v", e.name, wait)
	e.connectAt = w.now.Add(wait)
}

// stop ends the endpoint: there will be no link any more, and its sessions end.
func (e *endpoint) stop() {
	e.world.note("%s gives up", e.name)
	e.stopped = true
	for _, l := range e.links {
		l.closedByEndpoint()
	}
	e.links, e.current, e.dialing = nil, nil, nil
	for _, x := range e.sessions {
		x.link = nil
		x.apply(x.machine.Abandon(e.world.now))
	}
	for _, p := range e.tenant.pairs {
		if p.owner == e {
			p.waits = false
		}
	}
}

// dialed is the answer to connect: the link takes over, and the sessions move, those that live before those that are
// over.
func (e *endpoint) dialed() {
	w := e.world
	l, old := e.dialing, e.current
	e.dialing = nil
	if !l.admitted || !l.stands() || l.broken && l.endpointSees {
		l.closedByEndpoint()
		e.drop(l)
		e.failed(l.why)
		return
	}
	w.note("%s is on %s", e.name, l.node.name)
	e.tenant.touched = w.now
	e.current, e.moveAt, e.backoff.since = l, time.Time{}, w.now
	for _, over := range []bool{false, true} {
		for _, x := range e.sessions {
			if (x.machine.State() >= session.Closed) == over {
				x.moveTo(l)
			}
		}
	}
	e.reopen()
	if old != nil {
		old.closedByEndpoint()
		e.drop(old)
	}
}

// answered reports whether the relay has answered the attempt to connect, or will not.
func (e *endpoint) answered() bool {
	l := e.dialing
	return l != nil && (!e.world.now.Before(e.dialBy) || l.stands() && (l.admitted || l.broken && l.endpointSees))
}

// linkEnds is the endpoint's side of the end of its link.
func (e *endpoint) linkEnds(l *link) {
	w := e.world
	w.note("%s lost its link", e.name)
	e.tenant.touched = w.now
	e.drop(l)
	if l == e.current {
		e.current, e.moveAt = nil, time.Time{}
		for _, x := range e.sessions {
			if x.link == l {
				x.link = nil
				x.apply(x.machine.LinkLost(w.now))
			}
		}
		if w.now.Sub(e.backoff.since) >= healthyLink {
			e.backoff.pause = 0
		}
		e.retry(l.why)
	}
}

// drop forgets a link.
func (e *endpoint) drop(l *link) {
	for i, x := range e.links {
		if x == l {
			e.links = append(e.links[:i:i], e.links[i+1:]...)
			break
		}
	}
}

// tick does what is due.
func (e *endpoint) tick() {
	w := e.world
	for _, l := range append([]*link(nil), e.links...) {
		switch {
		case l == e.dialing:
		case !w.now.Before(l.heard.Add(3*heartbeat)) && e.dialing == nil:
			w.note("%s hears nothing", e.name)
			l.closedByEndpoint()
			e.linkEnds(l)
		case !w.now.Before(l.sent.Add(heartbeat)) && l.roomUp():
			l.beat = true
		}
	}
	for _, x := range e.sessions {
		if d := x.machine.Deadline(); !d.IsZero() && !d.After(w.now) {
			x.apply(x.machine.Tick(w.now))
		}
	}
}

// deadline is when something is due; zero: never.
func (e *endpoint) deadline() (at time.Time) {
	for _, l := range e.links {
		if l != e.dialing {
			if e.dialing == nil {
				at = earliest(at, l.heard.Add(3*heartbeat))
			}
			if l.roomUp() && !l.beat {
				at = earliest(at, l.sent.Add(heartbeat))
			}
		}
		at = earliest(at, after(e.world.now, l.frozen))
	}
	for _, x := range e.sessions {
		at = earliest(at, x.machine.Deadline())
	}
	switch {
	case e.stopped:
	case e.dialing != nil:
		at = earliest(at, e.dialBy)
	case e.current == nil:
		at = earliest(at, e.connectAt)
	case !e.moveAt.IsZero():
		at = earliest(at, latest(e.connectAt, e.moveAt))
	}
	return at
}

// after returns t if it is still to come, else never.
func after(now, t time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
