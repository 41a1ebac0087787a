package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
)

const (
	bindKeySize      = 16
	pairingIDSize    = 8
	resumeSecretSize = 32
	maxVersion       = 64
)

// ClientHandshake is what a client brings to a handshake, all of it pinned in its own configuration.
type ClientHandshake struct {
	// Profile is the one that is pinned for this daemon.
	Profile relayv1.Profile
	// Static is the client's key.
	Static secure.KeyPair
	// PeerStatic is the daemon's public key.
	PeerStatic [32]byte
	// PSK is 32 bytes for profile IKpsk2, nil for IK.
	PSK []byte
	// PairingID is 8 bytes on the first contact with a pairing string, else nil.
	PairingID []byte
}

// NewClient starts a session: it draws the bind key, and with it the id, and the ephemeral key from random. The first
// Transmit appends HANDSHAKE_INIT. A handshake is never resumed: when it ends, the driver makes a new Machine.
func NewClient(c Config, h ClientHandshake, random io.Reader, now time.Time) (*Machine, error) {
	if len(h.PairingID) != 0 && len(h.PairingID) != pairingIDSize {
		return nil, fmt.Errorf("pairing id of %d bytes, want %d", len(h.PairingID), pairingIDSize)
	}
	c = c.withDefaults()
	bindKey := make([]byte, bindKeySize)
	if _, err := io.ReadFull(random, bindKey); err != nil {
		return nil, fmt.Errorf("draw a bind key: %w", err)
	}
	seed, err := drawSeed(random)
	if err != nil {
		return nil, err
	}
	m := newMachine(c, envelope.SessionID(bindKey), seed, now)
	initiator, err := secure.NewInitiator(secure.HandshakeConfig{
		Profile: h.Profile, Static: h.Static, PeerStatic: h.PeerStatic, PSK: h.PSK,
		Prologue: secure.Prologue(c.Workspace, c.Target, m.id), Random: random,
	})
	if err != nil {
		return nil, fmt.Errorf("start a handshake: %w", err)
	}
	message1, err := initiator.Init(h.PairingID)
	if err != nil {
		return nil, fmt.Errorf("make message 1: %w", err)
	}
	m.client, m.bindKey, m.profile, m.peerKey = true, bindKey, h.Profile, h.PeerStatic
	m.state, m.handshake, m.handshakeBy = Handshaking, initiator, now.Add(handshakeTimeout)
	m.out.push(outFrame{
		typ: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, ciphertext: message1, cost: cost(len(message1)),
		seconds: now.Unix(), nanos: int32(now.Nanosecond()),
	})
	return m, nil
}

// drawSeed draws the seed of a machine's jitter.
func drawSeed(random io.Reader) ([2]uint64, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return [2]uint64{}, fmt.Errorf("draw a seed: %w", err)
	}
	return [2]uint64{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}, nil
}

// receiveResponse takes the daemon's answer. One that does not verify changes nothing but the time that is left for a
// good one, so that a wrong key or PSK is told soon.
func (m *Machine) receiveResponse(h *envelope.Header, ciphertext []byte, now time.Time) {
	if m.state != Handshaking || h.Sequence != 1 {
		return
	}
	payload, channel, err := m.handshake.Finish(ciphertext)
	if err != nil {
		m.badResponse = true
		m.handshakeBy = earliest(m.handshakeBy, now.Add(handshakeGrace))
		return
	}
	m.handshake, m.channel, m.handshakeBy = nil, channel, time.Time{}
	p, err := readParameters(payload)
	if err == nil {
		err = channel.SetResumeSecret(p.GetResumeSecret())
	}
	if err != nil {
		m.finish(Peer, reason.New(reason.HandshakeFailed, "the peer's session parameters: %v", err))
		return
	}
	m.state = Open
	m.agree(p)
	m.in.expected, m.in.consumed = 2, 1
	m.noteVerified(now)
	m.takeAcks(h.Ack, h.Consumed, now)
	if m.seal(relayv1.FrameType_FRAME_TYPE_DATA, headLast, m.parameters(nil), now) == nil {
		m.fx |= Opened | Writable
	}
}

// parameters serializes what this endpoint tells about itself.
func (m *Machine) parameters(resumeSecret []byte) []byte {
	b, err := proto.Marshal(&relayv1.SessionParameters{
		Window: uint64(m.cfg.Window), MaxMessage: uint64(m.cfg.MaxMessage),
		Version: cut(m.cfg.Version, maxVersion), ResumeSecret: resumeSecret,
	})
	if err != nil { // a message of scalars with valid UTF-8 always serializes
		panic(err)
	}
	return b
}

func readParameters(b []byte) (*relayv1.SessionParameters, error) {
	var p relayv1.SessionParameters
	if err := proto.Unmarshal(b, &p); err != nil {
		return nil, errors.New("malformed")
	}
	return &p, nil
}

