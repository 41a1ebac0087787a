package session

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
)

// Flags of a DATA frame's plaintext, its first byte.
const (
	flagLast = 0
	flagMore = 1
)

// The flags byte as the head of a plaintext.
var (
	headLast = []byte{flagLast}
	headMore = []byte{flagMore}
)

// outbox is the direction that this endpoint sends. credited ≤ acked ≤ sentMax < next and acked < cursor ≤ next.
type outbox struct {
	// ring holds the frames of the sequences from credited+1 to next-1, a frame at its sequence modulo len(ring),
	// which is a power of two. What is above acked has its ciphertext, the rest only its cost. Bound: the frames above
	// credited cost at most max(window, one frame), besides the handshake frame, DATA 2 and CLOSE; each costs 256 or
	// more, so there are at most window/256 + 4.
	ring []outFrame
	// next is the sequence of the next frame to be sealed.
	next uint64
	// acked is the highest sequence that the peer says it has received; what is above is held to be sent again.
	acked uint64
	// credited is the highest sequence that the peer says it has consumed; what is above uses up the window.
	credited uint64
	// inFlight is the cost of the frames above credited.
	inFlight int
	// held is the bytes of ciphertext above acked. Bound: inFlight, and CLOSE.
	held int
	// free are buffers of full frames to seal into again. Bound: a quarter of the window, none while nothing is held.
	free [][]byte

	// cursor is the sequence that Transmit sends next.
	cursor uint64
	// sentMax is the highest sequence that was ever sent.
	sentMax uint64
	// linkLast is the last sequence that was sent on this link.
	linkLast uint64
	// linkSince is when the link came up, Unix nanoseconds; 0: it is the session's first.
	linkSince int64
	// mark is set when the next sequenced frame must carry `resend` whatever its sequence.
	mark bool

	// goBackAt is when a SEQUENCE_GAP that came too soon is acted on; zero: none waits. Nothing sequenced goes out
	// before.
	goBackAt time.Time
	// goBackTo is the lowest sequence that such a SEQUENCE_GAP expected.
	goBackTo uint64
	// lastGoBack is when the last SEQUENCE_GAP was acted on.
	lastGoBack time.Time

	// taken is how many bytes of an unfinished message Send has taken, and inMessage whether there is one.
	taken     int
	inMessage bool
	// wanted is what the fragment costs that Send had no credit for; 0: Send is not blocked.
	wanted int
	// closing is set when CLOSE has been sealed, as closeSequence; nothing is sealed after it.
	closing       bool
	closeSequence uint64
}

// outFrame is one sealed frame. It is sealed once; what is sent again are these bytes and this timestamp.
type outFrame struct {
	ciphertext []byte // nil once acked
	seconds    int64  // the envelope's timestamp
	sentAt     int64  // first sending, Unix nanoseconds; only where the sequence is at most sentMax
	nanos      int32
	cost       int32 // 0 for CLOSE, which is outside the window
	typ        relayv1.FrameType
}

// cost is what a frame uses of the window.
func cost(ciphertext int) int32 { return int32(ciphertext + frameOverhead) }

// at is the frame of a sequence above credited and below next.
func (o *outbox) at(sequence uint64) *outFrame { return &o.ring[sequence&uint64(len(o.ring)-1)] }

// push appends a sealed frame as sequence next.
func (o *outbox) push(f outFrame) {
	if n := int(o.next - o.credited - 1); n == len(o.ring) {
		old := *o
		o.ring = make([]outFrame, max(8, 2*n))
		for s := o.credited + 1; s < o.next; s++ {
			*o.at(s) = *old.at(s)
		}
	}
	*o.at(o.next) = f
	o.next++
	o.inFlight += int(f.cost)
	o.held += len(f.ciphertext)
}

// buffer returns an empty buffer with room for a ciphertext of n bytes.
func (o *outbox) buffer(n int) []byte {
	if k := len(o.free) - 1; n > maxCiphertext/2 && k >= 0 {
		b := o.free[k]
		o.free[k] = nil
		o.free = o.free[:k]
		return b
	}
	if n > maxCiphertext/2 { // so that it serves again
		return make([]byte, 0, max(n, maxCiphertext))
	}
	return make([]byte, 0, n)
}

// recycle keeps a buffer that is not needed any more, or drops it.
func (o *outbox) recycle(b []byte, window int) {
	if cap(b) >= maxCiphertext && (len(o.free)+1)*maxCiphertext <= window/4 {
		o.free = append(o.free, b[:0])
	}
}

