package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/getviewport/relay/internal/session"
)

const (
	// maxSteps and maxVirtual bound a run: a machine that never comes to rest is a broken promise, too.
	maxSteps   = 400_000
	maxVirtual = 6 * time.Hour
)

// play runs until everything that was begun is over, shows that every client can still open a session, and that in
// the end nothing is left.
func (w *world) play() error {
	for {
		if err := w.run(); err != nil {
			return err
		}
		again := false
		w.endpoints(func(e *endpoint) {
			if e.daemonKey != ([32]byte{}) && e.tenant.disturbed && !e.stopped && !e.provedAgain {
				e.provedAgain, e.toOpen, again = true, e.toOpen+1, true
			}
		})
		if !again {
			break
		}
		w.faultsLeft, w.lossesLeft, w.Aborts = 0, 0, 0
		w.troubleUntil(w.now)
	}
	return w.leave()
}

// run takes steps until nothing is left to do.
func (w *world) run() error {
	for {
		if w.steps++; w.steps > maxSteps || w.now.Sub(w.start) > maxVirtual {
			return errors.New("no end: the world does not come to rest")
		}
		w.turns()
		idle := len(w.turn) == 0
		if w.faultsLeft > 0 && w.chance(w.odds(idle)) && w.busy() {
			w.fault()
			continue
		}
		// Time passes also while others could act, but seldom: machines must not depend on being asked at once.
		if idle || w.chance(20) {
			moved, err := w.passTime(idle)
			if err != nil {
				return err
			}
			if !moved && idle {
				w.result.Recovery = max(w.result.Recovery, w.now.Sub(w.expected()))
				return nil
			}
			continue
		}
		if err := w.take(w.turn[w.choose.IntN(len(w.turn))]); err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return err
		}
	}
}

// odds are how many times of 1,000 a fault happens now: seldom while there is something to do, but one that struck
// may be the first of several, before the sessions have come back.
func (w *world) odds(idle bool) int {
	switch {
	case idle:
		return 100
	case w.steps < w.burst:
		return 60
	}
	return 4
}

// turn is something that can happen now.
type turn struct {
	what what
	l    *link
	e    *endpoint
	x    *end
	p    *pair
}

type what uint8

const (
	relayForwards what = iota
	relayReceives
	readerEnds
	relaySends
	connects
	dialed
	receives
	linkEnds
	sends
	opens
	opensAgain
	writes
	reads
)

// turns collects all that can happen now.
func (w *world) turns() {
	w.turn = w.turn[:0]
	add := func(t turn) { w.turn = append(w.turn, t) }
	for _, n := range w.nodes {
		for _, l := range n.links {
			switch {
			case !l.reads():
			case l.held != nil:
				add(turn{what: relayForwards, l: l})
			case len(l.up) > 0:
				add(turn{what: relayReceives, l: l})
			case l.forgotten, l.broken && l.relaySees:
				add(turn{what: readerEnds, l: l})
			}
			if l.awake && l.roomDown() {
				add(turn{what: relaySends, l: l})
			}
		}
	}
	w.endpoints(func(e *endpoint) { e.turns(add) })
	for _, t := range w.tenants {
		for _, p := range t.pairs {
			if p.waits {
				if !w.now.Before(p.reopenAt) && p.owner.current != nil {
					add(turn{what: opensAgain, p: p})
				}
				continue
			}
			for _, x := range []*end{p.client, p.daemon} {
				if x == nil || x.gone || w.scripted {
					continue
				}
				if x.canWrite() {
					add(turn{what: writes, x: x})
				}
				if x.canRead() {
					add(turn{what: reads, x: x})
				}
			}
		}
	}
}

func (e *endpoint) turns(add func(turn)) {
	switch {
	case e.answered():
		add(turn{what: dialed, e: e})
	case e.wantsLink():
		add(turn{what: connects, e: e})
	}
	for _, l := range e.links {
		switch {
		case l == e.dialing || !l.stands():
		case len(l.down) > 0:
			add(turn{what: receives, e: e, l: l})
		case l.broken && l.endpointSees && e.dialing == nil:
			add(turn{what: linkEnds, e: e, l: l})
		}
		if e.canSend(l) {
			add(turn{what: sends, e: e, l: l})
		}
	}
	if e.toOpen > 0 && e.current != nil {
		add(turn{what: opens, e: e})
	}
}

// take takes a turn.
func (w *world) take(t turn) error {
	switch t.what {
	case relayForwards:
		t.l.node.forward(t.l)
	case relayReceives:
		return t.l.node.receive(t.l)
	case readerEnds:
		t.l.node.readerEnds(t.l)
	case relaySends:
		return t.l.node.send(t.l)
	case connects:
		t.e.connect()
	case dialed:
		t.e.dialed()
	case receives:
		return t.e.receive(t.l)
	case linkEnds:
		t.e.linkEnds(t.l)
	case sends:
		return t.e.send(t.l)
	case opens:
		return w.begin(t.e)
	case opensAgain:
		return t.p.owner.open(t.p)
	case writes:
		return t.x.write()
	case reads:
		return t.x.read()
	}
	return nil
}

// begin opens a session of a client.
func (w *world) begin(e *endpoint) error {
	e.toOpen--
	n := 0
	for _, p := range e.tenant.pairs {
		if p.owner == e {
			n++
		}
	}
	p := &pair{tenant: e.tenant, n: 100*e.number + n, owner: e}
	e.tenant.pairs = append(e.tenant.pairs, p)
	return e.open(p)
}

