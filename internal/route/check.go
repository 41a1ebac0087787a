package route

import (
	"errors"
	"fmt"
	"iter"
	"time"
)

// Check compares every counter and list of the target with what it counts, and returns all that is wrong. It takes time
// in proportion to everything the target holds: for tests, and for the hub's check at its end.
func (t *Target) Check() error {
	c := checker{t: t, seen: make(map[*lane]counts), active: make(map[*lane]bool)}
	c.links()
	c.sessions()
	c.legacy()
	c.list(&t.closed, "closed")
	c.list(&t.lost, "lost")
	for n := t.free.head; n != nil; n = n.next {
		c.want(n.lane == nil && n.run.Frames() == 0, "a free node holds a run")
	}
	return errors.Join(c.errs...)
}

// counts is what the nodes of a lane add up to.
type counts struct{ cost, loose int64 }

type checker struct {
	t      *Target
	seen   map[*lane]counts
	active map[*lane]bool
	errs   []error
}

func (c *checker) want(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

// links checks each link's queue against its bytes, and the links' against the target's.
func (c *checker) links() {
	t := c.t
	var sum int64
	daemons := 0
	for i, l := range t.links {
		c.want(l.state == attached && l.index == i, "link %d: state %d, index %d at %d", l.serial, l.state, l.index, i)
		if l.peer.Role == Daemon {
			daemons++
			c.want(l == t.daemon, "link %d is a second daemon", l.serial)
		}
		c.link(l)
		sum += l.bytes
	}
	c.want(sum == t.bytes, "links keep %d bytes, the target counts %d", sum, t.bytes)
	c.want((daemons == 1) == (t.daemon != nil), "daemon %v, %d of its role attached", t.daemon, daemons)
	c.want(t.candidate == nil || t.daemon != nil && t.candidate.state == waiting, "a link waits for no daemon")
	c.want(t.daemon == nil || t.generationEnd.IsZero(), "the generation runs out while a daemon is attached")
}

func (c *checker) link(l *Link) {
	bytes := l.wireControl
	for n := l.wire.head; n != nil; n = n.next {
		c.want(n.run.Frames() == 0, "link %d: a node on the wire holds its run", l.serial)
		bytes += n.mem
		c.count(n)
	}
	for ln := l.active.head; ln != nil; ln = ln.next {
		c.active[ln] = true
		c.want(ln.to == l && ln.queue.head != nil, "link %d: a lane is active without need", l.serial)
		c.want(!ln.session.forgotten, "link %d: queues for forgotten session %s", l.serial, ln.session.id)
		var last uint64
		for n := ln.queue.head; n != nil; n = n.next {
			c.want(n.lane == ln && n.frames > 0 && n.run.Frames() == n.frames,
				"session %s: a run has %d frames, counted %d", ln.session.id, n.run.Frames(), n.frames)
			c.want(n.mem >= n.cost && n.mem >= int64(n.run.Pinned()), "session %s: a run counts %d bytes, pins %d",
				ln.session.id, n.mem, n.run.Pinned())
			if n.first != 0 {
				c.want(n.first > last, "session %s: %d is queued behind %d", ln.session.id, n.first, last)
				last = n.last()
			}
			bytes += n.mem
			c.count(n)
		}
	}
	for ln := range c.lanes() {
		if ln.to == l {
			bytes += ln.reserved.mem
		}
	}
	c.want(bytes == l.bytes, "link %d: keeps %d bytes, counts %d", l.serial, bytes, l.bytes)
	c.want(l.awake || l.active.head == nil && l.due == 0 && l.statuses.n == 0,
		"link %d sleeps on a full queue", l.serial)
	c.want(l.statuses.n <= maxStatuses, "link %d: %d statuses", l.serial, l.statuses.n)
	open := 0
	for i, s := range l.sessions {
		c.want(s.client.link == l && s.client.index == i, "link %d: session %s is not bound here", l.serial, s.id)
		if !s.over {
			open++
		}
	}
	c.want(open == l.open && open <= c.t.limits.SessionsPerClient,
		"link %d: %d open, counts %d", l.serial, open, l.open)
}

// lanes are all that the target's links lead to.
func (c *checker) lanes() iter.Seq[*lane] {
	return func(yield func(*lane) bool) {
		for _, s := range c.t.sessions {
			if !yield(&s.up) || !yield(&s.down) {
				return
			}
		}
		for _, l := range c.t.links {
			if s := l.legacy; s != nil && (!yield(&s.up) || !yield(&s.down)) {
				return
			}
		}
	}
}

func (c *checker) count(n *node) {
	k := c.seen[n.lane]
	if n.first != 0 {
		k.cost += n.cost
	} else {
		k.loose += n.cost
	}
	c.seen[n.lane] = k
}

// sessions checks the bindings, and each lane against what was found in queues and on wires.
func (c *checker) sessions() {
	bound := make(map[*Link]int)
	for id, s := range c.t.sessions {
		c.want(s.id == id && !s.forgotten, "session %s is under %s", s.id, id)
		for _, r := range []Role{Client, Daemon} {
			sd := s.side(r)
			if sd.link != nil {
				bound[sd.link]++
				c.want(sd.link.state == attached && sd.link.peer.Role == r && sd.serial == sd.link.serial,
					"session %s: the %s side is bound to link %d, serial %d", id, r, sd.link.serial, sd.serial)
			}
		}
		c.want(s.daemon.link == nil || s.daemon.link == c.t.daemon, "session %s is bound to an old daemon", id)
		want := (*sessionList)(nil)
		switch {
		case s.over:
			want = &c.t.closed
		case s.client.link == nil:
			want = &c.t.lost
		}
		c.want(s.list == want, "session %s is in the wrong list", id)
		for _, ln := range []*lane{&s.up, &s.down} {
			c.lane(ln)
			c.want(ln.cost <= c.t.share && ln.loose <= c.t.share, "session %s: %d and %d over the share",
				id, ln.cost, ln.loose)
		}
	}
	for _, l := range c.t.links {
		c.want(bound[l] == l.bound, "link %d: %d sessions bound, counts %d", l.serial, bound[l], l.bound)
	}
	c.want(len(c.t.sessions) <= c.t.limits.SessionsPerTarget, "%d sessions", len(c.t.sessions))
}

// legacy checks what legacy frames have: their lanes, and the tables of owners against what links own.
func (c *checker) legacy() {
	entries := 0
	for _, in := range []*owners{&c.t.legacy.exchanges, &c.t.legacy.pairings, &c.t.legacy.sessions} {
		c.want(len(in.byID) == in.idle.Len() && len(in.byID) <= maxOwned, "%d owned, %d in order", len(in.byID), in.idle.Len())
		entries += len(in.byID)
		last := time.Time{}
		for e := in.idle.Front(); e != nil; e = e.Next() {
			o := e.Value.(*owned)
			_, owns := o.link.owns[o]
			c.want(owns && o.at == e && in.byID[o.id] == o && o.in == in, "%q is owned by nobody", o.id)
			c.want(o.link.state == attached && o.link.peer.Role == Client, "%q is owned by link %d", o.id, o.link.serial)
			c.want(!o.due.Before(last) && !c.t.due.IsZero(), "%q is out of order", o.id)
			last = o.due
		}
	}
	for _, l := range c.t.links {
		entries -= len(l.owns)
		c.want(len(l.owns) <= maxOwnedPerLink, "link %d owns %d", l.serial, len(l.owns))
		if s := l.legacy; s != nil {
			c.lane(&s.up)
			c.lane(&s.down)
			c.want(s.up.to == nil || s.up.to == c.t.daemon, "link %d: legacy frames go to an old daemon", l.serial)
			c.want(s.up.loose <= legacyQueue && s.down.loose <= legacyQueue && s.up.cost+s.down.cost == 0,
				"link %d: %d and %d of legacy frames", l.serial, s.up.loose, s.down.loose)
		}
	}
	c.want(entries == 0, "%d owned by links that have ended", entries)
}

func (c *checker) lane(ln *lane) {
	k, r := c.seen[ln], ln.reserved
	id := ln.session.id
	c.want(k.cost+r.cost == ln.cost, "session %s: %d bytes of sequenced frames, counts %d", id, k.cost+r.cost, ln.cost)
	c.want(k.loose+r.loose == ln.loose, "session %s: %d bytes of others, counts %d", id, k.loose+r.loose, ln.loose)
	c.want(ln.to != nil && ln.to.state == attached || ln.to == nil && ln.queue.head == nil && r == (reservation{}),
		"session %s: a lane leads nowhere", id)
	c.want(c.active[ln] == (ln.queue.head != nil), "session %s: active %v, queue empty %v",
		id, c.active[ln], ln.queue.head == nil)
}

func (c *checker) list(q *sessionList, name string) {
	n := 0
	var last *session
	for s := q.head; s != nil; s = s.next {
		n++
		c.want(s.list == q && s.prev == last && c.t.sessions[s.id] == s, "session %s is wrongly in %s", s.id, name)
		c.want(last == nil || !s.due.Before(last.due), "session %s is out of order in %s", s.id, name)
		c.want(!c.t.due.IsZero() && (n > 1 || !s.due.Before(c.t.due)), "session %s in %s has no deadline", s.id, name)
		last = s
	}
	c.want(q.tail == last && q.n == n, "%s has %d sessions, counts %d", name, n, q.n)
}