// seal encrypts head and data as the next frame, once and for all.
func (m *Machine) seal(typ relayv1.FrameType, head, data []byte, now time.Time) error {
	n := len(head) + len(data)
	b := m.out.buffer(n + secure.Overhead)
	b = append(append(b, head...), data...)
	f := outFrame{typ: typ, seconds: now.Unix(), nanos: int32(now.Nanosecond())}
	sealed, err := m.channel.Seal(b[:0], secure.FrameInfo{
		Type: typ, Encoding: relayv1.Encoding_ENCODING_NOISE, Sequence: m.out.next, Seconds: f.seconds, Nanos: f.nanos,
	}, b)
	if err != nil {
		m.endWith(Local, reason.Cancelled, "the session has used up its sequence numbers")
		return m.end
	}
	f.ciphertext = sealed
	if typ == relayv1.FrameType_FRAME_TYPE_DATA {
		f.cost = cost(len(sealed))
	}
	m.out.push(f)
	return nil
}

// Send takes as much of msg as there is credit for, each fragment sealed as it is taken, and reports how many bytes
// that was and whether it was all. If not, the caller calls it again with the rest, msg[taken:], after Writable; a
// message that was begun must be finished before another or CloseWrite. Before Open nothing is taken. It keeps nothing
// of msg.
//
// Errors: the *End of the session; a *reason.Error MESSAGE_TOO_LARGE (nothing was taken, the session lives) or CLOSED
// after CloseWrite.
func (m *Machine) Send(msg []byte, now time.Time) (taken int, done bool, e Effects, err error) {
	o := &m.out
	switch {
	case m.end != nil:
		return 0, false, 0, m.end
	case o.closing || m.state == Closed || m.state == Ended:
		return 0, false, 0, reason.New(reason.Closed, "this side has closed its direction")
	case m.state == Open && o.taken+len(msg) > m.maxMessage:
		return 0, false, 0, reason.New(reason.MessageTooLarge, "the message has %d bytes, the limit is %d",
			o.taken+len(msg), m.maxMessage)
	}
	for {
		n := min(len(msg)-taken, maxFragment)
		c := int(cost(1 + n + secure.Overhead))
		if m.state != Open || o.inFlight > 0 && o.inFlight+c > m.window {
			o.wanted = c
			return taken, false, m.effects(now), nil
		}
		head := headLast
		if taken+n < len(msg) {
			head = headMore
		}
		if err := m.seal(relayv1.FrameType_FRAME_TYPE_DATA, head, msg[taken:taken+n], now); err != nil {
			return taken, false, m.effects(now), err
		}
		taken += n
		o.wanted = 0
		o.taken, o.inMessage = o.taken+n, taken < len(msg)
		if !o.inMessage {
			o.taken = 0
			return taken, true, m.effects(now), nil
		}
	}
}

// takeAcks takes ack and consumed of a header. They are not authenticated: what cannot be true is ignored, and what a
// relay forges costs the session at most its life (docs/protocol.md, What a malicious relay can still do).
func (m *Machine) takeAcks(ack, consumed uint64, now time.Time) {
	o := &m.out
	if ack > o.acked && ack <= o.sentMax {
		at := now.UnixNano()
		for s := o.acked + 1; s <= ack; s++ {
			f := o.at(s)
			if f.sentAt >= o.linkSince { // else the time without a link would count as slowness
				m.noteDelay(time.Duration(at-f.sentAt), now)
			}
			o.held -= len(f.ciphertext)
			o.recycle(f.ciphertext, m.window)
			f.ciphertext = nil
		}
		o.acked = ack
		if o.cursor <= ack {
			o.cursor = ack + 1
		}
		if o.held == 0 {
			o.free = nil
		}
		m.noteAdvance(now)
	}
	if consumed > o.credited && consumed <= o.acked {
		for s := o.credited + 1; s <= consumed; s++ {
			o.inFlight -= int(o.at(s).cost)
		}
		o.credited = consumed
		m.noteAdvance(now)
	}
	if o.wanted > 0 && m.state == Open && (o.inFlight == 0 || o.inFlight+o.wanted <= m.window) {
		o.wanted = 0
		m.fx |= Writable
	}
	m.settleClosed(now)
}

// receiveAck takes an ACK.
func (m *Machine) receiveAck(h *envelope.Header, now time.Time) {
	if !m.established() {
		return
	}
	m.heard = now
	m.takeAcks(h.Ack, h.Consumed, now)
}

// goBack acts on SEQUENCE_GAP with a sequence that the relay expects: at once, or when goBackInterval is over.
func (m *Machine) goBack(expected uint64, now time.Time) {
	o := &m.out
	if !o.goBackAt.IsZero() {
		o.goBackTo = min(o.goBackTo, expected)
		return
	}
	o.goBackTo = expected
	o.goBackAt = now
	if next := o.lastGoBack.Add(goBackInterval); !o.lastGoBack.IsZero() && now.Before(next) {
		o.goBackAt = next
		return
	}
	m.goBackNow(now)
}

// goBackNow goes on from what the relay expects or the lowest held. It never skips a frame that is still to be sent.
func (m *Machine) goBackNow(now time.Time) {
	o := &m.out
	o.cursor = min(o.cursor, max(o.goBackTo, o.acked+1))
	o.mark = true
	o.lastGoBack, o.goBackAt = now, time.Time{}
}

