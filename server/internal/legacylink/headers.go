package legacylink

import (
	"unicode/utf8"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/legacywire"
)

// maxID is the longest request or session id that an envelope has room for. Real ones have about 30 bytes.
const maxID = 255

// headers makes the envelopes of one link.
type headers struct{ envelope.Header }

func newHeaders(workspace, target string) headers {
	return headers{envelope.Header{
		Workspace: []byte(workspace), Target: []byte(target), Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON,
	}}
}

// put returns the envelope of a frame with its text, or reports that it can't have one: then the frame has an id that is
// blank, too long or no text.
func (e *headers) put(f *legacywire.Frame, text []byte) (message []byte, ok bool) {
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
	return envelope.Append(make([]byte, 0, envelope.AppendedSize(h, len(text))), h, text), true
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
