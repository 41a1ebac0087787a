package faults

import (
	"sync"
	"time"
)

// bucket is the time over which a Rate counts.
const bucket = 100 * time.Millisecond

// Rate counts events, and how many there were at most within 100 ms, since Mark. The zero value is ready.
type Rate struct {
	mu sync.Mutex
	// Guarded by mu.
	marked       time.Time
	at           time.Duration // the bucket that count is of
	count        int
	peak, number int
}

// Mark begins anew.
func (r *Rate) Mark() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marked, r.at, r.count, r.peak, r.number = time.Now(), 0, 0, 0, 0
}

// Add counts one event.
func (r *Rate) Add() { r.add(time.Now()) }

func (r *Rate) add(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.marked.IsZero() {
		r.marked = now
	}
	if at := now.Sub(r.marked) / bucket; at != r.at {
		r.at, r.count = at, 0
	}
	r.count++
	r.number++
	r.peak = max(r.peak, r.count)
}

// Peak is the most within 100 ms, and how many there were in all.
func (r *Rate) Peak() (peak, number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peak, r.number
}
