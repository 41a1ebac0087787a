package legacycrypto

import (
	"crypto/subtle"
	"encoding/hex"
	"io"

	"github.com/getviewport/relay/internal/hidden"
)

// ClientConfig is what a client brings to a key exchange.
type ClientConfig struct {
	hidden.Mark

	// Profile is what the client insists on; the daemon can't change it.
	Profile Profile
	// Daemon is the daemon's static key, from where the client trusts it to be right. It is what authenticates the
	// daemon.
	Daemon PublicKey
	// PSK and PairingPeerID are what pairing gave; with noise-ikpsk2, and only then.
	PSK           PSK
	PairingPeerID string
	// Previous is a live session of this client that its daemon asked to rekey (Session.RekeyDue), of the same
	// profile and pairing; nil for a new session. Once Init was called nothing can be sealed on it, because the
	// daemon drops what reaches it behind the init; what the daemon sent before still opens. Finish ends it.
	Previous *Session
	// Static is the client's own key; absent, as today's clients do it, it is made for this key exchange alone. No
	// daemon looks at it.
	Static PrivateKey
	// Random yields keys, the request id and the envelopes' ivs; nil stands for crypto/rand. Never the same bytes
	// twice.
	Random io.Reader
}

func (c *ClientConfig) check() error {
	switch {
	case !c.Profile.Known():
		return because(ErrMisuse, "profile %q is none", string(c.Profile))
	case (c.Profile == NoiseIKpsk2) != !c.PSK.IsZero() || (c.Profile == NoiseIKpsk2) != (c.PairingPeerID != ""):
		return because(ErrMisuse, "%s needs a PSK and a pairing peer id, another profile neither", NoiseIKpsk2)
	case c.PairingPeerID != "" && !validID(c.PairingPeerID):
		return because(ErrMisuse, "a pairing peer id has 1 to %d bytes and is not blank", maxID)
	case c.Previous == nil:
		return nil
	case c.Previous.role != clientSide:
		return because(ErrMisuse, "a client rekeys its own sessions only")
	}
	return c.Previous.mayRekey(c.Profile, c.PairingPeerID)
}

// ClientHandshake is the client's side of one key exchange. How long it waits for the daemon is the caller's to decide
// (today's clients: 10 s): a daemon that refuses does not answer.
type ClientHandshake struct {
	hidden.Mark
	profile       Profile
	requestID     string
	pairingPeerID string
	previous      *Session
	random        io.Reader
	sent          bool

	daemon    PublicKey
	static    PrivateKey
	ephemeral PrivateKey
	psk       PSK
	state     *symmetric // after message 1; nil when the handshake is over
}

// NewClientHandshake starts a key exchange. It fails with ErrMisuse, ErrKey, ErrRandom, and because of Previous with
// ErrEnded, ErrProfile and ErrPrevious.
func NewClientHandshake(c ClientConfig) (*ClientHandshake, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if _, err := c.Daemon.point(); err != nil {
		return nil, err
	}
	h := &ClientHandshake{
		profile: c.Profile, pairingPeerID: c.PairingPeerID, previous: c.Previous, random: c.Random,
		daemon: c.Daemon, static: c.Static, psk: c.PSK, state: newSymmetric(c.Profile, c.Daemon),
	}
	var err error
	if h.static.IsZero() {
		if h.static, err = GeneratePrivateKey(c.Random); err != nil {
			return nil, err
		}
	}
	if h.ephemeral, err = GeneratePrivateKey(c.Random); err != nil {
		return nil, err
	}
	if h.requestID, err = newID("kex-", 8, c.Random); err != nil {
		return nil, err
	}
	return h, nil
}

// newID is a prefix and n random bytes in hex.
func newID(prefix string, n int, random io.Reader) (string, error) {
	b := make([]byte, n)
	if err := read(random, b); err != nil {
		return "", err
	}
	return prefix + hex.EncodeToString(b), nil
}

// RequestID names this key exchange to relay and daemon: the Response to it has the same.
func (h *ClientHandshake) RequestID() string { return h.requestID }

