package session

import "fmt"

// Buffered is how many bytes the session holds: out, ciphertext that was not acked, at most max(window, one frame) and
// a CLOSE; in, what Next has not given: the message that is reassembled, at most max-message, and the cost of the
// frames behind it, at most max(window, 16,273).
func (m *Machine) Buffered() (out, in int) { return m.out.held, m.in.queued + len(m.in.message) }

// Check returns the first invariant that does not hold, for tests.
func (m *Machine) Check() error {
	for _, check := range []func() error{m.checkLife, m.out.check, m.checkOut, m.checkIn} {
		if err := check(); err != nil {
			return fmt.Errorf("session %.6s: %w", m.id, err)
		}
	}
	return nil
}

func (m *Machine) checkLife() error {
	keys := m.state == HalfOpen || m.state == Open || m.state == Closed
	switch {
	case keys != (m.channel != nil):
		return fmt.Errorf("in state %d: keys %t", m.state, m.channel != nil)
	case (m.state == Handshaking) != (m.handshake != nil):
		return fmt.Errorf("in state %d: handshake %t", m.state, m.handshake != nil)
	case m.end != nil && m.state != Ended:
		return fmt.Errorf("in state %d with an end", m.state)
	case m.final.reset != nil && (m.state != Ended || m.done):
		return fmt.Errorf("a RESET is due in state %d, done %t", m.state, m.done)
	case m.final.resume != nil && !m.client, (m.release || m.asking) && (m.state != Closed || !m.client):
		return fmt.Errorf("in state %d: a farewell that is not due", m.state)
	case m.unverified > maxUnverified, m.unverified == maxUnverified && m.state != Ended:
		return fmt.Errorf("%d unverified in a row", m.unverified)
	}
	return nil
}

func (o *outbox) check() error {
	if o.next == 0 { // over
		return nil
	}
	if o.credited > o.acked || o.acked > o.sentMax || o.sentMax >= o.next || o.cursor <= o.acked || o.cursor > o.next {
		return fmt.Errorf("out of order: credited %d acked %d sent %d cursor %d next %d",
			o.credited, o.acked, o.sentMax, o.cursor, o.next)
	}
	inFlight, held := 0, 0
	for s := o.credited + 1; s < o.next; s++ {
		f := o.at(s)
		inFlight += int(f.cost)
		held += len(f.ciphertext)
		if (s > o.acked) != (f.ciphertext != nil) {
			return fmt.Errorf("frame %d: held %t, acked %d", s, f.ciphertext != nil, o.acked)
		}
	}
	if inFlight != o.inFlight || held != o.held {
		return fmt.Errorf("in flight %d, counted %d; held %d, counted %d", inFlight, o.inFlight, held, o.held)
	}
	return nil
}

// checkOut checks the bounds of what is held. The handshake frame and DATA 2 may come above the window.
func (m *Machine) checkOut() error {
	const early = 2 * (1024 + frameOverhead)
	if limit := max(m.window, maxFrameCost) + early; m.out.inFlight > limit {
		return fmt.Errorf("in flight %d, limit %d", m.out.inFlight, limit)
	}
	if free := len(m.out.free) * maxCiphertext; free > m.window/4 || free > 0 && m.out.held == 0 {
		return fmt.Errorf("%d bytes of free buffers, %d held", free, m.out.held)
	}
	return nil
}

func (m *Machine) checkIn() error {
	in := &m.in
	queued, frames := 0, uint64(0)
	for _, f := range in.queue[in.head:] {
		queued += int(f.cost)
		frames++
	}
	switch {
	case queued != in.queued:
		return fmt.Errorf("queued %d, counted %d", in.queued, queued)
	case queued > max(m.window, maxFrameCost):
		return fmt.Errorf("queued %d, window %d", queued, m.window)
	case m.state != Ended && in.expected-1-in.consumed != frames:
		return fmt.Errorf("expected %d, consumed %d, queued %d frames", in.expected, in.consumed, frames)
	case in.partial && in.ready:
		return fmt.Errorf("a message is whole and is not")
	case len(in.message) > m.maxMessage || cap(in.message) > max(m.maxMessage, maxFragment)+64:
		return fmt.Errorf("a message of %d bytes, %d reserved, limit %d", len(in.message), cap(in.message), m.maxMessage)
	}
	return nil
}
