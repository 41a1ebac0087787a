// Package secure is the end-to-end encryption of a native session (docs/protocol.md, "End-to-end encryption"): the
// Noise handshake of both profiles, the transport frames with their explicit nonces and key epochs, and the proofs of
// RESUME, RESUMED and RESET.
//
// It turns bytes into bytes: it knows no envelope, session, clock or link, decides no policy (which profile or which
// peer key is wanted is the caller's) and keeps nothing on disk. It alone imports flynn/noise. Nothing it returns or
// formats, an error included, holds a secret; docs/vectors describes every byte it makes.
package secure

import (
	"errors"
	"fmt"

	"github.com/flynn/noise"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// Profile says which Noise handshake a session uses.
type Profile = relayv1.Profile

const (
	// Overhead is how many bytes longer a sealed frame is than its plaintext: the tag of AES-GCM.
	Overhead = 16
	// KeySize is the length in bytes of public and private keys, PSKs and resume secrets.
	KeySize = 32
	// MaxMessage is the longest Noise message in bytes, handshake or transport, tag included (Noise, section 3).
	MaxMessage = noise.MaxMsgLen
	// MaxSequence is the highest sequence that a frame can have: a session ends when it would reach 2^48.
	MaxSequence = 1<<48 - 1
)

// What the functions of this package fail with, for errors.Is. A message that does not verify says no more than that:
// the reason would only help who forged it.
var (
	// ErrHandshake: a handshake message does not verify. The peer does not hold the expected key or PSK, the prologue
	// differs, or the message was damaged.
	ErrHandshake = errors.New("secure: the handshake message does not verify")
	// ErrPublicKey: a public key is of low order, or a static one is not in its canonical form.
	ErrPublicKey = errors.New("secure: the public key is not acceptable")
	// ErrFrame: a frame does not verify: damaged, forged, or not of this place, direction or session.
	ErrFrame = errors.New("secure: the frame does not verify")
	// ErrSequence: the frame's sequence is not the next one of its direction. It says nothing about the frame.
	ErrSequence = errors.New("secure: not the next sequence of its direction")
	// ErrEnded: the direction has used MaxSequence; the session must end.
	ErrEnded = errors.New("secure: the last sequence of the session is used")
	// ErrMisuse: the caller passed what can never be right, or called out of order; the text says what.
	ErrMisuse = errors.New("secure: misuse")
)

func misuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMisuse, fmt.Sprintf(format, args...))
}
