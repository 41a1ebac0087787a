// Package session is one session at one endpoint, as a pure machine: the handshake, sealing, the window, acks,
// fragments, going back, resuming and the ends (docs/protocol.md). It is responsible for everything that two endpoints
// promise each other: what Next gives is a prefix of what the peer sent, and io.EOF means that it was all of it.
//
// It does no I/O, starts no goroutine, reads no clock and draws no randomness: envelopes, time and an io.Reader come
// in, Effects and appended envelopes go out, so that a seed replays a run exactly. Of a link it knows whether there is
// one, and that it is a new one: the driver tells it LinkLost and LinkUp, gives it the envelopes of its session id,
// asks Transmit when WantsToSend, and calls Tick at Deadline. Which peer is welcome, which ids were used before and
// when to connect again is the driver's business.
//
// Nothing in this package is safe for concurrent use.
package session

import (
	"math/rand/v2"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/secure"
)

// Config is what a session is bounded by. Zero values of Window, MaxMessage and Lifetime mean the defaults.
type Config struct {
	// Workspace and Target name where the session goes; both are bound into the handshake.
	Workspace, Target string
	// Window is the most bytes in flight in each direction, the smaller of this endpoint's and what the relay
	// announced. A frame costs its ciphertext + 256. Default 1,048,576.
	Window int
	// MaxMessage is the longest application message in bytes, likewise the smaller of both. Default 524,288.
	MaxMessage int
	// Version is told to the peer for its logs; only its first 64 bytes are sent.
	Version string
	// Lifetime is how long a session lives without a verified word of its peer. Default 10 minutes.
	Lifetime time.Duration
}

// Defaults of Config, and the constants of docs/protocol.md that are not configurable.
const (
	defaultWindow     = 1 << 20
	defaultMaxMessage = 512 << 10
	defaultLifetime   = 10 * time.Minute

	// maxFragment is the most application data in one DATA frame.
	maxFragment = 16000
	// maxCiphertext is the longest ciphertext of a DATA frame: flags, data, tag.
	maxCiphertext = 1 + maxFragment + secure.Overhead
	// frameOverhead is what a frame costs above its ciphertext.
	frameOverhead = 256
	// maxFrameCost is what the dearest DATA frame costs: 16,273.
	maxFrameCost = maxCiphertext + frameOverhead
	// maxUnverified frames and proofs in a row that do not verify end a session.
	maxUnverified = 64

	handshakeTimeout  = 10 * time.Second
	handshakeGrace    = time.Second // after a RESPONSE that did not verify
	halfOpenLifetime  = 10 * time.Minute
	tombstoneLifetime = 10 * time.Minute
	ackDelay          = 25 * time.Millisecond
	goBackInterval    = 200 * time.Millisecond
	resumeInterval    = time.Second
	resumeSpread      = 500 * time.Millisecond // after PEER_AVAILABLE
	silentProbe       = 5 * time.Second
	stuckProbe        = 15 * time.Second
	maxProbe          = time.Minute
	keepaliveAfter    = 5 * time.Minute
	keepaliveInterval = time.Minute
)

// State is where a session is in its life.
type State uint8

// States of a session, in the order in which they come.
const (
	// Handshaking: a client that has no HANDSHAKE_RESPONSE yet.
	Handshaking State = iota + 1
	// HalfOpen: a daemon that has accepted and has not decrypted the client's DATA 2 yet; the client is unknown.
	HalfOpen
	// Open: both sides have proved themselves. Either direction may have been closed already.
	Open
	// Closed: both CLOSE frames arrived: a clean end. The machine stays as a tombstone that answers RESUME.
	Closed
	// Ended: with an error (Err), or a tombstone whose time is over.
	Ended
)

// Effects is a set of what an input changed, for the driver to act on.
type Effects uint8

// Effects of an input.
const (
	// Opened: the peer has proved itself; application data may flow. Comes once.
	Opened Effects = 1 << iota
	// Readable: Next has a message, io.EOF or the end's error.
	Readable
	// Writable: Send, which was not done, can take more or has an error.
	Writable
	// WantsToSend: Transmit has something to append. It comes with every input while that is so.
	WantsToSend
	// EndedClean: both directions are closed; the machine is a tombstone now. Comes once.
	EndedClean
	// EndedUnclean: the session ended with an error (Err); Transmit may still have a RESET to append. Comes once.
	EndedUnclean
)

// Has reports whether all of x are in e.
func (e Effects) Has(x Effects) bool { return e&x == x }

