package route

import (
	"math"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/guard"
)

// lane is one direction of a session: its guard, its queue at the link it goes to, and what that costs.
//
// Frames pass a lane in three states, and are counted in all of them: reserved (sequenced, not forwarded yet), queued,
// and on the wire (taken, until the next Take).
type lane struct {
	session *session
	guard   guard.Guard

	// to is the link that queued and reserved frames go to; nil only without any.
	to *Link
	// queue are the queued runs in order; the sequences in it only rise. The lane is in to.active while there are any.
	queue      nodeList
	prev, next *lane // in to.active

	// cost and loose are what is reserved, queued or on the wire of sequenced frames and of others: each at most a
	// share.
	cost, loose int64
	// reserved is the part of both that is reserved, with its memory, and how many sequenced frames that is.
	reserved reservation
	// lowestReserved is at or below the lowest sequence reserved, while there is any.
	lowestReserved uint64

	// generation moves on when everything reserved is given up: a Pass of another one is void.
	generation uint32
	// epoch moves on when the sender goes back while frames are reserved: a Pass of another epoch is cut at cut, the
	// lowest sequence gone back to since nothing was reserved.
	epoch uint32
	cut   uint64

	// dropping: sequenced frames from lowest on were dropped for want of room, and all are until one has resend set.
	dropping bool
	lowest   uint64
	toldDrop time.Time // when the sender was told last
	// overflows are the last two times that the lane was over its share, the older first.
	overflows [2]time.Time
}

// reservation is what Sequence counted and Forward has not seen yet.
type reservation struct {
	frames           int
	cost, loose, mem int64
}

// node is a run in a queue, on the wire or free.
type node struct {
	prev, next *node
	lane       *lane
	run        envelope.Run // empty when not queued
	first      uint64       // sequence of the first frame; 0: the frames have none
	frames     int
	cost       int64 // counted in the lane
	mem        int64 // counted in the link: the cost, or what the run pins if that is more
}

// last is the sequence of the run's last frame.
func (n *node) last() uint64 { return n.first + uint64(n.frames) - 1 }

// reserve counts a frame that passed, whose cost the budgets have.
func (t *Target) reserve(ln *lane, sequence uint64, cost int64) Pass {
	r := &ln.reserved
	if sequence != 0 {
		if r.frames == 0 {
			ln.cut, ln.lowestReserved = math.MaxUint64, sequence
		}
		ln.lowestReserved = min(ln.lowestReserved, sequence)
		r.frames++
		r.cost += cost
		ln.cost += cost
	} else {
		r.loose += cost
		ln.loose += cost
	}
	r.mem += cost
	return Pass{lane: ln, first: sequence, frames: 1, cost: cost, generation: ln.generation, epoch: ln.epoch}
}

// settle takes p out of what is reserved; its cost stays counted in the lane and the link.
func (ln *lane) settle(p Pass) {
	r := &ln.reserved
	if p.first != 0 {
		r.frames -= p.frames
		r.cost -= p.cost
	} else {
		r.loose -= p.cost
	}
	r.mem -= p.cost
}

// uncount ends the counting of cost in the lane and of mem in the link.
func (t *Target) uncount(ln *lane, l *Link, sequenced bool, cost, mem int64) {
	if sequenced {
		ln.cost -= cost
	} else {
		ln.loose -= cost
	}
	t.charge(l, -mem)
}

// revoke gives up everything that is reserved: its Pass is void.
func (t *Target) revoke(ln *lane) {
	r := ln.reserved
	if r == (reservation{}) {
		return
	}
	ln.generation++
	ln.reserved = reservation{}
	ln.cost -= r.cost
	ln.loose -= r.loose
	t.charge(ln.to, -r.mem)
}

// discard empties the lane of what is reserved and queued: its binding to the link has ended.
func (t *Target) discard(ln *lane) {
	t.revoke(ln)
	for ln.queue.head != nil {
		n := ln.queue.head
		t.drops.add(DropDiscarded, n.frames)
		t.dequeue(ln, n)
	}
	ln.to = nil
}

// purge drops the lane's sequenced frames from sequence on, queued and reserved.
func (t *Target) purge(ln *lane, sequence uint64, why Drop) {
	if ln.reserved.frames > 0 {
		ln.epoch++
		ln.cut = min(ln.cut, sequence)
	}
	// Sequences rise towards the tail, so the walk ends at the first run that stays; frames without one stay anyway.
	for n := ln.queue.tail; n != nil; {
		prev := n.prev
		switch {
		case n.first == 0:
		case n.last() < sequence:
			return
		case n.first >= sequence:
			t.drops.add(why, n.frames)
			t.dequeue(ln, n)
		default:
			t.shorten(ln, n, int(sequence-n.first), why)
			return
		}
		n = prev
	}
}

// shorten keeps the first frames of a queued run.
func (t *Target) shorten(ln *lane, n *node, frames int, why Drop) {
	t.drops.add(why, n.frames-frames)
	run, cost := head(n.run, n.frames, n.cost, frames)
	mem := max(cost, int64(run.Pinned()))
	t.uncount(ln, ln.to, true, n.cost-cost, n.mem-mem)
	n.run, n.frames, n.cost, n.mem = run, frames, cost, mem
}

// head keeps the first n of a run's frames and returns what they cost. Only the cost of the whole run is known; what it
// differs from the run's bytes by (256 less the header, for each frame) is divided evenly, which is right but for the
// few bytes by which the numbers in the headers differ in length.
func head(r envelope.Run, frames int, cost int64, n int) (envelope.Run, int64) {
	beside := (cost - int64(r.Bytes())) * int64(n) / int64(frames)
	r = r.Head(n)
	return r, min(max(int64(r.Bytes())+beside, 0), cost)
}

// lowestHeld is the lowest sequence queued or reserved, at most sequence.
func (ln *lane) lowestHeld(sequence uint64) uint64 {
	for n := ln.queue.head; n != nil; n = n.next {
		if n.first != 0 {
			return min(n.first, sequence)
		}
	}
	if ln.reserved.frames > 0 {
		return min(ln.lowestReserved, sequence)
	}
	return sequence
}
