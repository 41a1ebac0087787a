package secure

import (
	"bytes"
	"fmt"
	"io"

	"github.com/flynn/noise"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/hidden"
)

// Lengths in bytes of what a handshake message needs besides its payload: message 1 is an ephemeral key, a sealed
// static key and a sealed payload, message 2 an ephemeral key and a sealed payload.
const (
	Message1Overhead = KeySize + KeySize + Overhead + Overhead
	Message2Overhead = KeySize + Overhead
)

// pskAfterMessage2 is the placement that the 2 of IKpsk2 stands for.
const pskAfterMessage2 = 2

// HandshakeConfig is what one side brings to a handshake. NewInitiator and NewResponder copy what they need of it and
// change nothing; only Random is used later, for the own message.
type HandshakeConfig struct {
	hidden.Mark

	// Profile is NOISE_IK or NOISE_IKPSK2.
	Profile Profile
	// Static is the own key pair.
	Static KeyPair
	// PeerStatic is the daemon's pinned public key; for an initiator only.
	PeerStatic [KeySize]byte
	// PSK is the 32 bytes shared at pairing; for an initiator with NOISE_IKPSK2 only. A responder learns from message 1
	// which one it needs and gives it to Respond.
	PSK []byte
	// Prologue is what Prologue returns.
	Prologue []byte
	// Random yields the ephemeral key, 32 bytes; nil stands for crypto/rand. Never the same bytes twice.
	Random io.Reader
}

// start makes the Noise state of either side.
func (c *HandshakeConfig) start(initiator bool) (*handshake, error) {
	if c.Profile != relayv1.Profile_PROFILE_NOISE_IK && c.Profile != relayv1.Profile_PROFILE_NOISE_IKPSK2 {
		return nil, misuse("profile %d is none", int32(c.Profile))
	}
	if c.Static.Private == ([KeySize]byte{}) {
		return nil, misuse("the static key is not set")
	}
	private := bytes.Clone(c.Static.Private[:])
	config := noise.Config{
		CipherSuite:   noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256),
		Random:        c.Random,
		Pattern:       noise.HandshakeIK,
		Initiator:     initiator,
		Prologue:      c.Prologue,
		StaticKeypair: noise.DHKey{Public: bytes.Clone(c.Static.Public[:]), Private: private},
	}
	if initiator {
		config.PeerStatic = bytes.Clone(c.PeerStatic[:])
	}
	if c.Profile == relayv1.Profile_PROFILE_NOISE_IKPSK2 {
		// The placement alone names the protocol; a responder sets the key itself before message 2.
		config.PresharedKeyPlacement = pskAfterMessage2
		config.PresharedKey = c.PSK
	}
	hs, err := noise.NewHandshakeState(config)
	if err != nil {
		return nil, misuse("the handshake cannot start")
	}
	return &handshake{profile: c.Profile, hs: hs, private: private}, nil
}

func checkPSK(p Profile, psk []byte) error {
	switch {
	case p != relayv1.Profile_PROFILE_NOISE_IKPSK2 && len(psk) != 0:
		return misuse("a PSK with a profile that has none")
	case p != relayv1.Profile_PROFILE_NOISE_IKPSK2:
		return nil
	case len(psk) != KeySize:
		return misuse("a PSK of %d bytes, want %d", len(psk), KeySize)
	case [KeySize]byte(psk) == [KeySize]byte{}:
		return misuse("the PSK is all zeros")
	}
	return nil
}

// handshake is what both sides share.
type handshake struct {
	hidden.Mark
	profile Profile
	hs      *noise.HandshakeState // nil when the handshake is over
	private []byte                // the copy of the static key that hs uses
}

// Wipe ends the handshake and clears its key pairs and its cipher key. The chaining key and the PSK's copy lie in
// slices that flynn/noise does not show; they go with the collector. A handshake that succeeds is wiped without being
// asked.
func (h *handshake) Wipe() {
	if h.hs == nil {
		return
	}
	clear(h.private)
	clear(h.hs.LocalEphemeral().Private)
	*h.hs = noise.HandshakeState{}
	h.hs = nil
}

// Initiator is the client's side of one handshake. Not safe for concurrent use.
type Initiator struct {
	handshake
	sent bool // message 1 was made
}

// NewInitiator starts a handshake with the daemon that holds c.PeerStatic.
func NewInitiator(c HandshakeConfig) (*Initiator, error) {
	if err := checkStatic(c.PeerStatic[:]); err != nil {
		return nil, err
	}
	if err := checkPSK(c.Profile, c.PSK); err != nil {
		return nil, err
	}
	h, err := c.start(true)
	if err != nil {
		return nil, err
	}
	return &Initiator{handshake: *h}, nil
}