// Init returns message 1 as a frame. It works once.
func (h *ClientHandshake) Init() ([]byte, error) {
	if h.state == nil || h.sent {
		return nil, because(ErrMisuse, "an init is made once")
	}
	i := Init{
		Profile: h.profile, RequestID: h.requestID, ClientEphemeral: h.ephemeral.Public(),
		PairingPeerID: h.pairingPeerID,
	}
	if h.previous != nil {
		if err := h.previous.mayRekey(h.profile, h.pairingPeerID); err != nil {
			return nil, err
		}
		i.PreviousSessionID = h.previous.id
	}
	state := *h.state
	defer state.wipe()
	state.mixHash(i.ClientEphemeral[:])
	if err := state.mixDH(h.ephemeral, h.daemon); err != nil {
		return nil, err
	}
	static := h.static.Public()
	copy(i.EncryptedClientStatic[:], state.seal(static[:]))
	if err := state.mixDH(h.static, h.daemon); err != nil {
		return nil, err
	}
	*h.state, h.sent = state, true
	if h.previous != nil {
		h.previous.rekeying = true
	}
	return i.Text(), nil
}

// Finish reads message 2. If it verifies, the daemon holds its static key (and the PSK), the session is the client's to
// use, and the previous one, if any, is over. If it does not (ErrRequest, ErrProfile, ErrHandshake, ErrProof,
// ErrMetadata, ErrEpoch, ErrFrame), nothing has changed: drop it and try the next one.
func (h *ClientHandshake) Finish(r *Response) (*Session, error) {
	if h.state == nil || !h.sent {
		return nil, because(ErrMisuse, "a response is read once, after the init was made")
	}
	switch {
	case r.RequestID != h.requestID:
		return nil, ErrRequest
	case r.Profile != h.profile:
		return nil, ErrProfile
	}
	state := *h.state
	defer state.wipe()
	sealed, proof, err := h.openMetadata(&state, r)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(proof[:], r.Proof[:]) != 1 {
		return nil, ErrProof
	}
	if err := h.checkMetadata(sealed, r); err != nil {
		return nil, err
	}
	s := &Session{
		role: clientSide, id: r.SessionID, profile: h.profile, epoch: r.Epoch, pairingPeerID: h.pairingPeerID,
		random: h.random, confirmed: true,
	}
	if err := s.start(state.sessionKey(h.profile, r.SessionID, r.Epoch)); err != nil {
		return nil, err
	}
	if h.previous != nil {
		h.previous.Wipe()
	}
	h.Wipe()
	return s, nil
}

// openMetadata runs message 2 on state and returns what it sealed and the proof that it must carry.
func (h *ClientHandshake) openMetadata(state *symmetric, r *Response) (sealed []byte, proof [32]byte, err error) {
	state.mixHash(r.DaemonEphemeral[:])
	for _, private := range []PrivateKey{h.ephemeral, h.static} {
		if err := state.mixDH(private, r.DaemonEphemeral); err != nil {
			return nil, proof, because(ErrHandshake, "the daemon's ephemeral key is none")
		}
	}
	if h.profile == NoiseIKpsk2 {
		state.mixKeyAndHash(h.psk)
	}
	sealed, err = state.open(r.EncryptedMetadata)
	return sealed, state.hash, err
}

// checkMetadata wants the fields in the clear to be the sealed ones and the epoch to be the next.
func (h *ClientHandshake) checkMetadata(sealed []byte, r *Response) error {
	m, err := parseMetadata(sealed)
	if err != nil {
		return err
	}
	epoch := uint64(1)
	if h.previous != nil {
		epoch = h.previous.epoch + 1
	}
	switch {
	case m.SessionID != r.SessionID || m.Epoch != r.Epoch:
		return ErrMetadata
	case m.Epoch != epoch:
		return because(ErrEpoch, "the daemon says %d, want %d", m.Epoch, epoch)
	case h.previous != nil && m.SessionID == h.previous.id:
		return because(ErrMetadata, "the new session has the id of the old one")
	}
	return nil
}

// Wipe gives the handshake up and forgets its keys, as far as Go lets it. A previous session can then send again;
// whether the daemon still has it nobody knows, so a client that waited in vain does better to begin anew without it.
// A handshake that succeeds is wiped without being asked.
func (h *ClientHandshake) Wipe() {
	if h.state == nil {
		return
	}
	h.state.wipe()
	h.state, h.static, h.ephemeral, h.psk = nil, PrivateKey{}, PrivateKey{}, PSK{}
	if h.previous != nil {
		h.previous.rekeying = false
	}
}
