package route

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/guard"
	"github.com/getviewport/relay/internal/reason"
)

const (
	// slowWithin is the time in which the third overflow of a lane ends its session.
	slowWithin = time.Minute
	// lastUnsequenced is the last type that is forwarded without being known; from there on types are for legacy
	// frames, which a native link does not carry.
	lastUnsequenced = 31
)

// The reasons that a frame ends its link with, shared and never changed.
var (
	errElsewhere = &reason.Error{Code: reason.EnvelopeMismatch}
	errLegacy    = reason.New(reason.FrameInvalid, "a type of legacy frames without their encoding")
	errNative    = reason.New(reason.FrameInvalid, "a native frame on a legacy link")
	errStatus    = reason.New(reason.FrameInvalid, "only the relay sends STATUS")
	errDirection = reason.New(reason.FrameInvalid, "a handshake frame of the other role")
	errSessionID = reason.New(reason.FrameInvalid, "session_id is not 26 characters of base32")
)

// Sequence decides about the next frame that came from l, in the protocol's order of checks: workspace and target,
// serial, binding, guard, peer bound, share. (Form and limits are envelope's.) What passes is reserved until Forward.
// Call it for the frames of a batch in order, and then Forward for those that pass.
func (t *Target) Sequence(l *Link, f *envelope.Frame, now time.Time) Verdict {
	t.clock(now)
	if l.state != attached {
		return Verdict{End: l.gone()}
	}
	l.heard = t.now
	l.in.add(1, f.Size)
	if l == t.daemon && t.candidate != nil {
		t.alive()
	}
	h := &f.Header
	if string(h.Workspace) != t.workspace || string(h.Target) != t.target {
		return Verdict{End: errElsewhere}
	}
	switch {
	case h.Encoding == relayv1.Encoding_ENCODING_LEGACY_JSON:
		return t.sequenceLegacy(l, h)
	case l.peer.Legacy:
		return Verdict{End: errNative}
	case h.Type > lastUnsequenced:
		return Verdict{End: errLegacy}
	case h.Type == relayv1.FrameType_FRAME_TYPE_STATUS:
		return Verdict{End: errStatus}
	case h.Type == relayv1.FrameType_FRAME_TYPE_HEARTBEAT:
		return t.heartbeat(l, h)
	case h.Type == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT && l.peer.Role != Client,
		h.Type == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE && l.peer.Role != Daemon:
		return Verdict{End: errDirection}
	}
	s := t.find(l, h.Session)
	if s == nil && !envelope.ValidSessionID(h.Session) {
		return Verdict{End: errSessionID}
	}
	if l.peer.Role == Client {
		s = t.fromClient(l, s, h)
	} else {
		s = t.fromDaemon(l, s, h)
	}
	if s == nil {
		return Verdict{}
	}
	return Verdict{Pass: t.pass(l, s, h)}
}

// heartbeat answers one that asks for it.
func (t *Target) heartbeat(l *Link, h *envelope.Header) Verdict {
	if len(h.Status) == 0 {
		return Verdict{}
	}
	s, err := envelope.DecodeStatus(h.Status)
	if err != nil {
		return Verdict{End: reason.Of(err)}
	}
	if s.Code == reason.Probe {
		t.tellLink(l, dueHeartbeat)
	}
	return Verdict{}
}

// fromClient checks serial and binding of a client's frame. s is the session's entry or nil; so is what it returns: nil
// when the frame is dropped.
func (t *Target) fromClient(l *Link, s *session, h *envelope.Header) *session {
	if s != nil && l.serial < s.client.serial {
		t.drops.add(DropStale, 1)
		return nil
	}
	init := h.Type == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	// Only these two carry the bind key. A RESUMED without it binds nothing: any client could send one.
	if !init && h.Type != relayv1.FrameType_FRAME_TYPE_RESUME {
		if s != nil && s.client.link == l {
			return s
		}
		t.drops.add(DropUnbound, 1)
		switch {
		case s != nil || t.nativeDaemon() != nil:
			t.tellUnbound(l, h.Session)
		case !l.toldUnavailable:
			t.tellLink(l, duePeerUnavailable)
		}
		return nil
	}
	if init && !t.mayShake(l) {
		return t.refuseSession(l, h, HandshakesPerSecond, DropRate)
	}
	if !envelope.OwnsSession(h.BindKey, h.Session) {
		return t.refuseFrame(l, h, reason.SessionConflict, DropConflict)
	}
	if init && t.tooWeak(l.peer, t.daemon, h) {
		return t.refuseFrame(l, h, reason.ProfileTooWeak, DropProfile)
	}
	if s != nil && s.refused != "" {
		t.drops.add(DropEnded, 1)
		t.tellAgain(l, &s.client, s.refused, s.id)
		return nil
	}
	if s == nil && init && t.nativeDaemon() == nil {
		// A handshake is not resumed, so there is nothing to remember.
		t.drops.add(DropNoPeer, 1)
		t.tellLink(l, duePeerUnavailable)
		return nil
	}
	if s == nil {
		var limit Limit
		if s, limit = t.open(l, h.Session); s == nil {
			return t.refuseSession(l, h, limit, DropCapacity)
		}
	}
	if s.client.link != l {
		if !s.over && l.open >= t.limits.SessionsPerClient {
			return t.refuseSession(l, h, SessionsPerLink, DropCapacity)
		}
		t.bind(s, l)
	}
	return s
}

