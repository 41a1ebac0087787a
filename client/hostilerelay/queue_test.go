package hostilerelay_test

import (
	"context"
	"sync"

	"github.com/getviewport/relay/internal/envelope"
)

const (
	// batchBytes is the most one message carries, unless one envelope is longer.
	batchBytes = 16384 - 5
	// queueBytes is how much a direction of a link holds before it stops reading.
	queueBytes = 1 << 20
)

// queue is what one direction of a link is still to send. One goroutine takes; any may push.
type queue struct {
	wake chan struct{} // has an element when there may be something to take
	room chan struct{} // has an element when a reader may go on

	mu sync.Mutex
	// Guarded by mu.
	pending [][]byte
	bytes   int
	ended   bool
	err     error // what the stream ends with when everything is sent
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// push adds frames; what comes after an end is dropped.
func (q *queue) push(fs ...*frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	for _, f := range fs {
		b := f.bytes()
		q.pending = append(q.pending, b)
		q.bytes += len(b)
	}
	signal(q.wake)
}

// end makes the stream end with err after everything that was pushed before; nil is an end without an error.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.ended, q.err = true, err
	}
	signal(q.wake)
}

// wait returns when there is room for more, or ctx ends.
func (q *queue) wait(ctx context.Context) {
	for {
		q.mu.Lock()
		full := q.bytes > queueBytes && !q.ended
		q.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return
		}
	}
}

// take waits for the next message. With none, the stream is to end with err.
func (q *queue) take(ctx context.Context) (o envelope.Outgoing, err error) {
	for {
		q.mu.Lock()
		var b []byte
		n := 0
		for n < len(q.pending) && (n == 0 || len(b)+len(q.pending[n]) <= batchBytes) {
			b = append(b, q.pending[n]...)
			n++
		}
		clear(q.pending[:n])
		if q.pending = q.pending[n:]; len(q.pending) == 0 {
			q.pending = nil
		}
		q.bytes -= len(b)
		ended, err := q.ended, q.err
		q.mu.Unlock()
		if n > 0 {
			signal(q.room)
			o.Add(envelope.RunOf(b, n))
			return o, nil
		}
		if ended {
			return o, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return o, ctx.Err()
		}
	}
}
