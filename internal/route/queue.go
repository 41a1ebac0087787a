package route

import "github.com/getviewport/relay/internal/envelope"

// maxFree bounds the nodes that a target keeps for reuse (about 100 bytes each).
const maxFree = 4096

// nodeList is a list of nodes. A node is in one at a time.
type nodeList struct {
	head, tail *node
	n          int
}

func (q *nodeList) push(n *node) {
	n.prev, n.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = n
	} else {
		q.head = n
	}
	q.tail = n
	q.n++
}

func (q *nodeList) remove(n *node) {
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		q.head = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		q.tail = n.prev
	}
	n.prev, n.next = nil, nil
	q.n--
}

// laneList is a list of lanes: those of a link that have something queued, the one whose turn it is first.
type laneList struct{ head, tail *lane }

func (q *laneList) push(ln *lane) {
	ln.prev, ln.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = ln
	} else {
		q.head = ln
	}
	q.tail = ln
}

func (q *laneList) remove(ln *lane) {
	if ln.prev != nil {
		ln.prev.next = ln.next
	} else {
		q.head = ln.next
	}
	if ln.next != nil {
		ln.next.prev = ln.prev
	} else {
		q.tail = ln.prev
	}
	ln.prev, ln.next = nil, nil
}

// enqueue gives the lane a run whose cost and mem are counted already.
func (t *Target) enqueue(ln *lane, r envelope.Run, first uint64, frames int, cost, mem int64) {
	n := t.free.head
	if n != nil {
		t.free.remove(n)
	} else {
		n = new(node)
	}
	n.lane, n.run, n.first, n.frames, n.cost, n.mem = ln, r, first, frames, cost, mem
	if ln.queue.head == nil {
		ln.to.active.push(ln)
	}
	ln.queue.push(n)
	t.wake(ln.to)
}

// unlink takes n out of the lane's queue; it stays counted.
func (ln *lane) unlink(n *node) {
	ln.queue.remove(n)
	if ln.queue.head == nil {
		ln.to.active.remove(ln)
	}
}

// dequeue drops n from the lane's queue.
func (t *Target) dequeue(ln *lane, n *node) {
	ln.unlink(n)
	n.run.Free()
	t.uncount(ln, ln.to, n.first != 0, n.cost, n.mem)
	t.recycle(n)
}

// recycle keeps n, which is in no list and owns no run, for enqueue.
func (t *Target) recycle(n *node) {
	*n = node{}
	if t.free.n < maxFree {
		t.free.push(n)
	}
}

// Take moves what l has to send into o, which is empty: about limit bytes, one run in any case. It returns false when
// there is nothing, and then the sender may rest until Wake. The bytes count as on the wire until the next Take on l,
// so call it again when o has been sent.
//
// STATUS and HEARTBEAT go first; then the lanes take turns, one message each where they can fill it.
func (t *Target) Take(l *Link, limit int, o *envelope.Outgoing) (more bool) {
	t.landed(l)
	if l.state != attached {
		return false
	}
	bytes := t.takeControl(l, limit, o)
	for ln := l.active.head; ln != nil; ln = l.active.head {
		first := true
		for n := ln.queue.head; n != nil; n = ln.queue.head {
			if bytes > 0 && bytes+n.run.Bytes() > limit {
				if !first {
					l.active.remove(ln)
					l.active.push(ln)
				}
				return t.taken(l, o)
			}
			bytes += n.run.Bytes()
			ln.unlink(n)
			o.Add(n.run)
			n.run = envelope.Run{}
			l.wire.push(n)
			first = false
		}
	}
	return t.taken(l, o)
}

// taken counts what Take put into o.
func (t *Target) taken(l *Link, o *envelope.Outgoing) bool {
	if o.Frames() == 0 {
		l.awake = false
		return false
	}
	l.out.add(o.Frames(), o.Bytes())
	l.sent = t.now
	return true
}

// landed ends the counting of what Take gave out last.
func (t *Target) landed(l *Link) {
	for n := l.wire.head; n != nil; n = l.wire.head {
		l.wire.remove(n)
		t.uncount(n.lane, l, n.first != 0, n.cost, n.mem)
		t.recycle(n)
	}
	t.charge(l, -l.wireControl)
	l.wireControl = 0
}
