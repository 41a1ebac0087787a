package session

import (
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// Bounds of a CLOSE's plaintext and of a text that is shown to people, in bytes.
const (
	maxCloseCode = 64
	maxCloseText = 1024
	maxText      = 512
)

// CloseWrite ends this side's direction cleanly after everything that Send took: the peer's reader gets io.EOF, and
// code (at most 64 bytes) and text (1,024); longer ones are cut. The other direction goes on. While the handshake is
// open, or in the middle of a message, there is no clean end: then it is Abort.
func (m *Machine) CloseWrite(code, text string, now time.Time) Effects {
	switch {
	case m.out.closing || m.state == Closed || m.state == Ended:
		return 0
	case m.state == Handshaking || m.out.inMessage:
		return m.Abort(reason.Cancelled, now)
	}
	b, err := proto.Marshal(&relayv1.CloseInfo{Code: cut(code, maxCloseCode), Text: cut(text, maxCloseText)})
	if err != nil { // strings of valid UTF-8 always serialize
		panic(err)
	}
	if m.seal(relayv1.FrameType_FRAME_TYPE_CLOSE, nil, b, now) == nil {
		m.out.closing, m.out.closeSequence, m.out.wanted = true, m.out.next-1, 0
		m.fx |= Writable
	}
	return m.effects(now)
}

// readClose reads the plaintext of CLOSE; one that a newer peer fills differently is still a clean end.
func readClose(b []byte) closeInfo {
	var c relayv1.CloseInfo
	if proto.Unmarshal(b, &c) != nil {
		return closeInfo{}
	}
	return closeInfo{cut(c.GetCode(), maxCloseCode), cut(c.GetText(), maxCloseText)}
}

// PeerClose is the code and the text with which the peer closed its direction; ok once Next returns io.EOF.
func (m *Machine) PeerClose() (code, text string, ok bool) {
	return m.in.info.code, m.in.info.text, m.in.eof
}

// settleClosed makes a tombstone when both directions are closed: the peer's CLOSE was received and ours was acked.
func (m *Machine) settleClosed(now time.Time) {
	if m.state != Open || !m.in.closeReceived || !m.out.closing || m.out.acked < m.out.closeSequence {
		return
	}
	m.state, m.closedAt = Closed, now
	m.waiting, m.resumeDue, m.owed, m.resumeAt, m.outstanding = false, false, false, time.Time{}, false
	m.out.goBackAt = time.Time{}
	// A relay that came in between has seen one CLOSE at most: to it the session would be open for as long as the link.
	m.release = m.client && m.out.linkSince != 0
	m.fx |= EndedClean
}

// Abort ends the session at once and uncleanly, at both ends: a RESET with a proof goes out with the next Transmit.
// What was received and not read is dropped. code is what Err tells here; empty: CANCELLED. The peer is told CANCELLED
// unless code is one that a RESET can have.
func (m *Machine) Abort(code reason.Code, now time.Time) Effects {
	if m.state == Closed || m.state == Ended {
		return 0
	}
	if code == "" {
		code = reason.Cancelled
	}
	m.in.queue, m.in.head, m.in.queued = nil, 0, 0
	m.in.message, m.in.partial, m.in.ready = nil, false, false
	m.endWith(Local, code, "ended by this side's application")
	return m.effects(now)
}

// provable reports whether a RESET with a proof can have code.
func provable(c reason.Code) bool {
	return c == reason.DataLost || c == reason.FlowViolation || c == reason.DecryptFailed || c == reason.Cancelled
}

// endWith ends the session with an error and tells it.
func (m *Machine) endWith(by Party, code reason.Code, text string) {
	m.tell(code)
	m.finish(by, reason.New(code, "%s", text))
}

// farewell is what goes out after the end: a RESET, and before it, if bind is set, the RESUME that binds a client's
// side. The relay drops a client's RESET that comes on a link where the session is not bound.
type farewell struct {
	resume, reset []byte // one serialized envelope each; resume is nil at a daemon and without keys
	bind          bool
}

// tell makes a RESET that goes out after the end: with a proof for the peer if there are keys. Without, it is for the
// relay alone, which would count a client's forgotten handshake as an open session.
func (m *Machine) tell(code reason.Code) {
	if !provable(code) {
		code = reason.Cancelled
	}
	switch {
	case m.established():
		m.final.bind = m.waiting || m.offline
		if m.client {
			m.final.resume, _ = m.appendResume(nil, 0, relayv1.FrameType_FRAME_TYPE_RESUME, m.lastResume)
			m.transmitted-- // only if it goes out
		}
		m.prepare(relayv1.FrameType_FRAME_TYPE_RESET)
		m.attempt++
		m.header.ResumeAttempt, m.header.Status = m.attempt, envelope.Status{Code: code}.Append(nil)
		m.header.Encoding = relayv1.Encoding_ENCODING_NOISE
		mac := m.channel.Prove(m.proof(&m.header, code))
		m.final.reset = envelope.Append(nil, &m.header, mac[:])
	case m.state == Handshaking:
		m.final.reset = AppendReset(nil, m.cfg.Workspace, m.cfg.Target, m.id, code)
	}
}

// finish ends the session with an error. Frames that were received stay readable.
func (m *Machine) finish(by Party, r *reason.Error) {
	m.end = &End{By: by, Reason: r}
	m.over()
	m.done = m.final.reset == nil
	m.fx |= EndedUnclean | Readable | Writable
}

// over is the end of everything on the wire: keys and what was held go.
func (m *Machine) over() {
	m.state, m.done = Ended, true
	if m.channel != nil {
		m.channel.Wipe()
	}
	if m.handshake != nil {
		m.handshake.Wipe()
	}
	m.channel, m.handshake = nil, nil
	m.out = outbox{}
	m.waiting, m.resumeDue, m.resumedDue, m.resumeAt = false, false, false, time.Time{}
	m.asking, m.release = false, false
	m.ackCounts()
}

// receiveReset takes RESET. With a proof it ends the session; without one it is believed where nothing else can be:
// while the handshake is open, and as the answer of a peer that has lost the session.
func (m *Machine) receiveReset(h *envelope.Header, mac []byte, now time.Time) {
	s, err := envelope.DecodeStatus(h.Status)
	if err != nil || m.state == Closed {
		return
	}
	switch {
	case m.state == Handshaking:
		switch s.Code {
		case reason.NotAuthorised, reason.ProfileTooWeak, reason.PairingUnknown, reason.Capacity:
			m.finish(Peer, &reason.Error{Code: s.Code, RetryAfter: s.RetryAfter})
		}
	case len(mac) == 0:
		if s.Code == reason.SessionUnknown && m.outstanding {
			m.finish(Peer, reason.New(reason.SessionUnknown, ""))
		}
	case m.accept(h, s.Code, mac, now):
		if !provable(s.Code) { // of a later version: still an end
			s.Code = reason.Cancelled
		}
		m.finish(Peer, reason.New(s.Code, ""))
	}
}

// AppendReset appends a RESET without a proof: to a refused INIT, or SESSION_UNKNOWN to a RESUME that there is no
// machine for (never to anything else: two ends that answer each other's RESET would not stop).
func AppendReset(dst []byte, workspace, target, session string, code reason.Code) []byte {
	return envelope.Append(dst, &envelope.Header{
		Type: relayv1.FrameType_FRAME_TYPE_RESET, Workspace: []byte(workspace), Target: []byte(target),
		Session: []byte(session), Status: envelope.Status{Code: code}.Append(nil),
	}, nil)
}

// cut returns the longest prefix of at most n bytes that is valid UTF-8, other bytes replaced.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// printable makes a text that came from elsewhere harmless on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, cut(s, maxText))
}