// sequencedDue reports whether Transmit may send the frame at cursor.
func (m *Machine) sequencedDue() bool {
	return m.out.cursor < m.out.next && !m.waiting && m.out.goBackAt.IsZero()
}

// WantsToSend reports whether Transmit has something to append.
func (m *Machine) WantsToSend() bool {
	switch {
	case m.offline:
		return false
	case m.state == Ended:
		return m.final.reset != nil
	}
	return m.resumeDue || m.resumedDue || m.ackDue() || m.sequencedDue() || m.release
}

// ackDue reports whether an ACK may go out. One that goes before RESUME or RESUMED on a new link only costs a
// SEQUENCE_GAP, and those two carry what it would say.
func (m *Machine) ackDue() bool { return m.in.ackDue && !m.waiting }

// Transmit appends what is due as elements of an EnvelopeBatch, while len(dst) stays within limit; to an empty dst
// always at least one envelope. It returns dst, which is the caller's, and how many envelopes it appended. They count
// as sent: the caller must write them to the link, in order. Call it again while WantsToSend.
func (m *Machine) Transmit(dst []byte, limit int, now time.Time) (out []byte, envelopes int) {
	before := m.transmitted
	switch {
	case m.offline:
		return dst, 0
	case m.state == Ended:
		dst = m.appendFinal(dst, limit)
		return dst, m.transmitted - before
	}
	if m.resumeDue {
		dst, m.resumeDue = m.appendResume(dst, limit, relayv1.FrameType_FRAME_TYPE_RESUME, now)
	}
	if m.resumedDue {
		dst, m.resumedDue = m.appendResume(dst, limit, relayv1.FrameType_FRAME_TYPE_RESUMED, now)
	}
	// An ack rides on the first sending of a frame; before a resend it goes by itself, since the guard may drop that.
	if m.ackDue() && !(m.sequencedDue() && m.out.cursor > m.out.sentMax) {
		m.prepare(relayv1.FrameType_FRAME_TYPE_ACK)
		var ok bool
		if dst, ok = m.appendPrepared(dst, limit, nil); ok {
			m.ackCounts()
		}
	}
	for ok := true; ok && m.sequencedDue(); {
		dst, ok = m.appendSequenced(dst, limit, now)
	}
	if m.release {
		dst, m.release = m.appendRelease(dst, limit)
	}
	m.settleStall(now)
	return dst, m.transmitted - before
}

// appendFinal appends the farewell of a session that has ended, if it is due and fits.
func (m *Machine) appendFinal(dst []byte, limit int) []byte {
	f := &m.final
	if !f.bind {
		f.resume = nil
	}
	if f.reset == nil || len(dst) > 0 && len(dst)+len(f.resume)+len(f.reset) > limit {
		return dst
	}
	if f.resume != nil {
		m.transmitted++
	}
	m.transmitted++
	dst = append(append(dst, f.resume...), f.reset...)
	m.final, m.done = farewell{}, true
	return dst
}

// prepare fills the header with what every frame of this session has.
func (m *Machine) prepare(typ relayv1.FrameType) {
	m.header = envelope.Header{
		Type: typ, Workspace: m.workspace, Target: m.target, Session: m.sessionID,
		Ack: m.in.expected - 1, Consumed: m.in.consumed,
	}
}

// appendPrepared appends the prepared header and ciphertext if they fit.
func (m *Machine) appendPrepared(dst []byte, limit int, ciphertext []byte) ([]byte, bool) {
	if len(dst) > 0 && len(dst)+envelope.AppendedSize(&m.header, len(ciphertext)) > limit {
		return dst, false
	}
	m.transmitted++
	return envelope.Append(dst, &m.header, ciphertext), true
}

// appendSequenced appends the frame at cursor.
func (m *Machine) appendSequenced(dst []byte, limit int, now time.Time) ([]byte, bool) {
	o := &m.out
	f := o.at(o.cursor)
	m.prepare(f.typ)
	m.header.Sequence = o.cursor
	m.header.Timestamp = envelope.Timestamp{Present: true, Seconds: f.seconds, Nanos: f.nanos}
	m.header.Encoding = relayv1.Encoding_ENCODING_NOISE
	m.header.Resend = o.mark || o.cursor != o.linkLast+1
	if o.cursor == 1 {
		m.header.Profile, m.header.BindKey = m.profile, m.bindKey
	}
	dst, ok := m.appendPrepared(dst, limit, f.ciphertext)
	if !ok {
		return dst, false
	}
	if o.cursor > o.sentMax {
		o.sentMax = o.cursor
		f.sentAt = now.UnixNano()
		m.ackCounts()
	}
	o.linkLast, o.mark = o.cursor, false
	o.cursor++
	return dst, true
}
