package session

import "github.com/getviewport/relay/internal/reason"

// Party is who ended a session.
type Party uint8

// Parties that can end a session.
const (
	// Local is this endpoint: its application, or a rule that this machine enforces.
	Local Party = iota + 1
	// Peer is the other endpoint; that it was the peer is proved, except while the handshake is open and for
	// SESSION_UNKNOWN (docs/protocol.md, Ends).
	Peer
	// Relay ended or refused the session with a STATUS, which nothing proves.
	Relay
	// Link is the connection to the relay.
	Link
)

// String returns the party as it reads in an error.
func (p Party) String() string {
	switch p {
	case Local:
		return "here"
	case Peer:
		return "by the peer"
	case Relay:
		return "by the relay"
	case Link:
		return "with the link"
	}
	return "by nobody"
}

// End is how a session ended when it did not end cleanly. A clean end, a decrypted CLOSE, is never an End: the reader
// gets io.EOF for it.
type End struct {
	// By is who ended it.
	By Party
	// Reason has the code, what to tell a person and, from a relay, how long to wait.
	Reason *reason.Error
}

// Error returns "session ended by the peer: CODE: text".
func (e *End) Error() string { return "session ended " + e.By.String() + ": " + e.Reason.Error() }

// Unwrap returns Reason, so that errors.Is works with &reason.Error{Code: c}.
func (e *End) Unwrap() error { return e.Reason }

// Code is the code of Reason.
func (e *End) Code() reason.Code { return e.Reason.Code }
