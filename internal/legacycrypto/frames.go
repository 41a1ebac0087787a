package legacycrypto

// Names of the frames, and their versions.
const (
	typeEnvelope       = "e2ee"
	typeInit           = "relay_key_exchange_init"
	typeResponse       = "relay_key_exchange_response"
	typeKeyUpdate      = "relay_key_update_required"
	typeOfferRequest   = "relay_pairing_offer_request"
	typeOfferResponse  = "relay_pairing_offer_response"
	typeRedeemRequest  = "relay_pairing_redeem_request"
	typeRedeemResponse = "relay_pairing_redeem_response"

	envelopeVersion    = 2
	keyExchangeVersion = 3
)

const (
	ivSize  = 12
	tagSize = 16
	// sealedStaticSize is the client's static key with its tag.
	sealedStaticSize = PublicKeySize + tagSize
	// maxMetadata bounds the sealed metadata: an id of maxID bytes, each escaped, and room for fields to come.
	maxMetadata = 4 << 10
)

// Envelope is a frame of type e2ee: one message of a session.
type Envelope struct {
	Profile    Profile
	SessionID  string
	Epoch      uint64 // from 1
	Seq        uint64 // from 1, per session, direction and epoch
	IV         [ivSize]byte
	Tag        [tagSize]byte
	Ciphertext []byte // never empty
}

// Init is a frame of type relay_key_exchange_init, version 3. Nothing of it proves who sent it.
type Init struct {
	Profile               Profile
	RequestID             string
	ClientEphemeral       PublicKey
	EncryptedClientStatic [sealedStaticSize]byte
	PairingPeerID         string // with noise-ikpsk2 alone
	PreviousSessionID     string // of the session that is to be rekeyed, else ""
}

// Response is a frame of type relay_key_exchange_response, version 3.
type Response struct {
	Profile           Profile
	RequestID         string
	DaemonEphemeral   PublicKey
	EncryptedMetadata []byte
	SessionID         string
	Epoch             uint64
	Proof             [32]byte
}

// KeyUpdate is a frame of type relay_key_update_required, from a daemon; anybody on the way can make one.
type KeyUpdate struct {
	SessionID string
	NextEpoch uint64
}

// Parse reads one frame. The result is an *Envelope, *Init, *Response, *KeyUpdate, *OfferRequest, *OfferResponse,
// *RedeemRequest or *RedeemResponse, whose SessionID or RequestID says whom it is for, and does not refer to text. It
// fails with ErrOtherType for a JSON object of any other type, ErrVersion, ErrFrameTooLarge and ErrFrame.
//
// A frame that is returned is well-formed: ids are not blank and have at most 255 bytes, numbers are from 1 to 2^53 −
// 1, keys are on the curve, ivs, tags and what else has one length has it.
func Parse(text []byte) (any, error) {
	if len(text) > MaxFrame {
		return nil, because(ErrFrameTooLarge, "%d bytes, want at most %d", len(text), MaxFrame)
	}
	o, err := parseObject("the frame", text)
	if err != nil {
		return nil, err
	}
	kind := o.text("type")
	if o.err != nil {
		return nil, o.err
	}
	if kind != typeEnvelope && len(text) > maxControl {
		return nil, because(ErrFrameTooLarge, "a control frame of %d bytes, want at most %d", len(text), maxControl)
	}
	o.what = kind
	var frame any
	switch kind {
	case typeEnvelope:
		frame = o.envelope()
	case typeInit:
		frame = o.init()
	case typeResponse:
		frame = o.response()
	case typeKeyUpdate:
		frame = &KeyUpdate{SessionID: o.id("sessionId"), NextEpoch: o.number("nextEpoch")}
	case typeOfferRequest:
		frame = o.offerRequest()
	case typeOfferResponse:
		frame = o.offerResponse()
	case typeRedeemRequest:
		frame = o.redeemRequest()
	case typeRedeemResponse:
		frame = o.redeemResponse()
	default:
		return nil, ErrOtherType
	}
	if o.err != nil {
		return nil, o.err
	}
	return frame, nil
}

