package sim

import (
	"fmt"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

// fault lets something go wrong, if it can just now.
func (w *world) fault() {
	k := w.Kinds[w.choose.IntN(len(w.Kinds))]
	if !w.strike(k) {
		return
	}
	w.faultsLeft--
	if w.choose.IntN(3) == 0 {
		w.burst = w.steps + 60
	}
	w.result.Faults[k]++
	w.troubleUntil(w.now)
}

// strike reports whether k can happen now, and lets it.
func (w *world) strike(k Kind) bool {
	seen := k == Cut || k == Kill || k == Drain || k == Expire || k == Renew
	for _, t := range w.tenants {
		t.silent, t.touched = t.silent || !seen, w.now
	}
	switch k {
	case Cut, HalfOpen, Freeze, LoseQueue, Expire:
		l := w.anyLink()
		if l == nil {
			return false
		}
		l.endpoint.tenant.disturbed = true
		w.note("%v: a link of %s", k, l.endpoint.name)
		return w.strikeLink(k, l)
	case Offline, Renew, RestartClient, Revoke, RestartDaemon, Fight:
		t := w.tenants[w.choose.IntN(len(w.tenants))]
		e, c := t.daemon, w.choose.IntN(len(t.clients)+1)
		if c < len(t.clients) && k != RestartDaemon || k == RestartClient || k == Revoke {
			e = t.clients[c%len(t.clients)]
		}
		if e.stopped || e.current == nil && k == Renew {
			return false
		}
		t.disturbed = true
		w.note("%v: %s", k, e.name)
		return w.strikeEndpoint(k, e)
	case Kill, Crash, Drain:
		n := w.front()
		if n == nil {
			return false
		}
		for _, t := range w.tenants {
			t.disturbed = true
		}
		w.note("%v: %s", k, n.name)
		w.strikeRelay(k, n)
	}
	return true
}

// anyLink is a link that both ends have.
func (w *world) anyLink() *link {
	var all []*link
	for _, n := range w.nodes {
		for _, l := range n.links {
			if l.admitted && !l.broken && !l.forgotten {
				all = append(all, l)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.choose.IntN(len(all))]
}

func (w *world) strikeLink(k Kind, l *link) bool {
	switch k {
	case Cut:
		l.breakAt(l.some(l.up), l.some(l.down), true, true)
		w.delay(l)
	case HalfOpen:
		sees := w.choose.IntN(3) // nobody, the endpoint, the relay
		l.breakAt(l.some(l.up), l.some(l.down), sees == 1, sees == 2)
		w.delay(l)
	case Freeze:
		d := w.within(20 * time.Second)
		if w.choose.IntN(4) == 0 {
			d += 55 * time.Second
		}
		l.frozen = w.now.Add(d)
		w.troubleUntil(l.frozen)
	case LoseQueue:
		lost := false
		for {
			message, err := l.node.take(l, 16_000)
			if message == nil || err != nil {
				return lost
			}
			lost = true
			l.missed(message)
		}
	case Expire:
		l.node.end(l, reason.New(reason.TokenExpired, ""))
	}
	return true
}

// delay lets what a broken link still brings come late: perhaps after the link that takes its place.
func (w *world) delay(l *link) {
	if len(l.up) > 0 || l.held != nil || w.choose.IntN(2) == 0 {
		l.lag = w.now.Add(w.within(3 * time.Second))
		w.troubleUntil(l.lag)
	}
}

func (w *world) strikeEndpoint(k Kind, e *endpoint) bool {
	t := e.tenant
	switch k {
	case Offline:
		e.offline = w.now.Add(w.within(time.Minute))
		w.troubleUntil(e.offline)
		e.unplug()
	case Renew:
		e.moveAt = w.now
	case Revoke:
		e.revoke()
	case RestartClient:
		for _, p := range t.pairs {
			if p.owner == e && !p.settled() {
				p.client.gone, p.waits = true, false
				p.daemon.mayEnd(reason.PeerSilent)
			}
		}
		e.restart()
	case RestartDaemon:
		for _, p := range t.pairs {
			if p.daemon != nil && !p.settled() {
				p.daemon.gone = true
				p.client.mayEnd(reason.SessionUnknown)
			}
		}
		e.restart()
	case Fight:
		if t.intruder != nil {
			return false
		}
		t.intruder = &endpoint{world: w, tenant: t, name: fmt.Sprint("intruder ", t.n), role: route.Daemon,
			static: w.keyPair("intruder")}
		t.leaves = w.now.Add(w.within(40 * time.Second))
		// Whoever it replaced, or keeps out, comes back 30 s later.
		w.troubleUntil(t.leaves.Add(replacedPause))
	}
	return true
}

// unplug breaks all links of an endpoint: it sees that or not, and the relay does not.
func (e *endpoint) unplug() {
	sees := e.world.choose.IntN(2) == 0
	for _, l := range e.links {
		l.breakAt(l.some(l.up), l.some(l.down), sees, false)
	}
}

// restart ends the process and starts it again: it knows nothing but its identity.
func (e *endpoint) restart() {
	sees := e.world.choose.IntN(2) == 0
	for _, l := range e.links {
		l.breakAt(l.some(l.up), 0, false, sees)
	}
	e.links, e.current, e.dialing, e.sessions, e.remembered = nil, nil, nil, nil, nil
	e.backoff, e.moveAt = backoff{}, time.Time{}
	e.connectAt = e.world.now.Add(e.world.within(5 * time.Second))
	e.world.troubleUntil(e.connectAt)
}

// revoke ends the links of a client, now and whenever it comes back, and has its sessions ended.
func (e *endpoint) revoke() {
	w := e.world
	e.revoked, e.toOpen = true, 0
	for _, p := range e.tenant.pairs {
		if p.owner == e {
			p.client.mayEnd(reason.LinkLost, reason.PeerRevoked)
			p.daemon.mayEnd(reason.PeerRevoked, reason.PeerSilent)
		}
	}
	for _, n := range w.nodes {
		for _, l := range append([]*link(nil), n.links...) {
			if l.endpoint == e {
				n.end(l, reason.New(reason.PairingRevoked, ""))
			}
		}
	}
}

// displaced is called when the intruder took the daemon's place: a session that is resumed there is unknown.
func (t *tenant) displaced() {
	for _, p := range t.pairs {
		p.displaced()
	}
}

func (p *pair) displaced() {
	if p.daemon != nil && p.n >= 0 {
		p.client.mayEnd(reason.SessionUnknown)
		p.daemon.mayEnd(reason.PeerSilent)
	}
}

func (w *world) strikeRelay(k Kind, n *node) {
	if k == Drain {
		n.drainEnd = w.now.Add(drainTime)
		w.troubleUntil(n.drainEnd)
		for _, l := range n.links {
			if l.admitted {
				why := (&reason.Error{Code: reason.Draining}).After(w.within(5 * time.Second))
				n.step(l.target(), route.Event{Kind: route.Drain, Link: l.machine, Reason: why})
			}
		}
		w.startNode()
		return
	}
	for _, l := range n.links {
		l.breakAt(0, l.some(l.down), k == Kill, false)
	}
	n.stop()
	w.downUntil = w.now.Add(w.within(20 * time.Second))
	w.troubleUntil(w.downUntil)
}

// missed is what the endpoint of l will never hear. If the relay told it something about the link, such as that there is
// a new daemon, it finds out by its keepalive.
func (l *link) missed(message []byte) {
	var b envelope.Batch
	b.Load(message)
	defer b.Free()
	if b.Split(frameLimits) != nil {
		return
	}
	for i := range b.Frames() {
		h := &b.Frames()[i].Header
		if h.Type != relayv1.FrameType_FRAME_TYPE_STATUS || len(h.Session) > 0 {
			continue
		}
		for _, x := range l.endpoint.sessions {
			x.by = latest(x.by, l.endpoint.world.now.Add(keepalive))
		}
	}
}
