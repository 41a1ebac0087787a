package legacylink

import (
	"unicode/utf8"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/legacywire"
)

// maxID is the longest request or session id that an envelope has room for. Real ones have about 30 bytes.
const maxID = 255

// usualID is the longest request or session id whose envelope is made in place.
const usualID = 48

// headers makes the envelopes of one link.
type headers struct {
	envelope.Header
	room int // what the header of a usual envelope takes at most
}

func newHeaders(workspace, target string) headers {
	e := headers{Header: envelope.Header{
		Workspace: []byte(workspace), Target: []byte(target), Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON,
	}}
	widest := e.Header
	widest.Type, widest.Sequence, widest.Epoch = relayv1.FrameType_FRAME_TYPE_DATA, 1<<53, 1<<53
	widest.Session = make([]byte, usualID)
	e.room = envelope.AppendedSize(&widest, MaxFrame) - MaxFrame
	return e
}

// put makes an envelope of a frame by writing its header in front of its text, which stands in message from e.room on;
// so message must not be used any more. It reports false if it can't have one: then the frame has an id that is blank,
// too long or no text.
func (e *headers) put(f *legacywire.Frame, message []byte) (made []byte, ok bool) {
	h := &e.Header
	h.Session, h.Request, h.Sequence, h.Epoch, h.Profile = nil, nil, 0, 0, 0
	switch f.Kind {
	case legacywire.KeyExchangeInit:
		h.Type, h.Session, h.Profile = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, legacywire.Trim(f.RequestID), profile(f)
	case legacywire.KeyExchangeResponse:
		h.Type, h.Session, h.Profile = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, legacywire.Trim(f.SessionID), profile(f)
		h.Request = legacywire.Trim(f.RequestID)
		if !validID(h.Request) {
			return nil, false
		}
	case legacywire.E2EE:
		h.Type, h.Session = relayv1.FrameType_FRAME_TYPE_DATA, f.SessionID
		h.Sequence, h.Epoch = uint64(f.Seq), uint64(f.Epoch)
	case legacywire.KeyUpdate:
		h.Type, h.Session = relayv1.FrameType_FRAME_TYPE_KEY_UPDATE, f.SessionID
	case legacywire.PairingOfferRequest, legacywire.PairingRedeemRequest:
		h.Type, h.Session = relayv1.FrameType_FRAME_TYPE_PAIRING_REQUEST, legacywire.Trim(f.RequestID)
	case legacywire.PairingOfferResponse, legacywire.PairingRedeemResponse:
		h.Type, h.Session = relayv1.FrameType_FRAME_TYPE_PAIRING_RESPONSE, legacywire.Trim(f.RequestID)
	default:
		return nil, false
	}
	if !validID(h.Session) {
		return nil, false
	}
	text := message[e.room:]
	size := envelope.AppendedSize(h, len(text))
	at := len(message) - size
	if at < 0 {
		return envelope.Append(make([]byte, 0, size), h, text), true
	}
	envelope.AppendHeader(message[at:at], h, len(text))
	return message[at:], true
}

func validID(id []byte) bool { return len(id) > 0 && len(id) <= maxID && utf8.Valid(id) }

func profile(f *legacywire.Frame) relayv1.Profile {
	switch f.Profile {
	case legacywire.NoiseIK:
		return relayv1.Profile_PROFILE_NOISE_IK
	case legacywire.NoiseIKpsk2:
		return relayv1.Profile_PROFILE_NOISE_IKPSK2
	}
	return relayv1.Profile_PROFILE_UNSPECIFIED
}
