package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/getviewport/relay/internal/route"
)

const (
	// maxSteps and maxVirtual bound a run: a machine that never comes to rest is a broken promise, too.
	maxSteps   = 400_000
	maxVirtual = 3 * time.Hour
)

// play runs until everything that was begun is over, then shows that every client can still open a session.
func (w *world) play(r *Result) error {
	for {
		if err := w.run(r); err != nil {
			return err
		}
		again := false
		for _, c := range w.clients {
			if r.Cuts+r.Restarts > 0 && c.toOpen == 0 && !c.provedAgain {
				// A new session after the faults: it must work from end to end.
				c.provedAgain, c.toOpen, again = true, 1, true
			}
		}
		if !again {
			break
		}
		w.faultsLeft, w.Loss = 0, 0
	}
	for _, p := range w.pairs {
		if !p.faulted && (!p.client.finished() || p.daemon == nil || !p.daemon.finished()) {
			return fmt.Errorf("session %d did not finish", p.n)
		}
		if p.client.over || p.daemon != nil && p.daemon.over {
			r.Ended++
		}
	}
	w.relay.drops.Each(func(_ route.Drop, n uint64) { r.Dropped += n })
	return nil
}

// run takes steps until nothing is left to do.
func (w *world) run(r *Result) error {
	for {
		if w.steps++; w.steps > maxSteps || w.now.Sub(w.start) > maxVirtual {
			return errors.New("no end: the world does not come to rest")
		}
		if w.faultsLeft > 0 && w.chance(4) {
			w.fault(r)
		}
		turns := w.turns()
		// Time passes also while others could act, but seldom: machines must not depend on being asked at once.
		if len(turns) == 0 || w.chance(20) {
			moved, err := w.passTime(len(turns) == 0)
			if err != nil {
				return err
			}
			if !moved && len(turns) == 0 {
				return nil
			}
			continue
		}
		if err := turns[w.choose.IntN(len(turns))](); err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return err
		}
	}
}

// turns are all that can happen now.
func (w *world) turns() (turns []func() error) {
	add := func(f func() error) { turns = append(turns, f) }
	for _, l := range append([]*link(nil), w.relay.links...) {
		switch {
		case l.held != nil:
			add(func() error { w.relay.forward(l); return nil })
		case len(l.up) > 0:
			add(func() error { return w.relay.receive(l) })
		case l.cut:
			add(func() error { w.relay.giveUp(l); return nil })
		}
		if l.awake && !l.cut && len(l.down) < inFlight {
			add(func() error { return w.relay.send(l) })
		}
	}
	for _, e := range w.endpoints() {
		l := e.link
		switch {
		case l == nil:
			add(func() error { e.link = w.relay.attach(e); w.note("%s connects", e.name); return nil })
		case len(l.down) > 0:
			add(e.receive)
		case l.cut:
			add(e.linkLost)
		}
		if e.canSend() {
			add(func() error { e.send(); return nil })
		}
		if e.toOpen > 0 && l != nil && !l.cut && w.daemon.link != nil && !w.daemon.link.cut && w.daemon.link.relay == l.relay {
			add(func() error { return w.begin(e) })
		}
	}
	for _, x := range w.ends() {
		if x.canWrite() {
			add(x.write)
		}
		if x.readable && !x.finished() {
			add(x.read)
		}
	}
	return turns
}

// begin opens a session of a client.
func (w *world) begin(e *endpoint) error {
	e.toOpen--
	n := len(w.pairs)
	p := &pair{n: n, faulted: w.Faults > 0 && !e.provedAgain}
	p.up.id, p.down.id = uint64(2*n+1), uint64(2*n+2)
	w.pairs = append(w.pairs, p)
	return e.open(p)
}

// pairOf finds a session by its id.
func (w *world) pairOf(id string) *pair {
	for _, p := range w.pairs {
		if p.client.machine.ID() == id {
			return p
		}
	}
	return nil
}

// passTime moves the clock: a little, or to the next deadline when nothing else can happen. It reports whether anything
// waits for a later time.
func (w *world) passTime(idle bool) (moved bool, err error) {
	next := time.Time{}
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	busy := false
	for _, x := range w.ends() {
		if !x.finished() {
			busy = true
		}
		sooner(x.machine.Deadline())
	}
	if idle && !busy {
		// Tombstones and what the relay remembers may wait; nobody waits for them.
		return false, nil
	}
	sooner(w.relay.machine.Deadline())
	switch {
	case idle && next.IsZero():
		return false, nil
	case idle && next.After(w.now):
		w.now = next
	case !idle:
		w.now = w.now.Add(time.Duration(w.choose.IntN(40)) * time.Millisecond)
	}
	w.note("time passes")
	w.relay.tick()
	for _, x := range w.ends() {
		if d := x.machine.Deadline(); !d.IsZero() && !d.After(w.now) {
			x.apply(x.machine.Tick(w.now))
		}
	}
	return true, w.check()
}

// check asks every machine for a broken invariant, and forgets those that are done.
func (w *world) check() error {
	if err := w.relay.machine.Check(); err != nil {
		return err
	}
	for _, e := range w.endpoints() {
		for _, x := range e.sessions {
			if err := x.machine.Check(); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
		e.reap()
	}
	return nil
}

// ends are all ends of sessions there are.
func (w *world) ends() (all []*end) {
	for _, p := range w.pairs {
		for _, x := range []*end{p.client, p.daemon} {
			if x != nil {
				all = append(all, x)
			}
		}
	}
	return all
}

// fault cuts a link or restarts the relay.
func (w *world) fault(r *Result) {
	for _, p := range w.pairs {
		p.faulted = true
	}
	w.faultsLeft--
	if w.choose.IntN(3) == 0 {
		w.note("the relay restarts")
		r.Restarts++
		w.relay.kill()
		w.relay = newNode(w)
		return
	}
	var alive []*link
	for _, l := range w.relay.links {
		if !l.cut {
			alive = append(alive, l)
		}
	}
	if len(alive) == 0 {
		return
	}
	l := alive[w.choose.IntN(len(alive))]
	w.note("the link of %s is cut", l.endpoint.name)
	r.Cuts++
	l.cutAt(w.choose.IntN(len(l.up)+1), w.choose.IntN(len(l.down)+1))
}