// fromDaemon is fromClient for a daemon's frame. A daemon makes no entry, and is not told about a session without one.
// Its serial needs no check: a target has one daemon's link, and that has the highest.
func (t *Target) fromDaemon(l *Link, s *session, h *envelope.Header) *session {
	switch {
	case s == nil:
		t.drops.add(DropUnknown, 1)
		return nil
	case s.refused != "":
		t.drops.add(DropEnded, 1)
		t.tellAgain(l, &s.daemon, s.refused, s.id)
		return nil
	}
	if s.daemon.link != l {
		switch h.Type {
		case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, relayv1.FrameType_FRAME_TYPE_RESUME,
			relayv1.FrameType_FRAME_TYPE_RESUMED, relayv1.FrameType_FRAME_TYPE_RESET:
			t.bind(s, l)
		default:
			t.drops.add(DropUnbound, 1)
			if s.client.link != nil {
				t.tellAgain(l, &s.daemon, reason.SequenceGap, s.id)
			}
			return nil
		}
	}
	if h.Type == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE && t.tooWeak(l.peer, s.client.link, h) {
		t.drops.add(DropProfile, 1)
		t.refuse(s, reason.ProfileTooWeak)
		return nil
	}
	return s
}

// refuseFrame drops a client's frame and tells it why.
func (t *Target) refuseFrame(l *Link, h *envelope.Header, code reason.Code, why Drop) *session {
	t.drops.add(why, 1)
	t.tell(l, code, string(h.Session), 0)
	return nil
}

// refuseSession drops a client's frame that a limit does not allow, and tells it which.
func (t *Target) refuseSession(l *Link, h *envelope.Header, limit Limit, why Drop) *session {
	t.drops.add(why, 1)
	t.refusals.add(limit)
	t.queueStatus(l, status{limit: limit, session: string(h.Session)})
	return nil
}

// tooWeak reports whether a handshake frame has less than IKpsk2 where the sender's grant or the peer's requires it.
func (t *Target) tooWeak(from Peer, to *Link, h *envelope.Header) bool {
	required := from.RequirePSK || to != nil && to.peer.RequirePSK
	return required && h.Profile != relayv1.Profile_PROFILE_NOISE_IKPSK2
}

// pass takes a frame of a bound side through the guard, to the peer's link and the share there.
func (t *Target) pass(l *Link, s *session, h *envelope.Header) Pass {
	ln := s.from(l.peer.Role)
	sequence := uint64(0) // what the lane calls an unsequenced frame; RESUME has a number there that is none
	if envelope.Sequenced(h.Type) {
		sequence = h.Sequence
		v := ln.guard.Step(guard.Event{Sequence: sequence, Resend: h.Resend, Handshake: handshake(h.Type)}, t.now)
		if v.Tell != "" {
			t.tell(l, v.Tell, s.id, v.Expected)
		}
		if !v.Pass {
			if sequence < ln.guard.Next() {
				t.drops.add(DropReplay, 1)
			} else {
				t.drops.add(DropGap, 1)
			}
			return Pass{}
		}
		// A handshake that starts over on another link goes back to 1, though the guard had nothing to compare it with.
		if v.Purge || handshake(h.Type) {
			t.purge(ln, sequence, DropPurged)
			ln.dropping = false
		}
	}
	to := t.destination(l, s, h.Type)
	if to == nil {
		if h.Type == relayv1.FrameType_FRAME_TYPE_RESET {
			t.finish(s) // the session is over for who sent it, whether or not anybody hears of it
		}
		t.drops.add(DropNoPeer, 1)
		return Pass{}
	}
	if ln.to != to {
		t.discard(ln)
		ln.to = to
	}
	cost := int64(h.CiphertextLen) + frameCost
	if !t.fits(l, s, ln, sequence, cost) {
		return Pass{}
	}
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_CLOSE:
		s.closes |= 1 << l.peer.Role
		if s.closes == 1<<Client|1<<Daemon {
			t.finish(s)
		}
	case relayv1.FrameType_FRAME_TYPE_RESET:
		t.finish(s)
	default:
		t.touch(s)
	}
	return t.reserve(ln, sequence, cost)
}

