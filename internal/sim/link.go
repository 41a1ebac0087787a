package sim

import (
	"fmt"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

var frameLimits = envelope.Limits{MaxEnvelope: 2 << 20, MaxBatch: 64 << 10}

// link is a stream between an endpoint and the relay. It delivers in order; a cut loses what is in flight from some point
// on, and each side learns of it when it has handled what still came.
type link struct {
	endpoint *endpoint
	relay    *node
	machine  *route.Link
	up, down [][]byte // messages in flight
	cut      bool     // nothing enters any more

	// The relay's side.
	admitted, gone bool
	held           *envelope.Batch // sequenced, not forwarded
	passes         []route.Pass
	awake          bool
	passed         map[string]uint64 // by session: the sequence that was sent to the endpoint last
}

// cutAt ends the link: of what is in flight so many messages still arrive.
func (l *link) cutAt(up, down int) {
	l.cut = true
	l.up, l.down = l.up[:up], l.down[:down]
}

// node is the relay: one target's machine and nothing else.
type node struct {
	world   *world
	machine *route.Target
	links   []*link // that the relay has not given up
	serial  uint64
	drops   route.Drops
}

func newNode(w *world) *node {
	n := &node{world: w}
	n.machine = route.New(route.Config{
		Workspace: workspace, Target: target, Drops: &n.drops,
		Limits: route.Limits{SessionWindow: w.Window},
	})
	return n
}

// attach is a new link's admission.
func (n *node) attach(e *endpoint) *link {
	n.serial++
	l := &link{endpoint: e, relay: n, machine: route.NewLink(n.serial, route.Peer{Role: e.role, InstallID: e.name}),
		passed: make(map[string]uint64)}
	n.links = append(n.links, l)
	n.act(n.machine.Step(route.Event{Kind: route.Attach, Link: l.machine}, n.world.now))
	return l
}

func (n *node) act(effects []route.Effect) {
	for _, e := range effects {
		var l *link
		for _, x := range n.links {
			if x.machine == e.Link {
				l = x
			}
		}
		if l == nil {
			continue
		}
		switch e.Kind {
		case route.Wake:
			l.awake = true
		case route.Admitted:
			l.admitted = true
		case route.Refused, route.CloseLink:
			n.world.note("relay ends a link of %s: %v", l.endpoint.name, e.Reason)
			l.cut = true
			n.giveUp(l)
		}
	}
}

// receive takes the next message of a link and sequences it.
func (n *node) receive(l *link) error {
	message := l.up[0]
	l.up = l.up[1:]
	b := new(envelope.Batch)
	b.Load(message)
	if err := b.Split(frameLimits); err != nil {
		return err
	}
	l.held, l.passes = b, l.passes[:0]
	for i := range b.Frames() {
		v := n.machine.Sequence(l.machine, &b.Frames()[i], n.world.now)
		if v.End != nil {
			return v.End
		}
		l.passes = append(l.passes, v.Pass)
	}
	n.act(n.machine.Effects())
	return nil
}

// forward queues what receive let through. Anything may have happened in between.
func (n *node) forward(l *link) {
	for i := 0; i < len(l.passes); {
		pass, j := l.passes[i], i+1
		for pass.OK() && j < len(l.passes) && pass.Extend(l.passes[j]) {
			j++
		}
		if pass.OK() {
			n.machine.Forward(l.machine, pass, l.held.Run(i, j), n.world.now)
		}
		i = j
	}
	l.held.Free()
	l.held = nil
	n.act(n.machine.Effects())
}

// send moves one message of a link's queue to the wire.
func (n *node) send(l *link) error {
	var o envelope.Outgoing
	if !n.machine.Take(l.machine, 2000+n.world.choose.IntN(14000), &o) {
		l.awake = false
		return nil
	}
	message := o.AppendTo(nil)
	l.down = append(l.down, message)
	return l.gapless(message)
}

// gapless checks what the guard promises a receiver: on a link the sequences of a session go up by one, but where their
// sender says that it goes on from somewhere else. And where nothing is ever lost, nobody has to ask: a RESUME there
// means that an ack or a wake-up went missing, and that only a timer healed it.
func (l *link) gapless(message []byte) error {
	var b envelope.Batch
	b.Load(message)
	if err := b.Split(frameLimits); err != nil {
		return err
	}
	for _, f := range b.Frames() {
		h := &f.Header
		if o := l.endpoint.world.Options; h.Type == relayv1.FrameType_FRAME_TYPE_RESUME && o.Faults == 0 && o.Loss == 0 {
			return fmt.Errorf("a RESUME for %s although nothing was lost", l.endpoint.name)
		}
		if envelope.Sequenced(h.Type) {
			id := string(h.Session)
			if last, seen := l.passed[id]; seen && !h.Resend && h.Sequence != last+1 {
				return fmt.Errorf("the relay passes %v %d after %d to %s", h.Type, h.Sequence, last, l.endpoint.name)
			}
			l.passed[id] = h.Sequence
		}
	}
	return nil
}

// tick does what is due.
func (n *node) tick() {
	if d := n.machine.Deadline(); !d.IsZero() && !d.After(n.world.now) {
		n.act(n.machine.Step(route.Event{Kind: route.Tick}, n.world.now))
	}
}

// kill ends the process without a word: its links are cut, and what it held is gone.
func (n *node) kill() {
	for _, l := range n.links {
		l.cutAt(0, n.world.choose.IntN(len(l.down)+1))
	}
	n.links = nil
}

// giveUp is the relay's side of a link's end.
func (n *node) giveUp(l *link) {
	if l.gone {
		return
	}
	l.gone, l.awake = true, false
	l.up = nil
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
	n.act(n.machine.Step(route.Event{Kind: route.Detach, Link: l.machine, Reason: &reason.Error{Code: reason.LinkLost}}, n.world.now))
}