// Machine is one session at one endpoint. NewClient and Incoming.Accept make one.
type Machine struct {
	// Static after construction.

	cfg       Config
	id        string
	sessionID []byte // id, as Header wants it
	workspace []byte
	target    []byte
	client    bool
	profile   relayv1.Profile
	bindKey   []byte     // client only: owns id at the relay
	rand      *rand.Rand // jitter only, seeded by the random source that the machine was made with

	// Life. state only moves forward.

	state       State
	end         *End // not nil exactly when state is Ended with an error
	peerKey     [32]byte
	peerVersion string
	final       farewell // what is due after the end; not empty only in Ended
	done        bool     // nothing will ever be due again

	// Handshake and keys. handshake is not nil exactly in Handshaking, channel exactly in HalfOpen, Open and Closed.

	handshake   *secure.Initiator
	handshakeBy time.Time // Handshaking and HalfOpen: when it is given up
	badResponse bool      // Handshaking: a RESPONSE did not verify
	channel     *secure.Channel
	unverified  int // frames and proofs in a row that did not verify; below maxUnverified

	// Limits in force: the smaller of cfg's and the peer's, once the peer has told its own.

	window     int
	maxMessage int

	// Directions: send.go and receive.go state their invariants and bounds.

	out outbox
	in  inbox

	// Resume, see resume.go.

	attempt     uint64    // of the last RESUME, RESUMED or RESET with a proof that was made here
	peerAttempt uint64    // of the last one accepted from the peer
	resumeDue   bool      // RESUME goes out with the next Transmit
	resumeAt    time.Time // RESUME becomes due; zero: none is deferred
	owed        bool      // the daemon has a new link that no RESUME went to yet: no answer to an older one counts for it
	resumedDue  bool      // RESUMED goes out with the next Transmit
	lastResume  time.Time // when the last RESUME went out; zero: none yet
	outstanding bool      // a RESUME went out and no RESUME or RESUMED was accepted since
	waiting     bool      // no sequenced frame goes out before a RESUME or RESUMED was accepted
	offline     bool      // there is no link: nothing goes out
	confirmed   bool      // a client in Closed: its peer is over, too
	asking      bool      // a client in Closed: it has a new link and asks its peer for that until it is answered
	release     bool      // the RESET that lets the relay forget the session goes out with the next Transmit
	gapTop      uint64    // highest sequence that came although it was above the expected one

	// Times, see timers.go.

	verified   time.Time // last frame or proof of the peer that verified
	heard      time.Time // last frame from the peer's direction, ACK included, which nothing proves
	advanced   time.Time // last advance of ack or consumed
	stalled    bool      // the stall probe's condition holds, since stallSince
	stallSince time.Time
	probes     int       // probes since the last advance
	probeAt    time.Time // with probes above 0: when the next is due
	slow       [2]time.Duration
	slowSince  time.Time // slow[0] is the longest time from first sending to ack since then, slow[1] in the minute before
	closedAt   time.Time // in Closed: since when

	// Scratch of one call, and a count.

	fx          Effects
	header      envelope.Header
	transmitted int // envelopes ever appended by Transmit
}

// newMachine has what both roles share.
func newMachine(c Config, id string, seed [2]uint64, now time.Time) *Machine {
	m := &Machine{
		cfg: c, id: id, sessionID: []byte(id), workspace: []byte(c.Workspace), target: []byte(c.Target),
		rand:   rand.New(rand.NewPCG(seed[0], seed[1])),
		window: c.Window, maxMessage: c.MaxMessage,
		verified: now, heard: now, advanced: now, slowSince: now,
	}
	m.out.next, m.out.cursor = 1, 1
	m.in.expected = 1
	return m
}

// withDefaults fills the zero values.
func (c Config) withDefaults() Config {
	if c.Window <= 0 {
		c.Window = defaultWindow
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = defaultMaxMessage
	}
	if c.Lifetime <= 0 {
		c.Lifetime = defaultLifetime
	}
	return c
}

// ID is the session id.
func (m *Machine) ID() string { return m.id }

// PeerKey is the peer's static public key. At a daemon it is only claimed until Opened.
func (m *Machine) PeerKey() [32]byte { return m.peerKey }

// PeerVersion is what the peer says it runs, at most 64 printable characters; empty until Opened.
func (m *Machine) PeerVersion() string { return m.peerVersion }

// Profile is the handshake's.
func (m *Machine) Profile() relayv1.Profile { return m.profile }

// State is where the session is.
func (m *Machine) State() State { return m.state }

// Err is the *End of a session that ended with an error, else nil.
func (m *Machine) Err() error {
	if m.end == nil {
		return nil
	}
	return m.end
}

// Done reports whether nothing will be due on the wire any more: the driver forgets the machine's id (a daemon refuses
// that id for another 10 minutes). What Next has not given yet stays readable.
func (m *Machine) Done() bool { return m.done }

// MaxMessage is the longest message that Send takes, in bytes; final once Opened.
func (m *Machine) MaxMessage() int { return m.maxMessage }

// Receive takes an envelope of this session that came from the link. The driver has checked its form and session id;
// workspace and target are bound into the keys. Nothing of h and ciphertext is kept. Whatever an envelope holds, it ends the session only by
// a rule of docs/protocol.md.
func (m *Machine) Receive(h *envelope.Header, ciphertext []byte, now time.Time) Effects {
	if m.state == Ended {
		return 0
	}
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE:
		m.receiveResponse(h, ciphertext, now)
	case relayv1.FrameType_FRAME_TYPE_DATA, relayv1.FrameType_FRAME_TYPE_CLOSE:
		m.receiveSequenced(h, ciphertext, now)
	case relayv1.FrameType_FRAME_TYPE_ACK:
		m.receiveAck(h, now)
	case relayv1.FrameType_FRAME_TYPE_RESUME, relayv1.FrameType_FRAME_TYPE_RESUMED:
		m.receiveResume(h, ciphertext, now)
	case relayv1.FrameType_FRAME_TYPE_RESET:
		m.receiveReset(h, ciphertext, now)
	case relayv1.FrameType_FRAME_TYPE_STATUS:
		if s, err := envelope.DecodeStatus(h.Status); err == nil {
			m.sessionStatus(s, now)
		}
	}
	return m.effects(now)
}

// effects ends an input: it settles what depends on everything else and hands out what changed.
func (m *Machine) effects(now time.Time) Effects {
	m.settleStall(now)
	e := m.fx
	m.fx = 0
	if m.WantsToSend() {
		e |= WantsToSend
	}
	return e
}

// established reports whether there are keys.
func (m *Machine) established() bool { return m.channel != nil }

// earliest returns the earlier of two times, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
