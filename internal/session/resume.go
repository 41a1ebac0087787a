package session

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
)

// wantResume lets RESUME go out at a time, but not before resumeInterval is over since the last: deferred, never
// forgotten while its cause lasts.
func (m *Machine) wantResume(at, now time.Time) {
	if !m.lastResume.IsZero() {
		at = latest(at, m.lastResume.Add(resumeInterval))
	}
	m.resumeAt = earliest(m.resumeAt, at)
	m.settleResume(now)
}

// settleResume makes a deferred RESUME due when its time has come, and forgets it when nothing needs it any more.
func (m *Machine) settleResume(now time.Time) {
	switch {
	case m.resumeAt.IsZero():
	case !m.waiting && !m.asking && !m.owed && m.gapTop < m.in.expected:
		m.resumeAt = time.Time{}
	case !now.Before(m.resumeAt):
		m.resumeDue, m.resumeAt = true, time.Time{}
	}
}

// first is the lowest sequence that is still held, or the next one to be sent.
func (m *Machine) first() uint64 { return m.out.acked + 1 }

// appendResume appends RESUME or RESUMED if it fits, and returns whether it is still due.
func (m *Machine) appendResume(dst []byte, limit int, typ relayv1.FrameType, now time.Time) ([]byte, bool) {
	m.prepare(typ)
	h := &m.header
	h.Sequence, h.ResumeAttempt, h.Encoding = m.first(), m.attempt+1, relayv1.Encoding_ENCODING_NOISE
	if typ == relayv1.FrameType_FRAME_TYPE_RESUME {
		h.BindKey = m.bindKey
	}
	mac := m.channel.Prove(m.proof(h, ""))
	dst, ok := m.appendPrepared(dst, limit, mac[:])
	if !ok {
		return dst, true
	}
	m.attempt++
	m.ackCounts()
	if typ == relayv1.FrameType_FRAME_TYPE_RESUME {
		m.lastResume, m.outstanding, m.owed, m.resumeAt = now, true, false, time.Time{}
		if m.asking {
			m.resumeAt, m.release = m.nextProbe(now), true
		}
	}
	return dst, false
}

// proof is what a header of RESUME, RESUMED or RESET claims; code is the status code of a RESET.
func (m *Machine) proof(h *envelope.Header, code reason.Code) secure.Proof {
	return secure.Proof{
		Type: h.Type, Session: m.id, First: h.Sequence, Ack: h.Ack, Consumed: h.Consumed, Attempt: h.ResumeAttempt,
		Code: string(code),
	}
}

// accept reports whether h has a proof of the peer that is newer than the last one.
func (m *Machine) accept(h *envelope.Header, code reason.Code, mac []byte, now time.Time) bool {
	if h.ResumeAttempt <= m.peerAttempt {
		return false
	}
	if !m.channel.Verify(m.proof(h, code), mac) {
		m.noteUnverified()
		return false
	}
	m.peerAttempt = h.ResumeAttempt
	m.noteVerified(now)
	return true
}

// receiveResume takes RESUME and RESUMED. Each that is accepted causes a resend, never suppressed as a duplicate: the
// obvious saving there hangs sessions (docs/protocol.md, Sequencing).
func (m *Machine) receiveResume(h *envelope.Header, mac []byte, now time.Time) {
	if !m.established() || !m.accept(h, "", mac, now) {
		return
	}
	m.outstanding, m.waiting = false, m.owed
	if h.Type == relayv1.FrameType_FRAME_TYPE_RESUME {
		m.resumedDue = true
	}
	if m.state != Closed && h.Sequence > m.in.expected {
		m.resumedDue = false
		m.endWith(Local, reason.DataLost, "the peer no longer holds what was not received")
		return
	}
	m.takeAcks(h.Ack, h.Consumed, now)
	if m.state == Closed {
		if m.client && h.Sequence == m.in.expected { // it holds nothing: it knows that its CLOSE was received
			m.confirm()
		}
		return
	}
	m.out.cursor, m.out.mark, m.out.goBackAt = m.out.acked+1, true, time.Time{}
	if m.gapTop < m.in.expected && !m.owed {
		m.resumeDue, m.resumeAt = false, time.Time{}
	}
	m.ackSoon(now)
}

// sessionStatus takes a STATUS about this session.
func (m *Machine) sessionStatus(s envelope.Status, now time.Time) {
	if m.state == Closed || m.state == Ended {
		return
	}
	switch s.Code {
	case reason.SequenceGap:
		m.sequenceGap(s.Expected, now)
	case reason.SequenceReplay:
		if m.established() {
			m.ackSoon(now)
		}
	case reason.PeerUnavailable, reason.PeerAvailable:
		m.peerStatus(s, now)
	case reason.Probe:
	case reason.Capacity, reason.RateLimited:
		if !m.established() {
			m.finish(Relay, told(s))
			return
		}
		// A relay that does not know the session has no place for it now. That ends none that lives.
		m.waiting = true
		m.wantResume(now.Add(min(s.RetryAfter, maxProbe)+m.spread()), now)
	default:
		m.finish(Relay, told(s))
	}
}

func (m *Machine) sequenceGap(expected uint64, now time.Time) {
	if m.established() {
		m.ackSoon(now)
	}
	switch {
	case expected > 0:
		m.goBack(expected, now)
	case m.established(): // the relay knows no place: the peers must tell each other first
		m.waiting = true
		m.wantResume(now, now)
	}
}

// LinkStatus takes a STATUS about the whole link: PEER_UNAVAILABLE and PEER_AVAILABLE, to a client.
func (m *Machine) LinkStatus(s envelope.Status, now time.Time) Effects {
	m.peerStatus(s, now)
	return m.effects(now)
}

func (m *Machine) peerStatus(s envelope.Status, now time.Time) {
	if !m.client || m.state == Closed && !m.asking || m.state == Ended {
		return
	}
	switch {
	case s.Code != reason.PeerUnavailable && s.Code != reason.PeerAvailable:
	case m.state == Handshaking: // what was sent may have gone to the daemon's old link, or to nobody
		m.tell(reason.Cancelled)
		m.finish(Relay, told(s))
	default:
		m.waiting = m.state != Closed // a tombstone has nothing that could wait
		if s.Code == reason.PeerAvailable {
			// The relay's word overtakes what is queued: the answer that comes next may be from the daemon's link before.
			m.owed = m.state != Closed
			m.wantResume(now.Add(m.spread()), now)
		}
	}
}

// spread is a random part of resumeSpread: not all sessions that were told the same are to ask at once.
func (m *Machine) spread() time.Duration { return time.Duration(m.rand.Int64N(int64(resumeSpread))) }

// told is the reason that a relay's STATUS gives.
func told(s envelope.Status) *reason.Error {
	return &reason.Error{Code: s.Code, Text: printable(s.Message), RetryAfter: s.RetryAfter}
}
