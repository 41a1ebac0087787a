package session

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// LinkLost tells that the link to the relay ended. A session with keys goes on: Send and Next work on what there is, and
// nothing goes out before LinkUp. A handshake is not resumed, it ends with LINK_LOST (Handshake and resume 1).
func (m *Machine) LinkLost(now time.Time) Effects {
	if m.state == Handshaking {
		m.finish(Link, reason.New(reason.LinkLost, ""))
	}
	if !m.done {
		m.offline, m.waiting = true, m.state == HalfOpen || m.state == Open
	}
	return m.effects(now)
}

// LinkUp tells that there is a new link, whether or not the one before was seen to end (Handshake and resume 2 and 4):
// a client sends RESUME at once, a daemon waits for it, and neither sends a sequenced frame before. Whatever was on its
// way on the old link is sent again.
func (m *Machine) LinkUp(now time.Time) Effects {
	m.offline, m.out.linkLast, m.out.linkSince = false, 0, now.UnixNano()
	switch m.state {
	case Handshaking:
		if m.out.sentMax > 0 {
			m.finish(Link, reason.New(reason.LinkLost, ""))
		}
	case HalfOpen, Open:
		m.waiting, m.gapTop = true, 0
		m.out.goBackAt = time.Time{}
		m.resumeDue, m.resumedDue, m.owed, m.resumeAt = m.client, false, false, time.Time{}
		m.settleStall(now)
		m.stallSince, m.probes = now, 0 // the probes of the time without a link say nothing about this one
	case Closed:
		m.asking = m.client && !m.confirmed
		m.resumeDue, m.resumedDue, m.resumeAt, m.probes = m.asking, false, time.Time{}, 0
	case Ended:
		m.final.bind = true
	}
	return m.effects(now)
}

// Abandon tells that there will be no link any more. The session ends with LINK_LOST, what was received stays readable;
// a tombstone is over.
func (m *Machine) Abandon(now time.Time) Effects {
	switch m.state {
	case Ended:
		m.final, m.done = farewell{}, true
	case Closed:
		m.over()
	default:
		m.finish(Link, reason.New(reason.LinkLost, ""))
	}
	return m.effects(now)
}

// Reachable reports whether frames go to the peer as they are sent: there is a link, and the peer has answered on it.
func (m *Machine) Reachable() bool { return m.state != Ended && !m.offline && !m.waiting }

// Heard is when something last came from the peer's direction; an ACK counts, which nothing proves.
func (m *Machine) Heard() time.Time { return m.heard }

// Ask has the peer show whether it is there: RESUME goes out, at most once a second, and the answer counts as heard.
func (m *Machine) Ask(now time.Time) Effects {
	if m.state == Open && m.Reachable() && now.Sub(m.lastResume) >= resumeInterval {
		m.resumeDue = true
	}
	return m.effects(now)
}

// confirm is called at a client when its peer has everything and is over, too: the tombstone asks no more, on this link
// or another.
func (m *Machine) confirm() { m.confirmed, m.asking, m.resumeAt = true, false, time.Time{} }

// appendRelease appends the RESET that lets the relay, which may have met the session by the RESUME of a tombstone or
// have seen one CLOSE only, count it as over: it still forwards, and both ends ignore it. It returns whether that is
// still due.
func (m *Machine) appendRelease(dst []byte, limit int) ([]byte, bool) {
	b := AppendReset(nil, m.cfg.Workspace, m.cfg.Target, m.id, reason.Cancelled)
	if len(dst) > 0 && len(dst)+len(b) > limit {
		return dst, true
	}
	m.transmitted++
	return append(dst, b...), false
}
