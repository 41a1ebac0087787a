package route

import (
	"time"

	"github.com/getviewport/relay/internal/envelope"
)

// Pass is the permission of frames that stand side by side in a batch to be forwarded: what Sequence gives for one
// frame, and Extend makes of several. The zero value is none.
type Pass struct {
	lane              *lane
	first             uint64 // sequence of the first frame; 0: the frames have none
	frames            int
	cost              int64
	generation, epoch uint32
}

// OK reports whether there is anything to forward.
func (p Pass) OK() bool { return p.lane != nil }

// Frames is how many frames the Pass is for.
func (p Pass) Frames() int { return p.frames }

// Extend makes p cover q's frames too, which stand right behind p's in the batch, and reports whether it could: both
// are of the same session and direction and nothing happened between them, and either q goes on one above p's last
// sequence or neither has sequences. A frame that was dropped between the two must not be in the run.
func (p *Pass) Extend(q Pass) bool {
	if p.lane == nil || p.lane != q.lane || p.generation != q.generation || p.epoch != q.epoch {
		return false
	}
	if p.first == 0 && q.first != 0 || p.first != 0 && q.first != p.first+uint64(p.frames) {
		return false
	}
	p.frames += q.frames
	p.cost += q.cost
	return true
}

// Forward queues the frames of p, whose bytes are r, and takes over r: it is freed when the session's binding, or its
// destination, ended since Sequence, or when the sender has gone back to before them. Each Pass that is OK must be
// forwarded, in the order of Sequence, or its link be detached.
func (t *Target) Forward(_ *Link, p Pass, r envelope.Run, now time.Time) {
	t.clock(now)
	ln := p.lane
	if ln == nil || p.generation != ln.generation {
		t.drops.add(DropDiscarded, p.frames)
		r.Free()
		return
	}
	ln.settle(p)
	frames, cost := p.frames, p.cost
	if p.first != 0 && p.epoch != ln.epoch && p.first+uint64(frames) > ln.cut {
		keep := 0
		if p.first < ln.cut {
			keep = int(ln.cut - p.first)
		}
		t.drops.add(DropPurged, frames-keep)
		if keep == 0 {
			t.uncount(ln, ln.to, true, cost, cost)
			r.Free()
			return
		}
		r, cost = head(r, frames, cost, keep)
		t.uncount(ln, ln.to, true, p.cost-cost, p.cost-cost)
		frames = keep
	}
	mem := max(cost, int64(r.Pinned()))
	t.charge(ln.to, mem-cost)
	t.enqueue(ln, r, p.first, frames, cost, mem)
}
