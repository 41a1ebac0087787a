package terminal

import (
	"context"
	"sync"
)

// outbox is what a client has to send: input, bounded and as far as the daemon gave credit, and what goes ahead of it.
type outbox struct {
	input *fifo // also wakes for everything else

	mu     sync.Mutex
	credit int      // guarded by mu: bytes of input that may be sent
	resize *size    // guarded by mu: the latest size that was not sent yet
	names  []string // guarded by mu: signals to send, at most maxPending
}

// maxPending bounds the signals that wait to be sent: a user that presses Ctrl-C more often gains nothing.
const maxPending = 8

func newOutbox(window int) *outbox {
	return &outbox{input: newFIFO(inputWindow), credit: window}
}

// grant adds credit.
func (o *outbox) grant(n uint32) {
	o.mu.Lock()
	// No honest daemon grants what it does not have; the bound keeps a dishonest one from overflowing the sum.
	o.credit = min(o.credit+int(n), 1<<30)
	o.mu.Unlock()
	poke(o.input.wake)
}

// setSize queues the window's size in the place of one that was not sent yet.
func (o *outbox) setSize(s size) {
	o.mu.Lock()
	o.resize = &s
	o.mu.Unlock()
	poke(o.input.wake)
}

// signal queues a signal.
func (o *outbox) signal(name string) {
	o.mu.Lock()
	if len(o.names) < maxPending {
		o.names = append(o.names, name)
	}
	o.mu.Unlock()
	poke(o.input.wake)
}

// run sends until ctx ends, after the message under way, or until send fails.
func (o *outbox) run(ctx context.Context, send func([]byte) error) error {
	buf := make([]byte, MaxMessage)
	saidEOF := false
	for ctx.Err() == nil {
		b := o.urgent(buf[:0])
		if len(b) == 0 {
			n, ended := o.takeInput(buf[1:])
			switch {
			case n > 0:
				buf[0] = byte(kindStdin)
				b = buf[:1+n]
			case ended && !saidEOF:
				saidEOF = true
				b = append(buf[:0], byte(kindEOF))
			}
		}
		if len(b) > 0 {
			if err := send(b); err != nil {
				return err
			}
			continue
		}
		select {
		case <-o.input.wake:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// urgent appends the next RESIZE or SIGNAL, if there is one.
func (o *outbox) urgent(dst []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.resize != nil:
		m := message{kind: kindResize, size: *o.resize}
		o.resize = nil
		return m.append(dst)
	case len(o.names) > 0:
		m := message{kind: kindSignal, signal: o.names[0]}
		o.names = o.names[1:]
		return m.append(dst)
	}
	return dst
}

// takeInput takes input as far as the credit goes, unless something goes ahead of it.
func (o *outbox) takeInput(p []byte) (n int, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.resize != nil || len(o.names) > 0 {
		return 0, false
	}
	n, ended = o.input.take(p[:min(len(p), o.credit)])
	o.credit -= n
	return n, ended
}
