package admin

import (
	"sync"

	"github.com/getviewport/relay/internal/reason"
)

// Refusals counts the streams that were not admitted, by reason.
type Refusals struct {
	mu sync.Mutex
	n  map[reason.Code]uint64
}

// NewRefusals returns counters at zero.
func NewRefusals() *Refusals { return &Refusals{n: make(map[reason.Code]uint64)} }

// Add counts one refusal.
func (r *Refusals) Add(c reason.Code) {
	r.mu.Lock()
	r.n[c]++
	r.mu.Unlock()
}

// Each calls f for every reason that occurred, in order of code.
func (r *Refusals) Each(f func(reason.Code, uint64)) {
	for _, c := range reason.All() {
		r.mu.Lock()
		n := r.n[c]
		r.mu.Unlock()
		if n > 0 {
			f(c, n)
		}
	}
}