// version is asked first: of another version nothing else is known.
func (o *object) version(want uint64) {
	if n := o.number("version"); o.err == nil && n != want {
		o.err = because(ErrVersion, "%s has version %d, want %d", o.what, n, want)
	}
}

func (o *object) envelope() *Envelope {
	o.version(envelopeVersion)
	e := &Envelope{Profile: o.profile(), SessionID: o.id("sessionId"), Epoch: o.number("epoch"), Seq: o.number("seq")}
	o.fixed("iv", e.IV[:])
	o.fixed("tag", e.Tag[:])
	e.Ciphertext = o.bytes("ciphertext", 1, MaxPlaintext)
	return e
}

func (o *object) init() *Init {
	o.version(keyExchangeVersion)
	i := &Init{
		Profile: o.profile(), RequestID: o.id("requestId"), ClientEphemeral: o.point("clientEphemeralPublicKey"),
		PreviousSessionID: o.optionalID("previousSessionId"),
	}
	o.fixed("encryptedClientStatic", i.EncryptedClientStatic[:])
	if i.Profile == NoiseIKpsk2 {
		i.PairingPeerID = o.id("pairingPeerId")
	}
	return i
}

// response leaves daemonPublicKey out: it proves nothing, and the client knows the key that it wants.
func (o *object) response() *Response {
	o.version(keyExchangeVersion)
	r := &Response{
		Profile: o.profile(), RequestID: o.id("requestId"), DaemonEphemeral: o.point("daemonEphemeralPublicKey"),
		EncryptedMetadata: o.bytes("encryptedMetadata", tagSize, maxMetadata),
		SessionID:         o.id("sessionId"), Epoch: o.number("epoch"),
	}
	o.fixed("proof", r.Proof[:])
	return r
}

// The structs below are what goes on the wire, in the order in which it goes.

type initText struct {
	Type                  string  `json:"type"`
	Version               int     `json:"version"`
	Profile               Profile `json:"profile"`
	RequestID             string  `json:"requestId"`
	ClientEphemeral       string  `json:"clientEphemeralPublicKey"`
	EncryptedClientStatic string  `json:"encryptedClientStatic"`
	PairingPeerID         string  `json:"pairingPeerId,omitempty"`
	PreviousSessionID     string  `json:"previousSessionId,omitempty"`
}

// Text returns the frame as JSON.
func (i *Init) Text() []byte {
	return encode(initText{
		typeInit, keyExchangeVersion, i.Profile, i.RequestID, i.ClientEphemeral.String(),
		encodeBase64(i.EncryptedClientStatic[:]), i.PairingPeerID, i.PreviousSessionID,
	})
}

type responseText struct {
	Type              string  `json:"type"`
	Version           int     `json:"version"`
	Profile           Profile `json:"profile"`
	RequestID         string  `json:"requestId"`
	Daemon            string  `json:"daemonPublicKey"`
	DaemonEphemeral   string  `json:"daemonEphemeralPublicKey"`
	EncryptedMetadata string  `json:"encryptedMetadata"`
	SessionID         string  `json:"sessionId"`
	Epoch             uint64  `json:"epoch"`
	Proof             string  `json:"proof"`
}

// text returns the frame as JSON; daemon is the static key, which the relay wants to see in it.
func (r *Response) text(daemon PublicKey) []byte {
	return encode(responseText{
		typeResponse, keyExchangeVersion, r.Profile, r.RequestID, daemon.String(), r.DaemonEphemeral.String(),
		encodeBase64(r.EncryptedMetadata), r.SessionID, r.Epoch, encodeBase64(r.Proof[:]),
	})
}

type keyUpdateText struct {
	Type      string `json:"type"`
	SessionID string `json:"sessionId"`
	NextEpoch uint64 `json:"nextEpoch"`
	Reason    string `json:"reason"`
}

// metadata is what the daemon seals in its response.
type metadata struct {
	SessionID string `json:"sessionId"`
	Epoch     uint64 `json:"epoch"`
}

func parseMetadata(text []byte) (m metadata, err error) {
	o, err := parseObject("the sealed metadata", text)
	if err != nil {
		return m, err
	}
	m = metadata{o.id("sessionId"), o.number("epoch")}
	return m, o.err
}
