package legacycrypto

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"strings"
	"unicode"
)

const (
	channelInfo  = "viewport-relay-pairing-channel-v1"
	pskInfo      = "viewport-relay-policyc-pair-v1"
	clientProof  = "viewport-pair-redeem-v1"
	serverProof  = "viewport-pair-redeem-response-v1"
	secretSize   = 32 // characters of hex
	maxSealed    = 8 << 10
	anchorGroups = 16 // of four characters of hex
)

// Paired is what a pairing leaves at either end. The PSK is worth as much as the relay was honest while they paired.
type Paired struct {
	// PeerID names the client: as ClientConfig.PairingPeerID, and to the daemon that looks the PSK up.
	PeerID string
	// PSK is the pre-shared key.
	PSK PSK
	// Peer is the other end's Ed25519 key.
	Peer ed25519.PublicKey
	// OfferID names the offer that was redeemed.
	OfferID string
	// DaemonDeviceID and TrustAnchor are the daemon's, by its own account.
	DaemonDeviceID, TrustAnchor string
}

// secret is an offer's, in hex: who has it and the rest of the offer can pair.
type secret func() string

func newSecret(text string) secret { return func() string { return text } }

// derivePSK is what both ends compute from what they said.
func derivePSK(redeemSecret, offerID, anchor string, clientKey, daemonKey ed25519.PublicKey) PSK {
	salt := sha256.Sum256([]byte(joined([]string{
		pskInfo, offerID, anchor, publicPEM(clientKey), publicPEM(daemonKey),
	})))
	key := deriveKey([]byte(redeemSecret), salt[:], pskInfo)
	return PSK{reveal: func() [KeySize]byte { return key }}
}

// channel is the encryption between a client that pairs and a daemon. It keeps nobody out who was there when it was
// made.
type channel struct{ aead cipher.AEAD }

func newChannel(own PrivateKey, peer PublicKey, requestID string) (channel, error) {
	x, err := own.shared(peer)
	if err != nil {
		return channel{}, err
	}
	defer clear(x)
	salt := sha256.Sum256([]byte("offer:" + requestID))
	key := deriveKey(x, salt[:], channelInfo)
	defer clear(key[:])
	return channel{newAEAD(key)}, nil
}

// Sealed is an encrypted part of a pairing frame.
type Sealed struct {
	IV         [ivSize]byte
	Tag        [tagSize]byte
	Ciphertext []byte
}

func (c channel) seal(random io.Reader, data string, plaintext []byte) (s Sealed, err error) {
	if err := read(random, s.IV[:]); err != nil {
		return s, err
	}
	sealed := c.aead.Seal(nil, s.IV[:], plaintext, []byte(data))
	s.Ciphertext, s.Tag = sealed[:len(plaintext)], [tagSize]byte(sealed[len(plaintext):])
	return s, nil
}

func (c channel) open(data string, s Sealed) ([]byte, error) {
	sealed := append(append([]byte(nil), s.Ciphertext...), s.Tag[:]...)
	plaintext, err := c.aead.Open(sealed[:0], s.IV[:], sealed, []byte(data))
	if err != nil {
		return nil, ErrPairing
	}
	return plaintext, nil
}

// What the seals of offer and redemption are bound to; thereby none is taken for the other.
func offerData(requestID string) string { return "offer:" + requestID }

func redeemData(requestID, offerID string) string { return "redeem:" + requestID + ":" + offerID }

// offerText is what the daemon seals in an offer, in the order of the wire.
type offerText struct {
	OfferID         string `json:"offerId"`
	CreatedAt       int64  `json:"createdAt"` // Unix time in milliseconds
	ExpiresAt       int64  `json:"expiresAt"`
	RedeemSecret    string `json:"redeemSecret"`
	TrustAnchor     string `json:"trustAnchor"`
	DaemonDeviceID  string `json:"daemonDeviceId"`
	DaemonPublicKey string `json:"daemonPublicKey"`
}

// parseOffer checks the form of all of it: these strings are joined by line ends where they are signed and hashed,
// and so none may have one.
func parseOffer(text []byte) (f offerText, key ed25519.PublicKey, err error) {
	o, err := parseObject("the sealed offer", text)
	if err != nil {
		return f, nil, err
	}
	f = offerText{
		o.line("offerId"), o.time("createdAt"), o.time("expiresAt"), o.secret("redeemSecret"), o.anchor("trustAnchor"),
		o.line("daemonDeviceId"), o.text("daemonPublicKey"),
	}
	key = o.daemonKey("daemonPublicKey")
	return f, key, o.err
}

// redeemText is what the client seals to redeem an offer.
type redeemText struct {
	RedeemSecret    string `json:"redeemSecret"`
	TrustAnchor     string `json:"trustAnchor"`
	ClientPublicKey string `json:"clientPublicKey"`
	ClientProof     string `json:"clientProof"`
}

func parseRedeem(text []byte) (f redeemText, key ed25519.PublicKey, err error) {
	o, err := parseObject("the sealed redemption", text)
	if err != nil {
		return f, nil, err
	}
	f = redeemText{
		o.secret("redeemSecret"), o.line("trustAnchor"), o.text("clientPublicKey"), o.line("clientProof"),
	}
	key = o.publicKey("clientPublicKey", f.ClientPublicKey)
	return f, key, o.err
}

// line reads an id that has no control character in it.
func (o *object) line(name string) string {
	s := o.id(name)
	if o.err == nil && !validLine(s) {
		o.fail(name, "a control character in it")
	}
	return s
}

func validLine(s string) bool {
	return validID(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func (o *object) time(name string) int64 { return int64(o.number(name)) }

func (o *object) secret(name string) string {
	s := o.text(name)
	if o.err == nil && !isHex(s, secretSize) {
		o.fail(name, "not %d characters of hex", secretSize)
	}
	return s
}

// anchor reads a trust anchor: a SHA-256 in hex, as groups of four with colons between them.
func (o *object) anchor(name string) string {
	s := o.text(name)
	if o.err == nil && !validAnchor(s) {
		o.fail(name, "not %d groups of 4 characters of hex with colons", anchorGroups)
	}
	return s
}

func validAnchor(s string) bool {
	groups := strings.Split(s, ":")
	for _, g := range groups {
		if !isHex(g, 4) {
			return false
		}
	}
	return len(groups) == anchorGroups
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// daemonKey reads the daemon's key, behind which its PEM may have the line end that a client's must not.
func (o *object) daemonKey(name string) ed25519.PublicKey {
	return o.publicKey(name, strings.TrimSpace(o.text(name)))
}

func (o *object) publicKey(name, text string) ed25519.PublicKey {
	if o.err != nil {
		return nil
	}
	key, err := parsePublicPEM(text)
	if err != nil {
		o.fail(name, "not the PEM of an Ed25519 public key in its usual form")
	}
	return key
}
