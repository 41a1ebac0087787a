package legacycrypto

import (
	"fmt"

	"github.com/getviewport/relay/internal/reason"
)

// failure is an error of this package: a name for errors.Is and a code for reason.Of.
type failure struct {
	code reason.Code
	text string
}

func (f *failure) Error() string { return "legacycrypto: " + f.text }

// Unwrap gives reason.Of the code and the text.
func (f *failure) Unwrap() error { return &reason.Error{Code: f.code, Text: f.text} }

func fail(code reason.Code, text string) error { return &failure{code, text} }

// because says more about an error of this package.
func because(err error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))
}

// What any function may fail with.
var (
	// ErrMisuse: the caller passed what can never be right, or called out of order; the text says what.
	ErrMisuse = fail(reason.Internal, "misuse")
	// ErrRandom: the source of randomness failed.
	ErrRandom = fail(reason.Internal, "reading randomness failed")
	// ErrKey: a key is not what it should be; the text says which and how, never its bytes.
	ErrKey = fail(reason.Internal, "the key is not acceptable")
)

// What is wrong with a frame before anything of it is decrypted.
var (
	// ErrFrame: the frame is malformed; the text names the field.
	ErrFrame = fail(reason.FrameInvalid, "the frame is malformed")
	// ErrFrameTooLarge: the frame is longer than MaxFrame, or a control frame longer than any can be.
	ErrFrameTooLarge = fail(reason.FrameTooLarge, "the frame is too long")
	// ErrOtherType: the frame is none of those that this package knows. It may be fine, and somebody else's.
	ErrOtherType = fail(reason.FrameInvalid, "not a frame of the end-to-end encryption")
	// ErrVersion: a key exchange or an envelope of another version. A peer that only has key exchange v2 must be
	// updated.
	ErrVersion = fail(reason.FrameInvalid, "another version of the protocol")
)

// What is wrong with a handshake.
var (
	// ErrProfileTooWeak: the daemon requires noise-ikpsk2.
	ErrProfileTooWeak = fail(reason.ProfileTooWeak, "the daemon requires noise-ikpsk2; pair this client with it")
	// ErrRequest: the answer is to another request.
	ErrRequest = fail(reason.HandshakeFailed, "the answer is to another request")
	// ErrHandshake: a key or a seal in the handshake does not verify: the peer does not hold the expected key or PSK,
	// or the frame was changed on its way.
	ErrHandshake = fail(reason.HandshakeFailed, "the handshake does not verify")
	// ErrProof: everything else verifies, but the proof at the end does not.
	ErrProof = fail(reason.HandshakeFailed, "the proof of the handshake does not verify")
	// ErrMetadata: session id or epoch beside the seal are not those under it.
	ErrMetadata = fail(reason.HandshakeFailed, "the session id or the epoch is not the sealed one")
	// ErrPSK: the profile needs a PSK and there is none for this client. It must pair.
	ErrPSK = fail(reason.PairingUnknown, "there is no pre-shared key for this client; pair it with the daemon")
	// ErrPrevious: the session that is to be rekeyed is not there, of another client, or was not asked to.
	ErrPrevious = fail(reason.SessionUnknown, "the previous session can't be rekeyed; open a new one")
)

// What is wrong with an envelope or a session.
var (
	// ErrSession: the frame is of another session.
	ErrSession = fail(reason.SessionUnknown, "the frame is of another session")
	// ErrProfile: the frame is of another profile than the session or the handshake.
	ErrProfile = fail(reason.HandshakeFailed, "the frame is of another profile")
	// ErrEpoch: the frame is of another epoch.
	ErrEpoch = fail(reason.SessionUnknown, "the frame is of another epoch")
	// ErrReplay: the sequence is not above all that were opened: the envelope came again, or too late.
	ErrReplay = fail(reason.SequenceReplay, "the sequence is not above the last one")
	// ErrDecrypt: the envelope does not verify: damaged, forged or of another session or place.
	ErrDecrypt = fail(reason.DecryptFailed, "the envelope does not verify")
	// ErrReflected: the envelope is one that this side sealed itself. That is no accident: the relay, or who owns the
	// way to it, sent it back.
	ErrReflected = fail(reason.DecryptFailed, "the envelope is our own, sent back by who carries it")
	// ErrPlaintext: the plaintext is empty or not UTF-8; today's peers can carry neither.
	ErrPlaintext = fail(reason.FrameInvalid, "the plaintext can't be carried")
	// ErrTooLong: the plaintext is longer than MaxPlaintext.
	ErrTooLong = fail(reason.MessageTooLarge, "the plaintext is too long")
	// ErrExhausted: MaxMessages went in this direction. The session must be rekeyed or ended.
	ErrExhausted = fail(reason.Cancelled, "the session's key is used up; open a new session")
	// ErrRekeying: an init that is to replace this session has been made. What was sealed now would be lost.
	ErrRekeying = fail(reason.Internal, "the session is being rekeyed; send on the new one")
	// ErrEnded: the session was wiped, or rekeyed and so replaced.
	ErrEnded = fail(reason.Closed, "the session is over")
)

// What is wrong with pairing.
var (
	// ErrPairing: what came sealed does not verify: another channel, or changed on its way.
	ErrPairing = fail(reason.HandshakeFailed, "the sealed part of the pairing does not verify")
	// ErrOffer: the offer is unknown, was used, was revoked, or is too old. They are one error: who asks learns nothing
	// about what else there is.
	ErrOffer = fail(reason.PairingUnknown, "the offer is unknown, used or too old; ask for a new one")
	// ErrOfferLocked: too many wrong secrets were tried with this offer.
	ErrOfferLocked = fail(reason.PairingUnknown, "too many wrong secrets; ask for a new offer")
	// ErrTrustAnchor: the client names another trust anchor than the daemon's.
	ErrTrustAnchor = fail(reason.NotAuthorised, "the trust anchor is another one")
	// ErrClientProof: the client's signature does not verify.
	ErrClientProof = fail(reason.NotAuthorised, "the client's proof does not verify")
	// ErrSecret: the secret is not the offer's.
	ErrSecret = fail(reason.NotAuthorised, "the secret is wrong")
	// ErrServerSignature: the daemon's signature does not verify.
	ErrServerSignature = fail(reason.HandshakeFailed, "the daemon's signature does not verify")
	// ErrOtherPairing: the answer is about another offer, client or daemon.
	ErrOtherPairing = fail(reason.HandshakeFailed, "the answer is about another pairing")
	// ErrRefused: the daemon, or whoever speaks for it (the answer is not authenticated), refused.
	ErrRefused = fail(reason.NotAuthorised, "the daemon refused to pair")
)
