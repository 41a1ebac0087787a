package route

import "sync/atomic"

// Budget counts the memory that the queues of all targets keep, against a limit. Safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used is how many bytes are kept now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit is how many bytes may be kept.
func (b *Budget) Limit() int64 { return b.limit }

const (
	// frameCost is what a frame costs beside its ciphertext (docs/protocol.md, Flow control).
	frameCost = 256
	// largestFrame is the cost of the longest DATA frame: flags, 16,000 bytes, tag.
	largestFrame = 1 + 16000 + 16 + frameCost
	// trickle is what a lane may hold when a link or the process is over its budget, so that every session still moves.
	trickle = 32 << 10
)

// Share is how many bytes a session may have at one link in one direction, for a session window: two windows, since a
// window may be sent again while its first copy is on the wire, and room for two copies of the longest CLOSE.
func Share(window int) int64 { return 2*int64(max(window, largestFrame)) + 4<<10 }

// over is the budget that l is beyond.
func (t *Target) over(l *Link) Limit {
	switch {
	case l.bytes > t.limits.LinkBytes:
		return LinkQueueBytes
	case t.budget.used.Load() > t.budget.limit:
		return QueueBytes
	}
	return NoLimit
}

// chargeWithin is charge, unless n bytes more are beyond a budget: then that is returned and nothing is counted. Other
// targets use the process's budget at the same time, so the bytes are in it before it is looked at.
func (t *Target) chargeWithin(l *Link, n int64) Limit {
	t.charge(l, n)
	limit := t.over(l)
	if limit != NoLimit {
		t.charge(l, -n)
	}
	return limit
}

// charge counts n bytes more (or less, when negative) that l keeps.
func (t *Target) charge(l *Link, n int64) {
	l.bytes += n
	t.bytes += n
	t.budget.used.Add(n)
}
