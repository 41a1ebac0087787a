package sim

import (
	"fmt"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

var frameLimits = envelope.Limits{MaxEnvelope: 2 << 20, MaxBatch: 64 << 10}

// drainTime is how long a relay that is told to stop serves who is still there.
const drainTime = 25 * time.Second

// node is a relay: each tenant's target, and the readers and writers of their links.
type node struct {
	world    *world
	name     string
	targets  []*route.Target // by tenant
	budget   *route.Budget
	drops    route.Drops
	links    []*link // whose reader has not ended
	serial   uint64
	drainEnd time.Time // zero: it is not draining
}

// startNode starts a relay, which takes new links from now on.
func (w *world) startNode() {
	w.nodeCount++
	n := &node{world: w, name: fmt.Sprint("relay ", w.nodeCount), budget: route.NewBudget(1 << 30)}
	for _, t := range w.tenants {
		n.targets = append(n.targets, route.New(route.Config{
			Workspace: t.workspace, Target: target, Drops: &n.drops, Budget: n.budget,
			Limits: route.Limits{
				SessionWindow: w.Window, LinkBytes: w.LinkBytes, SessionsPerClient: w.SessionsPerClient,
				Heartbeat: heartbeat, SessionLifetime: lifetime,
			},
		}))
	}
	w.nodes = append(w.nodes, n)
}

// attach asks for a new link's admission.
func (n *node) attach(e *endpoint) *link {
	n.serial++
	now := n.world.now
	l := &link{endpoint: e, node: n, heard: now, sent: now, passed: make(map[string]uint64),
		machine: route.NewLink(n.serial, route.Peer{Role: e.role, InstallID: e.name, Generation: e.generation})}
	n.links = append(n.links, l)
	if e.revoked {
		n.close(l, reason.New(reason.PairingRevoked, ""))
		return l
	}
	n.step(l.target(), route.Event{Kind: route.Attach, Link: l.machine})
	return l
}

func (l *link) target() int { return l.endpoint.tenant.n }

func (n *node) step(target int, ev route.Event) {
	n.act(target, n.targets[target].Step(ev, n.world.now))
}

func (n *node) act(target int, effects []route.Effect) {
	n.world.dirty.target(n, target)
	for _, e := range effects {
		l := n.find(e.Link)
		if l == nil {
			continue
		}
		switch e.Kind {
		case route.Wake:
			l.awake = true
		case route.Admitted:
			l.admitted = true
			n.admitted(l)
		case route.Refused, route.CloseLink:
			n.close(l, e.Reason)
		}
	}
}

func (n *node) find(m *route.Link) *link {
	for _, l := range n.links {
		if l.machine == m {
			return l
		}
	}
	return nil
}

// admitted notes what a daemon's admission does to the sessions of the one before.
func (n *node) admitted(l *link) {
	if l.endpoint == l.endpoint.tenant.intruder {
		l.endpoint.tenant.displaced()
	}
}

// close ends a link that the machine does not know (any more).
func (n *node) close(l *link, why *reason.Error) {
	n.world.note("%s ends a link of %s: %v", n.name, l.endpoint.name, why)
	l.forgotten, l.awake = true, false
	l.closedByRelay(why)
}

// end ends a link that the machine knows.
func (n *node) end(l *link, why *reason.Error) {
	if !l.forgotten {
		n.close(l, why)
		n.step(l.target(), route.Event{Kind: route.Detach, Link: l.machine, Reason: why})
	}
}

// reads reports whether the reader of l does anything now.
func (l *link) reads() bool { return l.stands() && !l.endpoint.world.now.Before(l.lag) }

// receive takes the next message of a link and sequences it.
func (n *node) receive(l *link) error {
	b := new(envelope.Batch)
	b.Load(pop(&l.up))
	if err := b.Split(frameLimits); err != nil {
		return fmt.Errorf("%s sent what is no envelope: %w", l.endpoint.name, err)
	}
	l.held, l.passes = b, l.passes[:0]
	for i := range b.Frames() {
		f := &b.Frames()[i]
		if err := l.count(&f.Header); err != nil {
			return err
		}
		v := n.targets[l.target()].Sequence(l.machine, f, n.world.now)
		if v.End != nil {
			if !l.forgotten {
				return fmt.Errorf("the relay ends the link of %s: %w", l.endpoint.name, v.End)
			}
			b.Free()
			l.held, l.up = nil, nil
			return nil
		}
		l.passes = append(l.passes, v.Pass)
	}
	n.act(l.target(), n.targets[l.target()].Effects())
	return nil
}

// forward queues what receive let through. Anything may have happened in between.
func (n *node) forward(l *link) {
	t := n.targets[l.target()]
	for i := 0; i < len(l.passes); {
		pass, j := l.passes[i], i+1
		for pass.OK() && j < len(l.passes) && pass.Extend(l.passes[j]) {
			j++
		}
		if pass.OK() {
			t.Forward(l.machine, pass, l.held.Run(i, j), n.world.now)
		}
		i = j
	}
	l.held.Free()
	l.held = nil
	n.act(l.target(), t.Effects())
}

// send moves one message of a link's queue to the wire.
func (n *node) send(l *link) error {
	message, err := n.take(l, 2000+n.world.choose.IntN(14000))
	if message != nil {
		l.pushDown(message)
	}
	return err
}

// take takes one message of a link's queue; nil: there is none.
func (n *node) take(l *link, limit int) ([]byte, error) {
	var o envelope.Outgoing
	n.world.dirty.target(n, l.target())
	if !n.targets[l.target()].Take(l.machine, limit, &o) {
		l.awake = false
		return nil, nil
	}
	message := o.AppendTo(nil)
	return message, l.gapless(message)
}

// gapless checks what the guard promises a receiver: on a link the sequences of a session go up by one, but where
// their sender says that it goes on from somewhere else. And it checks that nothing crosses from one tenant to
// another.
func (l *link) gapless(message []byte) error {
	var b envelope.Batch
	b.Load(message)
	if err := b.Split(frameLimits); err != nil {
		return err
	}
	for i := range b.Frames() {
		h := &b.Frames()[i].Header
		if string(h.Workspace) != l.endpoint.tenant.workspace {
			return fmt.Errorf("%s gets a frame of %s", l.endpoint.name, h.Workspace)
		}
		if !envelope.Sequenced(h.Type) {
			continue
		}
		id := string(h.Session)
		again := h.Resend || h.Sequence == 1 // a handshake, on another link
		if last, seen := l.passed[id]; seen && !again && h.Sequence != last+1 {
			return fmt.Errorf("the relay passes %v %d after %d to %s", h.Type, h.Sequence, last, l.endpoint.name)
		}
		l.passed[id] = h.Sequence
	}
	return nil
}

// tick does what is due.
func (n *node) tick() {
	for i, t := range n.targets {
		if d := t.Deadline(); !d.IsZero() && !d.After(n.world.now) {
			n.step(i, route.Event{Kind: route.Tick})
		}
	}
	if !n.drainEnd.IsZero() && !n.world.now.Before(n.drainEnd) {
		n.world.note("%s has drained", n.name)
		for _, l := range append([]*link(nil), n.links...) {
			n.end(l, reason.New(reason.Draining, ""))
		}
		n.stop()
	}
}

// deadline is when tick is due; zero: never.
func (n *node) deadline() time.Time {
	at := n.drainEnd
	for _, t := range n.targets {
		at = earliest(at, t.Deadline())
	}
	return at
}

// stop takes the relay away: nobody handles its links any more.
func (n *node) stop() {
	w := n.world
	for i, x := range w.nodes {
		if x == n {
			w.nodes = append(w.nodes[:i:i], w.nodes[i+1:]...)
			break
		}
	}
	n.drops.Each(func(_ route.Drop, k uint64) { w.result.Dropped += k })
}

// readerEnds is the relay's side of a link's end.
func (n *node) readerEnds(l *link) {
	l.detached, l.forgotten, l.awake = true, true, false
	if l.held != nil {
		l.held.Free()
		l.held = nil
	}
	for i, x := range n.links {
		if x == l {
			n.links = append(n.links[:i], n.links[i+1:]...)
			break
		}
	}
	n.step(l.target(), route.Event{Kind: route.Detach, Link: l.machine, Reason: &reason.Error{Code: reason.LinkLost}})
}

// count counts what the relay receives of a session, and checks that where nothing went wrong nothing is asked for or
// sent again.
func (l *link) count(h *envelope.Header) error {
	w, t := l.endpoint.world, l.endpoint.tenant
	resume := h.Type == relayv1.FrameType_FRAME_TYPE_RESUME || h.Type == relayv1.FrameType_FRAME_TYPE_RESUMED
	if !resume && !envelope.Sequenced(h.Type) {
		return nil
	}
	x := l.endpoint.session(h.Session)
	if x != nil && (x.pair.n < 0 || x.pair.waits) {
		return nil // its client has forgotten it, so nobody answers
	}
	if x != nil && x.since != w.trouble {
		x.since, x.resumes, x.resent = w.trouble, 0, 0
	}
	calm := w.now.After(w.trouble)
	if resume {
		if h.Type == relayv1.FrameType_FRAME_TYPE_RESUME && x != nil && x.healed() {
			return fmt.Errorf("session %d: %s finds out by a timer what went wrong, although everybody has seen it",
				x.pair.n, l.endpoint.name)
		}
		w.result.Resumes++
		if x != nil && calm {
			x.resumes++
			w.result.MaxResumes = max(w.result.MaxResumes, x.resumes)
		}
		// A reader that is slow makes its peer ask whether anything was lost, and silence for 5 minutes whether it lives.
		if !t.disturbed && w.Losses == 0 && w.Slow == 0 && w.LinkBytes == 0 && w.now.Sub(w.start) < 5*time.Minute {
			return fmt.Errorf("%s sends %v although nothing was lost", l.endpoint.name, h.Type)
		}
		return nil
	}
	w.result.Frames++
	if x == nil {
		return nil
	}
	if h.Sequence > x.highest {
		x.highest = h.Sequence
		w.result.Needed++
	} else if !t.disturbed && w.Losses == 0 && w.Slow == 0 && w.LinkBytes == 0 {
		return fmt.Errorf("%s sends %v %d of session %d again although nothing was lost",
			l.endpoint.name, h.Type, h.Sequence, x.pair.n)
	} else if calm {
		x.resent++
		w.result.MaxResent = max(w.result.MaxResent, x.resent)
	}
	return nil
}

// earliest returns the earlier of two times, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
