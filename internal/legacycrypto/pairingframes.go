package legacycrypto

import (
	"crypto/ed25519"
	"encoding/json"
)

// Error codes of a daemon that refuses to pair.
const (
	codeOfferFailed  = "PAIRING_OFFER_FAILED"
	codeRedeemFailed = "PAIRING_REDEEM_FAILED"
)

// Seconds that an offer may be asked to live, and that it lives when nobody asks.
const (
	minTTL, maxTTL, defaultTTL = 30, 3600, 600
)

// OfferRequest is a frame of type relay_pairing_offer_request, from a client.
type OfferRequest struct {
	RequestID     string
	ClientChannel PublicKey
	TTLSeconds    int // 30 to 3600
}

// Refusal is what an answer to a pairing request says instead of yes. It is not authenticated.
type Refusal struct{ Code, Text string }

// err puts a stranger's words in quotes and cuts them short.
func (r *Refusal) err() error { return because(ErrRefused, "it says %.80q, %.200q", r.Code, r.Text) }

// OfferResponse is a frame of type relay_pairing_offer_response, from a daemon.
type OfferResponse struct {
	RequestID     string
	Refused       *Refusal // nil for an offer
	DaemonChannel PublicKey
	Sealed        Sealed
}

// RedeemRequest is a frame of type relay_pairing_redeem_request, from a client.
type RedeemRequest struct {
	RequestID string
	OfferID   string
	Sealed    Sealed
}

// RedeemResponse is a frame of type relay_pairing_redeem_response, from a daemon.
type RedeemResponse struct {
	RequestID string
	Refused   *Refusal // nil if the client is paired
	Redeemed  Redeemed
}

// Redeemed is in the clear, and of it the signature covers offer, peer and expiry. createdAt and relayPairingPeerId,
// which daemons send too, are left out: nothing vouches for them, and the client knows its own id.
type Redeemed struct {
	OfferID         string
	ExpiresAt       int64 // Unix time in milliseconds
	PeerID          string
	DaemonDeviceID  string
	DaemonKey       ed25519.PublicKey
	ServerSignature string
}

func (o *object) offerRequest() *OfferRequest {
	r := &OfferRequest{
		RequestID: o.id("requestId"), ClientChannel: o.point("clientChannelPublicKey"), TTLSeconds: defaultTTL,
	}
	if ttl := string(o.fields["ttlSeconds"]); ttl != "" && ttl != "null" {
		n := o.number("ttlSeconds")
		if o.err == nil && (n < minTTL || n > maxTTL) {
			o.fail("ttlSeconds", "%d, want %d to %d", n, minTTL, maxTTL)
		}
		r.TTLSeconds = int(n)
	}
	return r
}

// refusal is nil if the answer is ok.
func (o *object) refusal() *Refusal {
	if o.flag("ok") || o.err != nil {
		return nil
	}
	r := &Refusal{Code: o.id("errorCode")}
	var text string
	if json.Unmarshal(o.fields["error"], &text) == nil { // nobody needs it
		r.Text = text
	}
	return r
}

func (o *object) sealed() (s Sealed) {
	o.fixed("encIv", s.IV[:])
	o.fixed("encTag", s.Tag[:])
	s.Ciphertext = o.bytes("encCiphertext", 1, maxSealed)
	return s
}

func (o *object) offerResponse() *OfferResponse {
	r := &OfferResponse{RequestID: o.id("requestId"), Refused: o.refusal()}
	if r.Refused == nil {
		r.DaemonChannel, r.Sealed = o.point("daemonChannelPublicKey"), o.sealed()
	}
	return r
}

func (o *object) redeemRequest() *RedeemRequest {
	return &RedeemRequest{RequestID: o.id("requestId"), OfferID: o.line("offerId"), Sealed: o.sealed()}
}

func (o *object) redeemResponse() *RedeemResponse {
	r := &RedeemResponse{RequestID: o.id("requestId"), Refused: o.refusal()}
	if r.Refused != nil || o.err != nil {
		return r
	}
	in, err := parseObject(o.what+": redeemed", o.fields["redeemed"])
	if err != nil {
		o.err = err
		return r
	}
	r.Redeemed = Redeemed{
		in.line("offerId"), in.time("expiresAt"), in.line("peerId"), in.line("daemonDeviceId"),
		in.daemonKey("daemonPublicKey"), in.line("serverSignature"),
	}
	o.err = in.err
	return r
}

// The structs below are what goes on the wire, in the order in which it goes.

type offerRequestText struct {
	Type          string `json:"type"`
	RequestID     string `json:"requestId"`
	ClientChannel string `json:"clientChannelPublicKey"`
	TTLSeconds    int    `json:"ttlSeconds,omitempty"`
}

type offerResponseText struct {
	Type          string `json:"type"`
	RequestID     string `json:"requestId"`
	OK            bool   `json:"ok"`
	DaemonChannel string `json:"daemonChannelPublicKey"`
	sealedText
}

type redeemRequestText struct {
	Type      string `json:"type"`
	RequestID string `json:"requestId"`
	OfferID   string `json:"offerId"`
	sealedText
}

type sealedText struct {
	IV         string `json:"encIv"`
	Tag        string `json:"encTag"`
	Ciphertext string `json:"encCiphertext"`
}

func (s *Sealed) text() sealedText {
	return sealedText{encodeBase64(s.IV[:]), encodeBase64(s.Tag[:]), encodeBase64(s.Ciphertext)}
}

type redeemResponseText struct {
	Type      string       `json:"type"`
	RequestID string       `json:"requestId"`
	OK        bool         `json:"ok"`
	Redeemed  redeemedText `json:"redeemed"`
}

type redeemedText struct {
	OfferID            string `json:"offerId"`
	CreatedAt          int64  `json:"createdAt"`
	ExpiresAt          int64  `json:"expiresAt"`
	PeerID             string `json:"peerId"`
	DaemonDeviceID     string `json:"daemonDeviceId"`
	DaemonPublicKey    string `json:"daemonPublicKey"`
	RelayPairingPeerID string `json:"relayPairingPeerId"`
	ServerSignature    string `json:"serverSignature"`
}

type refusalText struct {
	Type      string `json:"type"`
	RequestID string `json:"requestId"`
	OK        bool   `json:"ok"`
	ErrorCode string `json:"errorCode"`
	Error     string `json:"error"`
}
