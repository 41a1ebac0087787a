package route

import "sync/atomic"

// Drop is why a frame went nowhere.
type Drop uint8

// Reasons of drops.
const (
	// DropReplay: its sequence had passed before.
	DropReplay Drop = iota
	// DropGap: its sequence is above the expected one, or none is known.
	DropGap
	// DropStale: it came on an older link than the one its session's side is bound to.
	DropStale
	// DropUnbound: it came on a link that its session's side is not bound to.
	DropUnbound
	// DropUnknown: it came from a daemon for a session that the relay doesn't know.
	DropUnknown
	// DropNoPeer: the other side has no link.
	DropNoPeer
	// DropShare: its session is over its share of the link's queue.
	DropShare
	// DropBudget: the link or the process is over its budget.
	DropBudget
	// DropPurged: it was queued when its sender went back to it or below.
	DropPurged
	// DropDiscarded: it was queued when its link, or its session's binding to it, ended.
	DropDiscarded
	// DropConflict: it claims a session that its sender does not own.
	DropConflict
	// DropCapacity: it opens a session beyond a limit.
	DropCapacity
	// DropProfile: its handshake is weaker than required.
	DropProfile
	// DropEnded: the relay has ended its session.
	DropEnded
	// DropStatus: a STATUS of the relay found its link's control queue full.
	DropStatus
	// DropRate: it is one handshake too many in a time.
	DropRate

	numDrops
)

var dropNames = [numDrops]string{
	"replay", "gap", "stale_link", "unbound", "unknown_session", "no_peer", "share", "budget", "purged", "discarded",
	"conflict", "capacity", "profile", "session_ended", "status", "rate_limited",
}

// String is the reason as a metric label.
func (d Drop) String() string { return dropNames[d] }

// Drops counts dropped frames by reason. The zero value is ready; safe for concurrent use.
type Drops struct {
	n [numDrops]atomic.Uint64
}

// Each calls f for every reason with its count.
func (d *Drops) Each(f func(Drop, uint64)) {
	for i := range d.n {
		f(Drop(i), d.n[i].Load())
	}
}

// Count is how many frames were dropped for r.
func (d *Drops) Count(r Drop) uint64 { return d.n[r].Load() }

func (d *Drops) add(r Drop, n int) { d.n[r].Add(uint64(n)) }
