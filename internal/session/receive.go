package session

import (
	"io"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
)

// inbox is the direction that this endpoint receives. consumed < expected; the queue holds exactly the frames of the
// sequences between them.
type inbox struct {
	// expected is the sequence that comes next; all below have been received and verified.
	expected uint64
	// consumed is the highest sequence that has left the queue.
	consumed uint64
	// queue[head:] are frames that were received and not consumed. Bound: DATA frames of cost queued, and one CLOSE.
	queue []inFrame
	head  int
	// queued is the cost of the queue. Bound: max(window, 16,273).
	queued int

	// message is what is reassembled, or a whole message that Next has not taken. Bound: max-message, one flags byte
	// and one tag.
	message []byte
	// partial is set while fragments of message are missing, ready when it is whole; never both.
	partial, ready bool
	// unfinished is set while the last fragment received is not the last of its message; tail is how many bytes of
	// that message were received, wherever they lie.
	unfinished bool
	tail       int

	// closeReceived is set when CLOSE was received: nothing sequenced comes after it.
	closeReceived bool
	// eof is set when CLOSE was consumed, so that all before it is whole; info is what it said.
	eof  bool
	info closeInfo

	// ackDue makes an ACK go out with the next Transmit.
	ackDue bool
	// ackAt is when that will be set; zero: nothing waits to be acked, or ackDue is set.
	ackAt time.Time
	// received and taken are what was received and consumed, in cost, since an ack last counted as sent.
	received, taken int
}

// closeInfo is what a CLOSE says.
type closeInfo struct{ code, text string }

// inFrame is one received frame.
type inFrame struct {
	data  []byte // without the flags; of CLOSE the plaintext
	cost  int32  // 0 for CLOSE
	more  bool
	close bool
}

// receiveSequenced takes DATA and CLOSE.
func (m *Machine) receiveSequenced(h *envelope.Header, ciphertext []byte, now time.Time) {
	in := &m.in
	switch {
	case !m.established() || h.Sequence < in.expected || in.closeReceived:
		return
	case h.Sequence > in.expected:
		m.gapTop = max(m.gapTop, h.Sequence)
		m.wantResume(now, now)
		return
	case len(ciphertext) > maxCiphertext:
		m.noteUnverified()
		return
	}
	n := len(ciphertext) - secure.Overhead
	// A fragment that goes on with a message is opened where it belongs. Its flags byte lies between, and is closed
	// up.
	inPlace := in.partial && in.head == len(in.queue) && len(in.message)+n <= m.maxMessage+1
	var dst []byte
	if inPlace {
		in.grow(n, m.maxMessage+1)
		dst = in.message
	} else if n > 0 {
		dst = make([]byte, 0, n)
	}
	plaintext, err := m.channel.Open(dst, secure.FrameInfo{
		Type: h.Type, Encoding: h.Encoding, Sequence: h.Sequence,
		Seconds: h.Timestamp.Seconds, Nanos: h.Timestamp.Nanos,
	}, ciphertext)
	if err != nil {
		m.noteUnverified()
		return
	}
	plaintext = plaintext[len(dst):]
	in.expected++
	m.noteVerified(now)
	f := inFrame{data: plaintext, close: h.Type == relayv1.FrameType_FRAME_TYPE_CLOSE}
	if !f.close {
		f.cost = cost(len(ciphertext))
	}
	in.received += int(f.cost)
	switch {
	case m.client || h.Sequence > 2:
		if !m.admit(&f) {
			return
		}
		m.store(f, inPlace)
		m.advance()
	case f.close:
		m.endWith(Local, reason.DecryptFailed, "the peer closed before it gave its session parameters")
		return
	default:
		if !m.firstData(plaintext) {
			return
		}
	}
	m.noteAckWanted(now)
	m.takeAcks(h.Ack, h.Consumed, now)
}

// admit checks a verified frame against the limits and splits its flags off. A false ends the session.
func (m *Machine) admit(f *inFrame) bool {
	in := &m.in
	if f.close {
		if in.unfinished {
			m.endWith(Local, reason.Cancelled, "the peer closed in the middle of a message")
			return false
		}
		in.closeReceived = true
		return true
	}
	if len(f.data) == 0 || f.data[0]&^flagMore != 0 {
		m.endWith(Local, reason.DecryptFailed, "a frame of the peer verifies but is malformed")
		return false
	}
	f.more = f.data[0]&flagMore != 0
	f.data = f.data[1:]
	in.tail += len(f.data)
	if in.queued+int(f.cost) > max(m.window, maxFrameCost) {
		m.endWith(Local, reason.FlowViolation, "the peer sent more than its window")
		return false
	}
	if in.tail > m.maxMessage {
		m.endWith(Local, reason.FlowViolation, "the peer sent a message above the limit")
		return false
	}
	if in.unfinished = f.more; !f.more {
		in.tail = 0
	}
	return true
}