// nativeDaemon is the daemon's link if it speaks the native protocol.
func (t *Target) nativeDaemon() *Link {
	if t.daemon != nil && t.daemon.peer.Legacy {
		return nil
	}
	return t.daemon
}

func handshake(t relayv1.FrameType) bool {
	return t == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT || t == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
}

// destination is the link that a frame goes to, nil if there is none: to a client and for DATA, ACK and CLOSE the bound
// one, else the target's daemon. A client is told that there is no daemon when it begins something, and once otherwise.
func (t *Target) destination(l *Link, s *session, typ relayv1.FrameType) *Link {
	if l.peer.Role == Daemon {
		return s.client.link
	}
	begins := false
	daemon := t.nativeDaemon()
	to := s.daemon.link
	switch typ {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, relayv1.FrameType_FRAME_TYPE_RESUME:
		begins = true
		to = daemon
	case relayv1.FrameType_FRAME_TYPE_RESUMED, relayv1.FrameType_FRAME_TYPE_RESET:
		to = daemon
	}
	if daemon == nil && (begins || !l.toldUnavailable) {
		t.tellLink(l, duePeerUnavailable)
	}
	return to
}

// fits checks the share of the lane and takes the cost from the budgets. A sequenced frame that does not fit starts
// dropping: the sender is told to go back to the lowest that was dropped, and nothing passes until it does.
func (t *Target) fits(l *Link, s *session, ln *lane, sequence uint64, cost int64) bool {
	if sequence == 0 {
		// Within the rules there are fewer of these than sequenced ones: what is beyond is nobody's loss.
		if ln.loose+cost > t.share {
			t.drops.add(DropShare, 1)
			return false
		}
		return t.affords(ln, ln.loose+cost, cost)
	}
	switch {
	case ln.dropping:
		t.drops.add(DropShare, 1)
		if t.now.Sub(ln.toldDrop) >= guard.Again {
			t.tellDropped(l, s, ln)
		}
		return false
	case ln.cost+cost > t.share:
		t.drops.add(DropShare, 1)
		t.overflow(l, s, ln, sequence)
		return false
	case !t.affords(ln, ln.cost+cost, cost):
		// Not this session's fault: what it has queued stays, and it is not counted as slow.
		ln.dropping, ln.lowest = true, sequence
		t.tellDropped(l, s, ln)
		return false
	}
	return true
}

// affords takes cost from the budgets for a lane that has held bytes with it. Beyond a budget it may hold a trickle.
func (t *Target) affords(ln *lane, held, cost int64) bool {
	if held <= trickle {
		t.charge(ln.to, cost)
		return true
	}
	limit := t.chargeWithin(ln.to, cost)
	if limit == NoLimit {
		return true
	}
	t.drops.add(DropBudget, 1)
	t.refusals.add(limit)
	return false
}

// overflow drops what a lane that is over its share has queued; the third time within a minute ends the session.
func (t *Target) overflow(l *Link, s *session, ln *lane, sequence uint64) {
	ln.dropping, ln.lowest = true, ln.lowestHeld(sequence)
	t.purge(ln, 0, DropShare)
	if first := ln.overflows[0]; !first.IsZero() && t.now.Sub(first) < slowWithin {
		t.refuse(s, reason.SlowConsumer)
		return
	}
	ln.overflows[0], ln.overflows[1] = ln.overflows[1], t.now
	t.tellDropped(l, s, ln)
}

func (t *Target) tellDropped(l *Link, s *session, ln *lane) {
	ln.toldDrop = t.now
	t.tell(l, reason.SequenceGap, s.id, ln.lowest)
}
