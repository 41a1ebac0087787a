package envelope

import (
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// Bounds of header fields, in bytes (docs/protocol.md, Envelope).
const (
	maxName    = 128     // workspace_id, runtime_target_id
	maxSession = 255     // session_id, request_id
	bindKeyLen = 16      // bind_key, where there is one
	maxMessage = 1024    // status, timestamp: the messages within a header
	maxNumber  = 1 << 63 // sequence, ack, consumed and resume_attempt and epoch are below it
)

// Header is what a relay decides from: every field of an Envelope but the ciphertext itself.
//
// The []byte fields of a parsed Header alias memory of the Batch that it came from and are valid as long as that one's
// Frames; they must not be written to.
type Header struct {
	// Type is 1 to 38; Sequenced tells the sequenced ones.
	Type relayv1.FrameType
	// Profile is set on handshake frames. It may be a number that this release does not know.
	Profile relayv1.Profile
	// Encoding of the ciphertext. It may be a number that this release does not know.
	Encoding relayv1.Encoding
	// Resend is set by a sender that goes on from Sequence.
	Resend bool

	// Workspace and Target are 1 to 128 bytes of [A-Za-z0-9._:-].
	Workspace, Target []byte
	// Session is valid UTF-8 of at most 255 bytes, a native session id where Encoding is NOISE.
	Session []byte
	// BindKey is 16 bytes, or empty.
	BindKey []byte
	// Request is valid UTF-8 of at most 255 bytes.
	Request []byte

	// Sequence, Ack, Consumed, ResumeAttempt and Epoch are below 2^63.
	Sequence, Ack, Consumed, ResumeAttempt, Epoch uint64
	// Timestamp is the sender's clock.
	Timestamp Timestamp

	// Status is a serialized Status that DecodeStatus accepts, or nil where the envelope has none.
	Status []byte
	// CiphertextLen is the length of the ciphertext in bytes. Append ignores it.
	CiphertextLen int
}

// Timestamp is a google.protobuf.Timestamp, which is information only: its values are not checked.
type Timestamp struct {
	// Present tells a timestamp of zeros from none.
	Present bool
	Seconds int64
	Nanos   int32
}

// Sequenced reports whether frames of type t have a sequence of their own (docs/protocol.md, Envelope).
func Sequenced(t relayv1.FrameType) bool {
	return t >= relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT && t <= relayv1.FrameType_FRAME_TYPE_CLOSE
}