// agree takes the smaller of both sides' limits. What a peer leaves out does not bound it.
func (m *Machine) agree(p *relayv1.SessionParameters) {
	smaller := func(own int, peer uint64) int {
		if peer == 0 || peer >= uint64(own) {
			return own
		}
		return int(peer)
	}
	m.window = smaller(m.cfg.Window, p.GetWindow())
	m.maxMessage = smaller(m.cfg.MaxMessage, p.GetMaxMessage())
	m.peerVersion = printable(cut(p.GetVersion(), maxVersion))
}

// Incoming is a HANDSHAKE_INIT that a daemon has read and not answered. It holds no session: an Incoming that is
// neither accepted nor refused is simply forgotten.
type Incoming struct {
	cfg       Config
	id        string
	profile   relayv1.Profile
	responder *secure.Responder
	peerKey   [32]byte
	pairingID []byte
}

// ReadInit reads a HANDSHAKE_INIT. An error means that it was not made for this daemon's key: it is dropped, not
// answered. Nothing that it holds is proved: a relay can replay it. The caller refuses ids that it holds or held.
func ReadInit(
	c Config, static secure.KeyPair, h *envelope.Header, ciphertext []byte, random io.Reader,
) (*Incoming, error) {
	if h.Type != relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT || h.Sequence != 1 ||
		h.Encoding != relayv1.Encoding_ENCODING_NOISE || !envelope.ValidSessionID(h.Session) {
		return nil, reason.New(reason.FrameInvalid, "not the first frame of a native session")
	}
	in := &Incoming{cfg: c.withDefaults(), id: string(h.Session), profile: h.Profile}
	responder, err := secure.NewResponder(secure.HandshakeConfig{
		Profile: h.Profile, Static: static, Prologue: secure.Prologue(c.Workspace, c.Target, in.id), Random: random,
	})
	if err != nil {
		return nil, fmt.Errorf("answer a handshake: %w", err)
	}
	peerKey, payload, err := responder.ReadInit(ciphertext)
	if err != nil {
		return nil, reason.New(reason.HandshakeFailed, "message 1 does not verify: made for another key or target")
	}
	if len(payload) != 0 && len(payload) != pairingIDSize {
		return nil, reason.New(reason.FrameInvalid, "a pairing id of %d bytes", len(payload))
	}
	in.responder, in.peerKey = responder, peerKey
	if len(payload) > 0 {
		in.pairingID = append([]byte(nil), payload...)
	}
	return in, nil
}

// ID is the session id.
func (in *Incoming) ID() string { return in.id }

// PeerKey is the client's static public key: claimed, not proved before Opened.
func (in *Incoming) PeerKey() [32]byte { return in.peerKey }

// PairingID is 8 bytes on a first contact with a pairing string, else nil.
func (in *Incoming) PairingID() []byte { return in.pairingID }

// Profile is the one that the client chose.
func (in *Incoming) Profile() relayv1.Profile { return in.profile }

// Accept answers the handshake: psk is 32 bytes for profile IKpsk2, nil for IK. The resume secret and the ephemeral
// key come from random (the one given to ReadInit serves for the latter). The machine is HalfOpen until Opened; until
// then the driver runs the key check at most.
func (in *Incoming) Accept(psk []byte, random io.Reader, now time.Time) (*Machine, error) {
	secret := make([]byte, resumeSecretSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("draw a resume secret: %w", err)
	}
	defer clear(secret)
	seed, err := drawSeed(random)
	if err != nil {
		return nil, err
	}
	m := newMachine(in.cfg, in.id, seed, now)
	message2, channel, err := in.responder.Respond(psk, m.parameters(secret))
	if err != nil {
		return nil, fmt.Errorf("make message 2: %w", err)
	}
	if err := channel.SetResumeSecret(secret); err != nil {
		return nil, fmt.Errorf("set the resume secret: %w", err)
	}
	m.state, m.channel, m.profile, m.peerKey = HalfOpen, channel, in.profile, in.peerKey
	m.handshakeBy = now.Add(halfOpenLifetime)
	m.in.expected, m.in.consumed = 2, 1
	m.out.push(outFrame{
		typ: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, ciphertext: message2, cost: cost(len(message2)),
		seconds: now.Unix(), nanos: int32(now.Nanosecond()),
	})
	return m, nil
}

// Refuse appends a RESET without a proof; the client's Open ends with code. Codes that a client believes are
// NOT_AUTHORISED, PROFILE_TOO_WEAK, PAIRING_UNKNOWN and CAPACITY.
func (in *Incoming) Refuse(dst []byte, code reason.Code) []byte {
	return AppendReset(dst, in.cfg.Workspace, in.cfg.Target, in.id, code)
}

// firstData takes the plaintext of the client's DATA 2, which proves the client. A false ends the session.
func (m *Machine) firstData(plaintext []byte) bool {
	var p *relayv1.SessionParameters
	err := errors.New("no flags")
	if len(plaintext) > 0 && plaintext[0] == flagLast {
		p, err = readParameters(plaintext[1:])
	}
	if err != nil {
		m.endWith(Local, reason.DecryptFailed, "the peer's session parameters are malformed")
		return false
	}
	m.agree(p)
	m.state, m.handshakeBy = Open, time.Time{}
	m.in.consumed = 2
	if !m.out.closing { // else it was refused
		m.fx |= Opened | Writable
	}
	return true
}
