package legacywire

import (
	"cmp"
	"errors"
	"unicode/utf8"

	"github.com/getviewport/relay/internal/reason"
)

// Kind is what a frame is.
type Kind uint8

// The kinds of frames that a relay receives.
const (
	// Invalid is every text that is none of the others.
	Invalid Kind = iota
	// E2EE is an end-to-end encrypted message, in either direction.
	E2EE
	// KeyExchangeInit asks a daemon for a session.
	KeyExchangeInit
	// KeyExchangeResponse is a daemon's answer to it.
	KeyExchangeResponse
	// KeyUpdate is a daemon's request that the client start a new session for its old one.
	KeyUpdate
	// PairingOfferRequest asks a daemon for a pairing offer.
	PairingOfferRequest
	// PairingRedeemRequest redeems one.
	PairingRedeemRequest
	// PairingOfferResponse is a daemon's answer to PairingOfferRequest.
	PairingOfferResponse
	// PairingRedeemResponse is a daemon's answer to PairingRedeemRequest.
	PairingRedeemResponse
	// Subscribe asks the relay for a channel's session events.
	Subscribe
	// Unsubscribe ends that.
	Unsubscribe
	// ViewerPresence tells the other subscribers of a channel about a viewer.
	ViewerPresence
	// SessionEvent carries an event for the subscribers of a channel.
	SessionEvent
	// WorkerRequest is an HTTP request of a worker to the platform.
	WorkerRequest
	kinds
)

var kindNames = [kinds]string{
	Invalid:               "invalid",
	E2EE:                  "e2ee",
	KeyExchangeInit:       "relay_key_exchange_init",
	KeyExchangeResponse:   "relay_key_exchange_response",
	KeyUpdate:             "relay_key_update_required",
	PairingOfferRequest:   "relay_pairing_offer_request",
	PairingRedeemRequest:  "relay_pairing_redeem_request",
	PairingOfferResponse:  "relay_pairing_offer_response",
	PairingRedeemResponse: "relay_pairing_redeem_response",
	Subscribe:             "viewport.session_events.subscribe/v1",
	Unsubscribe:           "viewport.session_events.unsubscribe/v1",
	ViewerPresence:        "viewport.session_viewer_presence/v1",
	SessionEvent:          "viewport.session_event_relay_frame/v1",
	WorkerRequest:         "viewport.worker_transport.request/v1",
}

// String returns the kind as frames spell it.
func (k Kind) String() string { return kindNames[k] }

// pairing reports whether clients of scope pairing send frames of this kind.
func (k Kind) pairing() bool { return k == PairingOfferRequest || k == PairingRedeemRequest }

// sessionEvents reports whether clients of scope session-events send frames of this kind.
func (k Kind) sessionEvents() bool { return k == Subscribe || k == Unsubscribe || k == ViewerPresence }

// kindOf returns the kind that a type or a schema names.
func kindOf(name []byte) Kind {
	for k := E2EE; k < kinds; k++ {
		if string(name) == kindNames[k] {
			return k
		}
	}
	return Invalid
}

// Profile is the Noise profile that a frame or a claim names. A greater one is stronger.
type Profile uint8

// The profiles; NoProfile is anything else and nothing.
const (
	NoProfile Profile = iota
	NoiseIK
	NoiseIKpsk2
)

// ParseProfile returns the profile that a claim or a frame spells like this.
func ParseProfile[T string | []byte](s T) Profile {
	switch string(s) {
	case "noise-ik":
		return NoiseIK
	case "noise-ikpsk2":
		return NoiseIKpsk2
	}
	return NoProfile
}

// ViewerAction is what a ViewerPresence tells of its viewer.
type ViewerAction uint8

// The actions; NoAction is on all other frames.
const (
	NoAction ViewerAction = iota
	Joined
	Left
	Heartbeat
)

// Frame is what routing needs of one frame. Strings are as JavaScript has them (see the package), untrimmed, and belong
// to whoever owns the text that was parsed: they are parts of it where they have no escapes. A field that its kind does
// not name is zero.
type Frame struct {
	// Kind is what the frame is.
	Kind Kind
	// Version is the protocol's: 2 on E2EE, 2 or 3 on a key exchange.
	Version uint8
	// Profile is the frame's own, on a frame of any kind, even where it means nothing: today's relays compare it.
	Profile Profile
	// Action is a ViewerPresence's.
	Action ViewerAction
	// OK is whether a pairing response grants what was asked.
	OK bool

	// SessionID is that of E2EE and KeyUpdate, and the new one of a KeyExchangeResponse. It may be blank on the latter
	// two. Ownership is recorded under the trimmed id and looked up by the exact one.
	SessionID []byte
	// PreviousSessionID is the one that a KeyExchangeInit wants to replace, if it is a string at all.
	PreviousSessionID []byte
	// RequestID is that of key exchange, pairing and WorkerRequest; it may be blank in key exchange. Requests and
	// responses meet by the trimmed id.
	RequestID []byte
	// Channel is that of Subscribe, Unsubscribe, ViewerPresence and SessionEvent; what counts is the trimmed channel.
	Channel []byte
	// UserID is a ViewerPresence's.
	UserID []byte

	// Epoch and Seq are those of E2EE, from 1. Epoch is also a KeyExchangeResponse's, but 0 in version 2 if it is no
	// integer from 0 on: any number is valid there.
	Epoch, Seq int64
	// NextEpoch is a KeyUpdate's, 0 if it is no integer from 0 on: any number is valid.
	NextEpoch int64
	// AfterSequence is a Subscribe's, from 0.
	AfterSequence int64

	// Worker is the HTTP request of a WorkerRequest.
	Worker *Request
}

