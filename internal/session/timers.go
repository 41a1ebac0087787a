package session

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// noteVerified is called with each frame and proof of the peer that verified.
func (m *Machine) noteVerified(now time.Time) {
	m.verified, m.heard, m.unverified = now, now, 0
}

// noteUnverified is called with each that did not, and changes nothing else before the limit.
func (m *Machine) noteUnverified() {
	m.unverified++
	if m.unverified >= maxUnverified {
		m.endWith(Local, reason.DecryptFailed, "too many frames in a row do not verify")
	}
}

// noteAdvance is called when ack or consumed of the peer advances.
func (m *Machine) noteAdvance(now time.Time) {
	m.advanced, m.probes = now, 0
}

// noteDelay is called with the time from a frame's first sending to its ack.
func (m *Machine) noteDelay(d time.Duration, now time.Time) {
	if now.Sub(m.slowSince) >= time.Minute {
		m.slow[0], m.slow[1], m.slowSince = 0, m.slow[0], now
	}
	m.slow[0] = max(m.slow[0], d)
}

// settleStall keeps the stall probe's condition: something is due from the peer.
func (m *Machine) settleStall(now time.Time) {
	live := m.state == HalfOpen || m.state == Open
	stalled := live && (m.out.acked < m.out.sentMax || m.out.wanted > 0 && m.state == Open || m.waiting)
	if stalled != m.stalled {
		m.stalled, m.stallSince, m.probes = stalled, now, 0
	}
}

// probeDue is when the stall probe is due; zero: never. Silence before the stall began does not count.
func (m *Machine) probeDue() time.Time {
	if !m.stalled {
		return time.Time{}
	}
	at := m.probeAt
	if m.probes == 0 {
		at = earliest(latest(m.heard, m.stallSince).Add(silentProbe), latest(m.advanced, m.stallSince).Add(stuckProbe))
	}
	if m.lastResume.IsZero() {
		return at
	}
	return latest(at, m.lastResume.Add(min(2*max(m.slow[0], m.slow[1]), maxProbe)))
}

// ask makes RESUME due, as a keepalive or as a stall probe: then the next is due after 10, 20, 40, each 60 s, ±25 %.
func (m *Machine) ask(now time.Time) {
	m.resumeDue = true
	if m.stalled {
		m.probeAt = m.nextProbe(now)
	}
}

// nextProbe is when to ask again if this probe is not answered.
func (m *Machine) nextProbe(now time.Time) time.Time {
	d := min(silentProbe<<min(m.probes+1, 4), maxProbe)
	m.probes++
	return now.Add(d*3/4 + time.Duration(m.rand.Int64N(int64(d/2))))
}

// keepaliveDue is when a session that is silent asks whether its peer still lives.
func (m *Machine) keepaliveDue() time.Time {
	at := m.verified.Add(min(keepaliveAfter, m.cfg.Lifetime/2))
	if m.lastResume.IsZero() {
		return at
	}
	return latest(at, m.lastResume.Add(keepaliveInterval))
}

// expires is when the session ends for want of a word of its peer; zero: it waits for none.
func (m *Machine) expires() time.Time {
	switch m.state {
	case Handshaking, HalfOpen:
		return m.handshakeBy
	case Open:
		return m.verified.Add(m.cfg.Lifetime)
	case Closed:
		return m.closedAt.Add(tombstoneLifetime)
	}
	return time.Time{}
}

// expire ends it.
func (m *Machine) expire() {
	if m.state == Closed {
		m.over()
		return
	}
	m.tell(reason.Cancelled)
	switch {
	case m.state != Handshaking:
		m.finish(Local, reason.New(reason.PeerSilent, ""))
	case m.badResponse:
		m.finish(Local, reason.New(reason.HandshakeFailed, ""))
	default:
		m.finish(Local, reason.New(reason.HandshakeTimeout, ""))
	}
}

// askDue is when RESUME becomes due; zero: never, or it is.
func (m *Machine) askDue() time.Time {
	switch {
	case m.resumeDue || m.offline:
		return time.Time{}
	case m.state == Open:
		return earliest(m.resumeAt, earliest(m.probeDue(), m.keepaliveDue()))
	}
	return earliest(m.resumeAt, m.probeDue())
}

// Deadline is when Tick is due; zero: never. Each input and each Transmit may move it.
func (m *Machine) Deadline() time.Time {
	return earliest(earliest(m.expires(), m.askDue()), earliest(m.in.ackAt, m.out.goBackAt))
}

// Tick does what has become due. Calling it early does nothing.
func (m *Machine) Tick(now time.Time) Effects {
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	if due(m.expires()) {
		m.expire()
		return m.effects(now)
	}
	if due(m.in.ackAt) {
		m.in.ackDue, m.in.ackAt = true, time.Time{}
	}
	if due(m.out.goBackAt) {
		m.goBackNow(now)
	}
	m.settleResume(now)
	if due(m.askDue()) {
		m.ask(now)
	}
	return m.effects(now)
}
