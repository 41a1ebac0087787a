package route

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// silentIntervals is after how many heartbeat intervals without a frame a link is dead.
const silentIntervals = 3

// sessionList is a list of sessions in the order of their due.
type sessionList struct {
	head, tail *session
	n          int
}

// enlist puts a session, which may be in a list already, at the end of q.
func (t *Target) enlist(s *session, q *sessionList, lifetime time.Duration) {
	t.unlist(s)
	s.list, s.prev, s.due = q, q.tail, t.now.Add(lifetime)
	if q.tail != nil {
		q.tail.next = s
	} else {
		q.head = s
	}
	q.tail = s
	q.n++
	t.at(s.due)
}

// unlist takes a session out of its list, if it is in one.
func (t *Target) unlist(s *session) {
	q := s.list
	if q == nil {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		q.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		q.tail = s.prev
	}
	s.list, s.prev, s.next = nil, nil, nil
	q.n--
}

// tick does what is due and finds out when something is next.
func (t *Target) tick() {
	t.due = time.Time{}
	if t.candidate != nil && !t.now.Before(t.probeEnd) {
		t.giveWay()
	}
	// Backwards, because a link that is closed is replaced by the last.
	for i := len(t.links) - 1; i >= 0; i-- {
		if interval := t.interval(t.links[i]); interval > 0 {
			t.beat(t.links[i], interval)
		}
	}
	for _, in := range []*owners{&t.legacy.exchanges, &t.legacy.pairings, &t.legacy.sessions} {
		t.expireOwned(in)
	}
	for _, q := range []*sessionList{&t.closed, &t.lost} {
		for q.head != nil && !t.now.Before(q.head.due) {
			t.forget(q.head)
		}
		if q.head != nil {
			t.at(q.head.due)
		}
	}
	if t.candidate != nil {
		t.at(t.probeEnd)
	}
	if !t.generationEnd.IsZero() {
		if t.now.Before(t.generationEnd) {
			t.at(t.generationEnd)
		} else {
			t.generation, t.generationEnd = 0, time.Time{}
		}
	}
}

// legacyHeartbeat is the longest interval of heartbeats to a legacy link, whose peer sends none of its own and watches
// for none.
const legacyHeartbeat = 30 * time.Second

// interval is that of l's heartbeats; 0: it gets none.
func (t *Target) interval(l *Link) time.Duration {
	d := t.limits.Heartbeat
	if l.peer.Legacy && (d <= 0 || d > legacyHeartbeat) {
		return legacyHeartbeat
	}
	return d
}

// beat closes a link that is dead, and sends a HEARTBEAT on one that has sent nothing.
func (t *Target) beat(l *Link, interval time.Duration) {
	dead := l.heard.Add(silentIntervals * interval)
	if !t.now.Before(dead) {
		t.close(l, errDead)
		return
	}
	t.at(dead)
	since := l.sent
	if l.peer.Legacy {
		since = latest(l.heard, l.pinged) // however much goes to it, only a ping has it show that it is there
	}
	next := since.Add(interval)
	if !t.now.Before(next) {
		l.pinged = t.now
		t.tellLink(l, dueHeartbeat)
		next = t.now.Add(interval)
	}
	t.at(next)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// touch keeps a session that is over for a while longer: one of its frames passed.
func (t *Target) touch(s *session) {
	if s.over {
		t.enlist(s, &t.closed, t.limits.ClosedLifetime)
	}
}

// errDead is shared by all links that end with it, as the others of its kind are.
var errDead = &reason.Error{Code: reason.LinkDead}
