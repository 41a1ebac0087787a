package client

import (
	"fmt"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Reason is a code of the table in docs/protocol.md (Errors), or one that this package finds itself. It is an error so
// that errors.Is(err, client.LinkLost) works.
type Reason string

// Error returns the code.
func (r Reason) Error() string { return string(r) }

// Reasons that a caller may want to tell apart. Others come as they are on the wire.
const (
	// LinkLost: the connection to the relay ended. Sessions survive that; handshakes and attempts to connect don't.
	LinkLost = Reason(reason.LinkLost)
	// PeerUnavailable: no daemon is attached, or it went away.
	PeerUnavailable = Reason(reason.PeerUnavailable)
	// PeerSlow: the peer's application has not read for Config.SendTimeout.
	PeerSlow = Reason(reason.PeerSlow)
	// PeerSilent: nothing came from the peer for Config.SessionLifetime.
	PeerSilent = Reason(reason.PeerSilent)
	// HandshakeTimeout: the peer did not answer.
	HandshakeTimeout = Reason(reason.HandshakeTimeout)
	// HandshakeFailed: the peer does not hold the pinned key, or the PSK differs.
	HandshakeFailed = Reason(reason.HandshakeFailed)
	// NotAuthorised: the daemon does not accept this client's key.
	NotAuthorised = Reason(reason.NotAuthorised)
	// PairingUnknown: the pairing string is unknown to the daemon, used or too old.
	PairingUnknown = Reason(reason.PairingUnknown)
	// ProfileTooWeak: Noise IKpsk2 is required: pair first.
	ProfileTooWeak = Reason(reason.ProfileTooWeak)
	// SessionUnknown: the daemon does not have the session any more: its process was started anew.
	SessionUnknown = Reason(reason.SessionUnknown)
	// Cancelled: a side ended the session without a clean close.
	Cancelled = Reason(reason.Cancelled)
	// MessageTooLarge: a message is longer than Session.MaxMessage.
	MessageTooLarge = Reason(reason.MessageTooLarge)
	// Closed: this side closed it before.
	Closed = Reason(reason.Closed)
	// TokenInvalid: the relay does not accept the token.
	TokenInvalid = Reason(reason.TokenInvalid)
	// TokenExpired: the token has expired.
	TokenExpired = Reason(reason.TokenExpired)
	// DaemonAlreadyConnected: another daemon serves the target.
	DaemonAlreadyConnected = Reason(reason.DaemonAlreadyConnected)
	// Replaced: another daemon with the same install took over.
	Replaced = Reason(reason.Replaced)
	// Draining: the relay is going away.
	Draining = Reason(reason.Draining)
	// PlatformUnavailable: the relay can't ask the platform about the token now.
	PlatformUnavailable = Reason(reason.PlatformUnavailable)
)

// Error is what every failure of a link or a session is. It carries no secret.
type Error struct {
	// Reason is the code.
	Reason Reason
	// Text says what happened and what to do.
	Text string
	// By says who decided it: "relay", "peer", "local" or "link" (the network or a terminator in between).
	By string
	// RetryAfter is how long to wait before trying again; 0: not said.
	RetryAfter time.Duration
	cause      error
}

// Error returns "CODE (by): text".
func (e *Error) Error() string {
	return fmt.Sprintf("%s (%s): %s", string(e.Reason), e.By, e.Text)
}

// Is reports whether target is e's Reason.
func (e *Error) Is(target error) bool {
	r, ok := target.(Reason)
	return ok && r == e.Reason
}

// Unwrap returns what caused e, if anything did.
func (e *Error) Unwrap() error { return e.cause }
