package terminal

import (
	"bytes"
	"context"
	"sync"
)

// fifo is a bounded queue of input bytes between the one goroutine that puts and the one that takes. The zero value is
// not usable: newFIFO makes one.
type fifo struct {
	limit int           // static: the most bytes it holds
	wake  chan struct{} // capacity 1: something to take, or the end
	room  chan struct{} // capacity 1: something was taken

	mu    sync.Mutex
	buf   bytes.Buffer // guarded by mu
	ended bool         // guarded by mu: no more is put
}

func newFIFO(limit int) *fifo {
	return &fifo{limit: limit, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// offer queues a copy of all of b, or nothing and returns false if that does not fit.
func (f *fifo) offer(b []byte) bool {
	f.mu.Lock()
	fits := len(b) <= f.limit-f.buf.Len()
	if fits {
		f.buf.Write(b)
	}
	f.mu.Unlock()
	poke(f.wake)
	return fits
}

// put is offer, waiting for room until ctx ends. b must not be longer than the limit.
func (f *fifo) put(ctx context.Context, b []byte) error {
	for !f.offer(b) {
		select {
		case <-f.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end says that nothing more is put.
func (f *fifo) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	poke(f.wake)
}

// take moves up to len(p) bytes into p. ended is true once everything was taken and nothing more comes.
func (f *fifo) take(p []byte) (n int, ended bool) {
	f.mu.Lock()
	n, _ = f.buf.Read(p)
	ended = f.ended && f.buf.Len() == 0
	f.mu.Unlock()
	if n > 0 {
		poke(f.room)
	}
	return n, ended
}

// poke wakes the one goroutine that waits on c, now or at its next wait.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