// Init makes message 1 with a payload, which anybody may replay to the daemon. It works once: a new try needs a new
// Initiator and so a new ephemeral key.
func (i *Initiator) Init(payload []byte) (message1 []byte, err error) {
	if i.hs == nil || i.sent {
		return nil, misuse("message 1 is made once")
	}
	if len(payload) > MaxMessage-Message1Overhead {
		return nil, misuse("a payload of %d bytes, want at most %d", len(payload), MaxMessage-Message1Overhead)
	}
	i.sent = true
	message1, _, _, err = i.hs.WriteMessage(nil, payload)
	if err != nil {
		i.Wipe()
		return nil, fmt.Errorf("secure: making the ephemeral key: %w", err)
	}
	return message1, nil
}

// Finish reads message 2. If it verifies, the peer holds the pinned key (and the PSK), and the channel is the
// initiator's to use. If it does not (ErrHandshake, ErrPublicKey), nothing has changed: the message can be dropped and
// the next one tried.
func (i *Initiator) Finish(message2 []byte) (payload []byte, ch *Channel, err error) {
	if i.hs == nil || !i.sent {
		return nil, nil, misuse("message 2 is read once, after message 1 was made")
	}
	// What could fail before flynn/noise has something to roll back to is asked for here.
	if len(message2) < Message2Overhead || len(message2) > MaxMessage {
		return nil, nil, ErrHandshake
	}
	if err := checkOrder(message2[:KeySize]); err != nil {
		return nil, nil, err
	}
	payload, up, down, err := i.hs.ReadMessage(nil, message2)
	if err != nil {
		return nil, nil, ErrHandshake
	}
	ch = newChannel(true, i.hs.ChannelBinding(), up, down)
	i.Wipe()
	return payload, ch, nil
}

// Responder is the daemon's side of one handshake. Not safe for concurrent use.
type Responder struct {
	handshake
	read bool // message 1 verified
}

// NewResponder waits for one message 1.
func NewResponder(c HandshakeConfig) (*Responder, error) {
	if len(c.PSK) != 0 || c.PeerStatic != ([KeySize]byte{}) {
		return nil, misuse("a responder learns the peer's key from message 1 and takes the PSK in Respond")
	}
	h, err := c.start(false)
	if err != nil {
		return nil, err
	}
	return &Responder{handshake: *h}, nil
}

// ReadInit reads message 1: the client's static key and the payload. Neither proves that the client is there: anybody
// can replay a message 1. It works once, and when it fails (ErrHandshake, ErrPublicKey) the responder is spent.
func (r *Responder) ReadInit(message1 []byte) (peerStatic [KeySize]byte, payload []byte, err error) {
	if r.hs == nil || r.read {
		return peerStatic, nil, misuse("message 1 is read once")
	}
	payload, peerStatic, err = r.readInit(message1)
	if err != nil {
		r.Wipe()
		return [KeySize]byte{}, nil, err
	}
	r.read = true
	return peerStatic, payload, nil
}

func (r *Responder) readInit(message1 []byte) (payload []byte, peerStatic [KeySize]byte, err error) {
	if len(message1) < Message1Overhead || len(message1) > MaxMessage {
		return nil, peerStatic, ErrHandshake
	}
	payload, _, _, err = r.hs.ReadMessage(nil, message1)
	if err != nil {
		// Low order among the reasons: flynn/noise fails where a shared secret is all zeros.
		return nil, peerStatic, ErrHandshake
	}
	static := r.hs.PeerStatic()
	if !canonical(static) {
		return nil, peerStatic, ErrPublicKey
	}
	return payload, [KeySize]byte(static), nil
}

// Respond makes message 2 and the channel, which is the responder's to use. psk is the 32 bytes shared with this peer
// for NOISE_IKPSK2, else nil. That the client is there is proved by the first frame that opens, not before. A psk that
// is refused as misuse leaves the responder as it was; nothing else does.
func (r *Responder) Respond(psk, payload []byte) (message2 []byte, ch *Channel, err error) {
	if r.hs == nil || !r.read {
		return nil, nil, misuse("message 2 is made once, after message 1 was read")
	}
	if err := checkPSK(r.profile, psk); err != nil {
		return nil, nil, err
	}
	if len(payload) > MaxMessage-Message2Overhead {
		return nil, nil, misuse("a payload of %d bytes, want at most %d", len(payload), MaxMessage-Message2Overhead)
	}
	defer r.Wipe()
	if len(psk) != 0 {
		if err := r.hs.SetPresharedKey(psk); err != nil {
			return nil, nil, misuse("the PSK is not acceptable")
		}
	}
	message2, up, down, err := r.hs.WriteMessage(nil, payload)
	if err != nil {
		return nil, nil, fmt.Errorf("secure: making the ephemeral key: %w", err)
	}
	return message2, newChannel(false, r.hs.ChannelBinding(), up, down), nil
}
