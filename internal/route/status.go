package route

import (
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/guard"
	"github.com/getviewport/relay/internal/reason"
)

// due is a set of things that a link is to be told about itself. Each is told once however often it came up, so that
// none is ever lost for want of room.
type due uint8

const (
	duePeerAvailable due = 1 << iota
	duePeerUnavailable
	dueProbe
	dueHeartbeat
	dueDrain
)

// maxStatuses bounds the STATUS frames about sessions that wait at a link. One that finds no room is left out: what it
// tells lasts, and is told again.
const maxStatuses = 512

// status is a STATUS frame about a session that is still to be written.
type status struct {
	code     reason.Code
	session  string
	expected uint64
	limit    Limit // what refused the session, if one did; then it has the code
}

// statusRing is a bounded queue that grows as it is needed.
type statusRing struct {
	buf     []status // its length is a power of two
	head, n int
}

func (q *statusRing) push(s status) bool {
	if q.n == maxStatuses {
		return false
	}
	if q.n == len(q.buf) {
		grown := make([]status, max(8, 2*len(q.buf)))
		for i := range q.n {
			grown[i] = q.buf[(q.head+i)&(len(q.buf)-1)]
		}
		q.buf, q.head = grown, 0
	}
	q.buf[(q.head+q.n)&(len(q.buf)-1)] = s
	q.n++
	return true
}

func (q *statusRing) pop() status {
	i := q.head & (len(q.buf) - 1)
	s := q.buf[i]
	q.buf[i] = status{}
	q.head = i + 1
	q.n--
	return s
}

const (
	// expectDaemon is how long a daemon that left is expected back; meanwhile PEER_UNAVAILABLE has a retry_after, by which
	// a client tells a handshake that was cut off from one to nobody.
	expectDaemon = 30 * time.Second
	expectRetry  = time.Second
)

// tell queues a STATUS about a session for l.
func (t *Target) tell(l *Link, code reason.Code, session string, expected uint64) {
	t.queueStatus(l, status{code: code, session: session, expected: expected})
}

func (t *Target) queueStatus(l *Link, s status) {
	if !l.statuses.push(s) {
		t.drops.add(DropStatus, 1)
		return
	}
	t.wake(l)
}

// tellAgain is tell, at most once a second for a side of a session.
func (t *Target) tellAgain(l *Link, sd *side, code reason.Code, session string) {
	if sd.told.IsZero() || t.now.Sub(sd.told) >= guard.Again {
		sd.told = t.now
		t.tell(l, code, session, 0)
	}
}

// tellUnbound tells a client to resume a session, once a second for the one it was told last. What was told is kept
// with the link, because anybody may name the session: nobody's noise keeps its owner from being told.
func (t *Target) tellUnbound(l *Link, id []byte) {
	if l.unbound == string(id) && t.now.Sub(l.toldUnbound) < guard.Again {
		return
	}
	l.unbound, l.toldUnbound = string(id), t.now
	t.tell(l, reason.SequenceGap, l.unbound, 0)
}

// tellLink tells l something about itself.
func (t *Target) tellLink(l *Link, d due) {
	switch d {
	case duePeerAvailable:
		l.due &^= duePeerUnavailable
	case duePeerUnavailable:
		l.due &^= duePeerAvailable
		l.toldUnavailable = true
	}
	l.due |= d
	t.wake(l)
}

// tellClients tells every client's link.
func (t *Target) tellClients(d due) {
	for _, l := range t.links {
		if l.peer.Role == Client {
			t.tellLink(l, d)
		}
	}
}

// drain tells l, or all links, why they should go. A daemon that waits for another one's place is refused.
func (t *Target) drain(l *Link, why *reason.Error) {
	if c := t.candidate; c != nil && (l == nil || l == c) {
		t.candidate = nil
		t.reject(c, why)
	}
	for _, x := range t.links {
		if l == nil || l == x {
			x.draining = why
			t.tellLink(x, dueDrain)
		}
	}
}

// takeControl writes what l is told into o, as much as begins within limit bytes, and returns its bytes.
func (t *Target) takeControl(l *Link, limit int, o *envelope.Outgoing) int {
	if l.due == 0 && l.statuses.n == 0 {
		return 0
	}
	var b []byte
	frames := 0
	for _, d := range []due{dueProbe, dueHeartbeat, dueDrain, duePeerUnavailable, duePeerAvailable} {
		if l.due&d != 0 {
			b = t.appendDue(b, l, d)
			frames++
		}
	}
	l.due = 0
	for l.statuses.n > 0 && len(b) < limit {
		s := l.statuses.pop()
		st := statusOf(&reason.Error{Code: s.code})
		if s.limit != NoLimit {
			st = statusOf(t.refusal(s.limit))
		}
		st.Expected = s.expected
		b = envelope.AppendStatus(b, t.workspace, t.target, s.session, st)
		frames++
	}
	l.wireControl = int64(len(b))
	t.charge(l, l.wireControl)
	o.Add(envelope.RunOf(b, frames))
	return len(b)
}

func (t *Target) appendDue(b []byte, l *Link, d due) []byte {
	var why *reason.Error
	switch d {
	case dueProbe, dueHeartbeat:
		return envelope.AppendHeartbeat(b, t.workspace, t.target, d == dueProbe)
	case dueDrain:
		why = l.draining
	case duePeerUnavailable:
		why = &reason.Error{Code: reason.PeerUnavailable}
		if !t.daemonLeft.IsZero() && t.now.Sub(t.daemonLeft) < expectDaemon {
			why.RetryAfter = expectRetry
		}
	default:
		why = &reason.Error{Code: reason.PeerAvailable}
	}
	return envelope.AppendStatus(b, t.workspace, t.target, "", statusOf(why))
}

func statusOf(e *reason.Error) envelope.Status {
	return envelope.Status{Code: e.Code, Message: e.Message(), Retryable: e.Retryable(), RetryAfter: e.RetryAfter}
}