// ErrNotUTF8 is Parse's error for a message that is not UTF-8. Today's relays close with 1007 upon it when it came as
// text, before anything else is checked.
var ErrNotUTF8 = errors.New("the message is not UTF-8, as text has to be")

// The errors of Parse that say nothing about the frame at hand, shared and never changed.
var (
	errNoObject = reason.New(reason.FrameInvalid, "the message is not one JSON object of at most %d levels", MaxDepth)
	errUnknown  = error(reason.New(reason.FrameInvalid, "the frame has no type that the relay knows"))
)

// Parse reads a frame. What is none gives Frame{} and an error that says why, ErrNotUTF8 or of code FRAME_INVALID;
// it repeats nothing that the peer sent.
//
// Differences to today's relays: integers have to be below 2^53, and nesting is bounded by MaxDepth.
func Parse(text []byte) (Frame, error) {
	var m members
	if !m.scan(text) {
		if !utf8.Valid(text) {
			return Frame{}, ErrNotUTF8
		}
		return Frame{}, errNoObject
	}
	kind, err := m.kind()
	if err != nil {
		return Frame{}, err
	}
	return m.frame(kind), nil
}

// kind finds what m is. A frame that names two kinds is what its type says, if it is well-formed as such.
func (m *members) kind() (Kind, error) {
	var err error
	if m.at[fType].kind == aString {
		if kind := kindOf(m.string(fType)); kind != Invalid && kind != SessionEvent {
			if err = m.check(kind); err == nil {
				return kind, nil
			}
		}
	}
	if m.at[fSchema].kind == aString && kindOf(m.string(fSchema)) == SessionEvent {
		schemaErr := m.check(SessionEvent)
		if schemaErr == nil {
			return SessionEvent, nil
		}
		err = cmp.Or(err, schemaErr)
	}
	return Invalid, cmp.Or(err, errUnknown)
}

// frame takes what routing needs of a frame that was checked.
func (m *members) frame(kind Kind) Frame {
	f := Frame{Kind: kind, Profile: m.ofProfile()}
	switch kind {
	case E2EE:
		f.Version = 2
		f.SessionID, f.Epoch, f.Seq = m.string(fSessionID), m.natural(fEpoch), m.natural(fSeq)
	case KeyExchangeInit:
		f.Version, f.RequestID = uint8(m.natural(fVersion)), m.string(fRequestID)
		if m.at[fPreviousSessionID].kind == aString {
			f.PreviousSessionID = m.string(fPreviousSessionID)
		}
	case KeyExchangeResponse:
		f.Version, f.RequestID = uint8(m.natural(fVersion)), m.string(fRequestID)
		f.SessionID, f.Epoch = m.string(fSessionID), m.natural(fEpoch)
	case KeyUpdate:
		f.SessionID, f.NextEpoch = m.string(fSessionID), m.natural(fNextEpoch)
	case PairingOfferRequest, PairingRedeemRequest:
		f.RequestID = m.string(fRequestID)
	case PairingOfferResponse, PairingRedeemResponse:
		f.RequestID, f.OK = m.string(fRequestID), m.at[fOK].kind == aTrue
	case Subscribe:
		f.Channel, f.AfterSequence = m.string(fChannel), m.natural(fAfterSequence)
	case Unsubscribe, SessionEvent:
		f.Channel = m.string(fChannel)
	case ViewerPresence:
		f.Channel, f.UserID, f.Action = m.string(fChannel), m.string(fUserID), m.action()
	case WorkerRequest:
		f.RequestID, f.Worker = m.string(fRequestID), m.request()
	}
	return f
}

// string returns the string f, which is one.
func (m *members) string(f field) []byte { return m.stringOf(m.at[f]) }

func (m *members) stringOf(s span) []byte {
	raw := m.text[s.from:s.to:s.to]
	if s.escaped {
		return unescape(raw)
	}
	return raw
}

// natural returns f if it is an integer from 0 on, else 0.
func (m *members) natural(f field) int64 {
	n, _ := m.integer(m.at[f])
	return max(n, 0)
}