// store puts an admitted frame where advance finds it, at the end of the queue or, opened in place, into the message.
func (m *Machine) store(f inFrame, inPlace bool) {
	in := &m.in
	if !inPlace || f.close {
		if len(in.queue) == cap(in.queue) && in.head > len(in.queue)/2 {
			n := copy(in.queue, in.queue[in.head:])
			clear(in.queue[n:])
			in.queue, in.head = in.queue[:n], 0
		}
		in.queue = append(in.queue, f)
		in.queued += int(f.cost)
		return
	}
	at := len(in.message)
	in.message = in.message[:at+len(f.data)]
	copy(in.message[at:], f.data)
	in.settle(f)
	m.noteMessage()
}

// advance consumes: it moves fragments from the queue into the message while that is not whole.
func (m *Machine) advance() {
	in := &m.in
	for in.head < len(in.queue) && !in.ready {
		f := in.queue[in.head]
		in.queue[in.head] = inFrame{}
		in.head++
		in.queued -= int(f.cost)
		if f.close {
			in.consumed++
			in.eof = true
			in.info = readClose(f.data)
			m.fx |= Readable
			break
		}
		if in.partial {
			in.grow(len(f.data), m.maxMessage)
			in.message = append(in.message, f.data...)
		} else {
			in.message = f.data
		}
		in.settle(f)
		m.noteMessage()
	}
	if in.head == len(in.queue) {
		in.head = 0
		if cap(in.queue) > 64 {
			in.queue = nil
		} else {
			in.queue = in.queue[:0]
		}
	}
}

// settle counts a DATA frame as consumed.
func (in *inbox) settle(f inFrame) {
	in.consumed++
	in.taken += int(f.cost)
	in.partial, in.ready = f.more, !f.more
}

func (m *Machine) noteMessage() {
	if m.in.ready {
		m.fx |= Readable
	}
}

// grow makes room for n more bytes of the message: doubling, but never above limit.
func (in *inbox) grow(n, limit int) {
	need := len(in.message) + n
	if need <= cap(in.message) {
		return
	}
	b := make([]byte, len(in.message), max(need, min(2*cap(in.message), limit)))
	copy(b, in.message)
	in.message = b
}

// Next returns the next whole message, which the caller then owns; ok is false while there is none. What was received
// before an end comes before the end's error: io.EOF after a decrypted CLOSE, which says that every message came, else
// the session's *End.
func (m *Machine) Next(now time.Time) (msg []byte, ok bool, e Effects, err error) {
	in := &m.in
	if !in.ready {
		switch {
		case in.eof:
			return nil, false, 0, io.EOF
		case m.end != nil:
			return nil, false, 0, m.end
		}
		return nil, false, 0, nil
	}
	msg = in.message
	in.message, in.ready = nil, false
	before := in.consumed
	m.advance()
	if in.consumed != before && m.state != Ended {
		m.noteAckWanted(now)
	}
	e = m.effects(now)
	return msg, true, e, nil
}

// noteAckWanted lets an ack go out at once after a quarter window, else within ackDelay. CLOSE is acked at once: nothing
// follows that the ack could ride on, and a peer that leaves waits for it.
func (m *Machine) noteAckWanted(now time.Time) {
	in := &m.in
	if in.closeReceived || max(in.received, in.taken) >= m.window/4 {
		in.ackDue, in.ackAt = true, time.Time{}
		return
	}
	m.ackSoon(now)
}

// ackSoon makes the next ack go out within ackDelay.
func (m *Machine) ackSoon(now time.Time) {
	if m.in.ackAt.IsZero() && !m.in.ackDue {
		m.in.ackAt = now.Add(ackDelay)
	}
}

// ackCounts is called when what goes out carries ack and consumed and counts as sending them.
func (m *Machine) ackCounts() {
	m.in.ackDue, m.in.ackAt = false, time.Time{}
	m.in.received, m.in.taken = 0, 0
}