// pairOf finds a session by its id.
func (t *tenant) pairOf(id string) *pair {
	for _, p := range t.pairs {
		if p.client.machine.ID() == id {
			return p
		}
	}
	return nil
}

// busy reports whether anybody waits for anything.
func (w *world) busy() bool {
	for _, t := range w.tenants {
		for _, p := range t.pairs {
			if !p.settled() {
				return true
			}
		}
		for _, c := range t.clients {
			if c.toOpen > 0 && !c.stopped {
				return true
			}
		}
	}
	return false
}

func (p *pair) settled() bool {
	return !p.waits && p.client.settled() && (p.daemon == nil || p.daemon.settled())
}

// passTime moves the clock: a little, or to the next deadline when nothing else can happen. It reports whether
// anything waits for a later time.
func (w *world) passTime(idle bool) (moved bool, err error) {
	switch {
	case !idle:
		w.now = w.now.Add(w.within(40 * time.Millisecond))
	case !w.busy():
		return false, nil // tombstones and what the relay remembers may wait; nobody waits for them
	default:
		next := w.deadline()
		if next.IsZero() {
			return false, fmt.Errorf("somebody waits for ever: %s", w.unsettled())
		}
		w.now = latest(w.now, next)
	}
	w.note("time passes")
	w.due()
	if err := w.check(); err != nil {
		return true, err
	}
	return true, w.checkLiveness()
}

// due does everything that is.
func (w *world) due() {
	if !w.downUntil.IsZero() && !w.now.Before(w.downUntil) {
		w.downUntil = time.Time{}
		w.note("a relay starts")
		w.startNode()
	}
	for _, n := range append([]*node(nil), w.nodes...) {
		n.tick()
	}
	w.endpoints((*endpoint).tick)
	for _, t := range w.tenants {
		if t.intruder != nil && !w.now.Before(t.leaves) {
			t.intruder.stop()
			t.intruder = nil
		}
	}
}

// deadline is when something is due; zero: never.
func (w *world) deadline() time.Time {
	at := w.downUntil
	for _, n := range w.nodes {
		at = earliest(at, n.deadline())
		for _, l := range n.links {
			at = earliest(at, earliest(after(w.now, l.frozen), after(w.now, l.lag)))
		}
	}
	w.endpoints(func(e *endpoint) { at = earliest(at, e.deadline()) })
	for _, t := range w.tenants {
		if t.intruder != nil {
			at = earliest(at, t.leaves)
		}
		for _, p := range t.pairs {
			if p.waits {
				at = earliest(at, after(w.now, p.reopenAt))
				continue
			}
			for _, x := range []*end{p.client, p.daemon} {
				if x != nil && !x.settled() {
					at = earliest(at, earliest(after(w.now, x.writeAt), after(w.now, x.readAt)))
				}
			}
		}
	}
	return at
}

// unsettled says who waits.
func (w *world) unsettled() string {
	for _, t := range w.tenants {
		for _, p := range t.pairs {
			if p.settled() {
				continue
			}
			s := fmt.Sprintf("session %d of tenant %d (waits %t)", p.n, t.n, p.waits)
			for _, x := range []*end{p.client, p.daemon} {
				if x != nil {
					s += fmt.Sprintf("; %s: state %d, opened %t, over %t, gone %t, reachable %t, sent %d, closed %t, "+
						"received %d, eof %t", x.endpoint.name, x.machine.State(), x.opened, x.over, x.gone,
						x.machine.Reachable(), x.sends.sent, x.sends.closed, x.receives.delivered, x.receives.eof)
				}
			}
			return s
		}
	}
	return "a client has not opened its sessions"
}

// leave lets everybody go: in the end nothing may be left, at either end or at the relay.
func (w *world) leave() error {
	for _, n := range w.nodes {
		for _, l := range append([]*link(nil), n.links...) {
			l.breakAt(0, 0, true, true)
			n.readerEnds(l)
		}
	}
	w.endpoints(func(e *endpoint) {
		for _, l := range append([]*link(nil), e.links...) {
			e.drop(l)
		}
		e.current, e.dialing = nil, nil
		for _, x := range e.sessions {
			x.apply(x.machine.LinkLost(w.now))
		}
	})
	for range 4 {
		w.now = w.now.Add(lifetime)
		for _, n := range w.nodes {
			n.tick()
		}
		w.endpoints((*endpoint).tick)
		if err := errors.Join(w.checkRelays(), w.checkEnds()); err != nil {
			return err
		}
	}
	var err error
	w.endpoints(func(e *endpoint) {
		for _, x := range e.sessions {
			if x.machine.State() != session.Ended && err == nil {
				err = fmt.Errorf("%s never forgets session %d (%.6s)", e.name, x.pair.n, x.machine.ID())
			}
		}
	})
	for _, n := range w.nodes {
		for i, t := range n.targets {
			if !t.Idle() && err == nil {
				err = fmt.Errorf("%s never forgets tenant %d: %+v", n.name, i, t.Stats())
			}
		}
		if used := n.budget.Used(); used != 0 && err == nil {
			err = fmt.Errorf("%s still counts %d bytes", n.name, used)
		}
		n.stop()
	}
	return err
}
