package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"time"
)

// maxGaps is how many gaps of missing blocks a Reader keeps in mind; what is missing in older ones counts as lost even
// if it comes later.
const maxGaps = 1024

// Tally is what a Reader saw.
type Tally struct {
	// Blocks and Bytes came, those that should not have come included.
	Blocks uint64 `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
	// SHA256 is that of all blocks, in the order in which they came, in hex.
	SHA256 string `json:"sha256"`
	// Lost are blocks that did not come before a later one or the end.
	Lost uint64 `json:"lost"`
	// Doubled are those that came again, Reordered those that came behind a later one.
	Doubled   uint64 `json:"doubled"`
	Reordered uint64 `json:"reordered"`
	// Damaged have other bytes than the sender's; Foreign are no message of this stream at all.
	Damaged uint64 `json:"damaged"`
	Foreign uint64 `json:"foreign"`
	// Ended: the end came.
	Ended bool `json:"ended"`
	// Stall is the longest time without an arrival while something wanted to arrive.
	Stall time.Duration `json:"stall"`
}

// Clean reports whether all that came is as it was sent, and there is an end.
func (t Tally) Clean() bool { return t.Ended && t.Wrong() == 0 }

// Wrong is how much is not as it was sent.
func (t Tally) Wrong() uint64 { return t.Lost + t.Doubled + t.Reordered + t.Damaged + t.Foreign }

// gap is a run of missing blocks: from first up to before next.
type gap struct{ first, next uint64 }

// Reader checks the blocks of one stream. It is not for concurrent use.
type Reader struct {
	stream  stream
	sum     hash.Hash
	tally   Tally
	next    uint64 // one above the highest that came
	gaps    []gap  // ascending
	gone    uint64 // missing in gaps that are no longer kept
	arrived time.Time
}

// NewReader returns a Reader of what NewWriter of the same seed and name makes.
func NewReader(seed, name string) *Reader {
	return &Reader{stream: newStream(seed, name), sum: sha256.New()}
}

// Take takes a message that came at a time.
func (r *Reader) Take(b []byte, at time.Time) {
	m, ok := r.stream.parse(b)
	if !ok {
		r.tally.Foreign++
		return
	}
	if since := m.wanted; r.arrived.Before(at) {
		if r.arrived.After(since) {
			since = r.arrived
		}
		r.tally.Stall = max(r.tally.Stall, at.Sub(since))
		r.arrived = at
	}
	switch {
	case m.kind == kindEnd && r.tally.Ended:
		r.tally.Doubled++
	case m.kind == kindEnd:
		r.end(m)
	default:
		r.block(m, b)
	}
}

func (r *Reader) end(m message) {
	r.tally.Ended = true
	switch {
	case m.number > r.next:
		r.miss(gap{r.next, m.number})
		r.next = m.number
	case m.number < r.next:
		r.tally.Foreign += r.next - m.number
	}
	// Without another fault the sums differ only if bytes do.
	if !bytes.Equal(m.content, r.sum.Sum(nil)) && r.Tally().Wrong() == 0 {
		r.tally.Damaged++
	}
}

func (r *Reader) block(m message, b []byte) {
	r.tally.Blocks++
	r.tally.Bytes += uint64(len(b))
	_, _ = r.sum.Write(b) // never fails
	want := make([]byte, len(m.content))
	r.stream.fill(m.number, want)
	if !bytes.Equal(m.content, want) {
		r.tally.Damaged++
	}
	switch {
	case m.number == r.next:
		r.next++
	case m.number > r.next:
		r.miss(gap{r.next, m.number})
		r.next = m.number + 1
	case r.found(m.number):
		r.tally.Reordered++
	default:
		r.tally.Doubled++
	}
}

// miss notes that blocks are missing.
func (r *Reader) miss(g gap) {
	r.gaps = append(r.gaps, g)
	if len(r.gaps) > maxGaps {
		r.gone += r.gaps[0].next - r.gaps[0].first
		r.gaps = r.gaps[1:]
	}
}

// found takes a block out of the gap that it is missing in, and reports whether there was one.
func (r *Reader) found(number uint64) bool {
	for i, g := range r.gaps {
		if number < g.first || number >= g.next {
			continue
		}
		var rest []gap
		if g.first < number {
			rest = append(rest, gap{g.first, number})
		}
		if number+1 < g.next {
			rest = append(rest, gap{number + 1, g.next})
		}
		r.gaps = slices.Replace(r.gaps, i, i+1, rest...)
		return true
	}
	return false
}

// Tally returns what was seen so far.
func (r *Reader) Tally() Tally {
	t := r.tally
	t.Lost = r.gone
	for _, g := range r.gaps {
		t.Lost += g.next - g.first
	}
	t.SHA256 = hex.EncodeToString(r.sum.Sum(nil))
	return t
}
