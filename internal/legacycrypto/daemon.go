package legacycrypto

import (
	"io"

	"github.com/getviewport/relay/internal/hidden"
)

// DaemonConfig is what a daemon brings to a key exchange.
type DaemonConfig struct {
	hidden.Mark

	// Static is the daemon's own key.
	Static PrivateKey
	// Required is the weakest profile that the daemon accepts. It must come from the daemon's own configuration or
	// from a token that it verified, never from the client.
	Required Profile
	// Random yields the ephemeral key, the session id and the envelopes' ivs; nil stands for crypto/rand. Never the
	// same bytes twice.
	Random io.Reader
}

// DaemonHandshake is the daemon's side of one key exchange, after message 1 was read.
type DaemonHandshake struct {
	hidden.Mark
	init   Init
	client PublicKey
	static PrivateKey
	random io.Reader
	state  *symmetric // after message 1; nil when the handshake is over
}

// ReadInit reads message 1. That it verifies proves nothing but that its sender knows the daemon's public key;
// anybody can send it again. It fails with ErrMisuse, ErrProfileTooWeak and ErrHandshake. Today's daemons do not
// answer a bad init.
func ReadInit(c DaemonConfig, i *Init) (*DaemonHandshake, error) {
	switch {
	case c.Static.IsZero() || !c.Required.Known():
		return nil, because(ErrMisuse, "a daemon needs a static key and a required profile")
	case !i.Profile.Satisfies(c.Required):
		return nil, ErrProfileTooWeak
	}
	h := &DaemonHandshake{
		init: *i, static: c.Static, random: c.Random, state: newSymmetric(i.Profile, c.Static.Public()),
	}
	if err := h.readInit(); err != nil {
		h.Wipe()
		return nil, err
	}
	return h, nil
}

func (h *DaemonHandshake) readInit() error {
	h.state.mixHash(h.init.ClientEphemeral[:])
	if err := h.state.mixDH(h.static, h.init.ClientEphemeral); err != nil {
		return because(ErrHandshake, "the client's ephemeral key is none")
	}
	static, err := h.state.open(h.init.EncryptedClientStatic[:])
	if err != nil {
		return err
	}
	if h.client, err = NewPublicKey(static); err != nil {
		return because(ErrHandshake, "the client's static key is none")
	}
	return h.state.mixDH(h.static, h.client)
}

// Profile is the profile of the session to be.
func (h *DaemonHandshake) Profile() Profile { return h.init.Profile }

// RequestID names the key exchange to relay and client.
func (h *DaemonHandshake) RequestID() string { return h.init.RequestID }

// PairingPeerID says which pairing's PSK Respond needs; "" with noise-ik. It is a claim and no proof.
func (h *DaemonHandshake) PairingPeerID() string { return h.init.PairingPeerID }

// PreviousSessionID says which session is to be rekeyed; "" for a new one. It is a claim and no proof.
func (h *DaemonHandshake) PreviousSessionID() string { return h.init.PreviousSessionID }

// Client is the static key in the init. Today's clients make one for each key exchange, so it names nobody.
func (h *DaemonHandshake) Client() PublicKey { return h.client }

// Respond returns message 2 as a frame and the session, which the daemon can use at once; whether the client is there
// Session.Confirmed says later. psk is that of PairingPeerID, absent if there is none. previous is the session that
// PreviousSessionID names, nil if there is none; it is over when Respond returns, and what is still on its way under
// its id won't open.
//
// It fails with ErrPSK, ErrPrevious, ErrProfile (the previous session's is another), ErrEnded (it was over before),
// ErrRandom and ErrMisuse. Nothing has changed then.
func (h *DaemonHandshake) Respond(psk PSK, previous *Session) (response []byte, s *Session, err error) {
	id, err := newID("rs_", 12, h.random)
	if err != nil {
		return nil, nil, err
	}
	r, s, err := h.respond(psk, previous, id)
	if err != nil {
		return nil, nil, err
	}
	if previous != nil {
		previous.Wipe()
	}
	response = r.text(h.static.Public())
	h.Wipe()
	return response, s, nil
}

func (h *DaemonHandshake) respond(psk PSK, previous *Session, id string) (*Response, *Session, error) {
	if h.state == nil {
		return nil, nil, because(ErrMisuse, "an init is answered once")
	}
	if h.init.Profile == NoiseIKpsk2 && psk.IsZero() {
		return nil, nil, ErrPSK
	}
	epoch, err := h.nextEpoch(previous)
	if err != nil {
		return nil, nil, err
	}
	ephemeral, err := GeneratePrivateKey(h.random)
	if err != nil {
		return nil, nil, err
	}
	r := &Response{
		Profile: h.init.Profile, RequestID: h.init.RequestID, DaemonEphemeral: ephemeral.Public(),
		SessionID: id, Epoch: epoch,
	}
	state := *h.state
	defer state.wipe()
	state.mixHash(r.DaemonEphemeral[:])
	for _, public := range []PublicKey{h.init.ClientEphemeral, h.client} {
		if err := state.mixDH(ephemeral, public); err != nil {
			return nil, nil, err
		}
	}
	if h.init.Profile == NoiseIKpsk2 {
		state.mixKeyAndHash(psk)
	}
	r.EncryptedMetadata = state.seal(encode(metadata{id, epoch}))
	r.Proof = state.hash
	s := &Session{
		role: daemonSide, id: id, profile: h.init.Profile, epoch: epoch, pairingPeerID: h.init.PairingPeerID,
		random: h.random,
	}
	if err := s.start(state.sessionKey(h.init.Profile, id, epoch)); err != nil {
		return nil, nil, err
	}
	return r, s, nil
}

// nextEpoch checks the previous session. That it is of the same pairing is more than today's daemons ask.
func (h *DaemonHandshake) nextEpoch(previous *Session) (uint64, error) {
	switch {
	case previous == nil && h.init.PreviousSessionID == "":
		return 1, nil
	case previous == nil:
		return 0, because(ErrPrevious, "this daemon has no such session")
	case previous.role != daemonSide || previous.id != h.init.PreviousSessionID:
		return 0, because(ErrMisuse, "another session than the client named")
	}
	if err := previous.mayRekey(h.init.Profile, h.init.PairingPeerID); err != nil {
		return 0, err
	}
	return previous.epoch + 1, nil
}

// Wipe gives the handshake up and forgets its keys, as far as Go lets it. One that succeeds is wiped without being
// asked.
func (h *DaemonHandshake) Wipe() {
	if h.state == nil {
		return
	}
	h.state.wipe()
	h.state, h.static = nil, PrivateKey{}
}
