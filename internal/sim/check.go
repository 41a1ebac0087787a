package sim

import (
	"fmt"
	"time"

	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/session"
)

// Bound is how soon after the last trouble everything has arrived and ended cleanly, in virtual time. A link whose
// end nobody saw is dead after three heartbeats (60 s), and connecting again takes up to 15 s; what was lost without
// a trace is found out by a stall probe, at most 75 s after the one before. What is left is for the data, and for a
// handshake that begins anew.
const Bound = 2 * time.Minute

// maxResumes is how many RESUME and RESUMED an end may send after the last trouble: one whose peer is gone asks after
// 5, 10, 20, 40 and each 60 s for as long as its session lives, and the link that it notices last makes it ask once
// more.
const maxResumes = 20

// dirty is whose machines have had an input since the last check. A pure machine that had none is as it was.
type dirty struct {
	ends    []*end
	targets []*route.Target
	nodes   []*node
}

func (d *dirty) end(x *end) {
	for _, y := range d.ends {
		if x == y {
			return
		}
	}
	d.ends = append(d.ends, x)
}

func (d *dirty) target(n *node, i int) {
	t := n.targets[i]
	for _, y := range d.targets {
		if t == y {
			return
		}
	}
	d.targets, d.nodes = append(d.targets, t), append(d.nodes, n)
}

// check asks the machines that had an input for a broken invariant. The relay's, which count everything they hold
// again, are asked after each fourth step: a wrong count stays wrong.
func (w *world) check() error {
	if w.steps%4 == 0 {
		if err := w.checkRelays(); err != nil {
			return err
		}
	}
	return w.checkEnds()
}

func (w *world) checkRelays() error {
	for i, t := range w.dirty.targets {
		if err := t.Check(); err != nil {
			return err
		}
		if err := w.checkQueues(w.dirty.nodes[i], t); err != nil {
			return err
		}
	}
	clear(w.dirty.targets)
	clear(w.dirty.nodes)
	w.dirty.targets, w.dirty.nodes = w.dirty.targets[:0], w.dirty.nodes[:0]
	return nil
}

// checkEnds also forgets the sessions that are done.
func (w *world) checkEnds() error {
	for _, x := range w.dirty.ends {
		if err := x.check(); err != nil {
			return fmt.Errorf("%s: %w", x.endpoint.name, err)
		}
		if x.machine.Done() {
			x.endpoint.reap()
		}
	}
	clear(w.dirty.ends)
	w.dirty.ends = w.dirty.ends[:0]
	return nil
}

// Bounds of what is held, in bytes beside the window: what may be in flight above it, and one frame.
const (
	largestFrame = 16_273
	aboveWindow  = 2*(1024+256) + 2048 // the handshake, DATA 2 and CLOSE
)

// check also bounds how often an end asks and sends again. (The budget of a link may be smaller than a window, which
// then is sent piece by piece.)
func (x *end) check() error {
	m, w := x.machine, x.endpoint.world
	if err := m.Check(); err != nil {
		return err
	}
	out, in := m.Buffered()
	if limit := max(w.Window, largestFrame) + aboveWindow; out > limit {
		return fmt.Errorf("holds %d bytes to send, at most %d are in order", out, limit)
	}
	if limit := max(w.Window, largestFrame) + w.MaxMessage; in > limit {
		return fmt.Errorf("holds %d bytes received, at most %d are in order", in, limit)
	}
	if x.resumes > maxResumes {
		return fmt.Errorf("session %d: %d RESUMEs since the last trouble", x.pair.n, x.resumes)
	}
	if x.resent > 16+2*int(x.highest) && w.LinkBytes == 0 {
		return fmt.Errorf("session %d: %d frames sent again since the last trouble, of %d", x.pair.n, x.resent, x.highest)
	}
	if x.endings > 1 {
		return fmt.Errorf("session %d ended %d times", x.pair.n, x.endings)
	}
	if m.State() == session.Ended && m.Err() != nil && x.endings == 0 {
		return fmt.Errorf("session %d ended and nobody was told", x.pair.n)
	}
	return nil
}

// checkQueues bounds what a target's queues keep: each session's shares, in both directions, of sequenced frames and
// of others, and four times that for buffers that are kept whole; and what is told.
func (w *world) checkQueues(n *node, t *route.Target) error {
	s := t.Stats()
	if limit := int64(s.Sessions)*4*4*route.Share(w.Window) + int64(s.Clients+1)*64<<10; s.Queued > limit {
		return fmt.Errorf("%s keeps %d bytes of %d sessions, at most %d are in order", n.name, s.Queued, s.Sessions, limit)
	}
	return nil
}

// expected is when the last that anybody may wait for has happened: the end of all trouble, and of the lifetime of
// sessions whose other end is gone.
func (w *world) expected() time.Time {
	at := w.trouble
	for _, t := range w.tenants {
		for _, p := range t.pairs {
			at = latest(at, p.client.by)
			if p.daemon != nil {
				at = latest(at, p.daemon.by)
			}
		}
	}
	return at
}

// checkLiveness fails if somebody has waited for too long.
func (w *world) checkLiveness() error {
	late := func(by time.Time) bool { return w.now.After(latest(by, w.trouble).Add(Bound)) }
	if !late(time.Time{}) {
		return nil
	}
	for _, t := range w.tenants {
		for _, p := range t.pairs {
			by := p.client.by
			if p.daemon != nil {
				by = latest(by, p.daemon.by)
			}
			if !p.settled() && late(by) {
				return fmt.Errorf("%v after the last trouble somebody still waits: %s", w.now.Sub(w.trouble), w.unsettled())
			}
		}
		for _, c := range t.clients {
			if c.toOpen > 0 && !c.stopped {
				return fmt.Errorf("%v after the last trouble %s has not opened its sessions", w.now.Sub(w.trouble), c.name)
			}
		}
	}
	return nil
}
