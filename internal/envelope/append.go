package envelope

import (
	"encoding/binary"
	"math/bits"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
)

// Append appends one element of EnvelopeBatch.envelopes to dst: its tag, its length and the envelope with fields in
// order of their numbers, the ciphertext last, so that a reader has the header first. Fields with zero values are left
// out, as protobuf does. It does not check the form of h.
func Append(dst []byte, h *Header, ciphertext []byte) []byte {
	return append(AppendHeader(dst, h, len(ciphertext)), ciphertext...)
}

// AppendHeader is Append without the ciphertext, which comes right behind and has so many bytes.
func AppendHeader(dst []byte, h *Header, ciphertextLen int) []byte {
	dst = append(dst, tagEnvelope)
	dst = binary.AppendUvarint(dst, uint64(envelopeSize(h, ciphertextLen)))
	dst = appendBytes(dst, 1, h.Workspace)
	dst = appendBytes(dst, 2, h.Target)
	dst = appendNumber(dst, 3, uint64(h.Type))
	dst = appendNumber(dst, 4, h.Sequence)
	if h.Timestamp.Present {
		dst = append(dst, 5<<3|wireBytes, byte(timestampSize(h.Timestamp)))
		dst = appendNumber(dst, 1, uint64(h.Timestamp.Seconds))
		dst = appendNumber(dst, 2, uint64(h.Timestamp.Nanos))
	}
	dst = appendBytes(dst, 6, h.Session)
	dst = appendNumber(dst, 7, h.Ack)
	dst = appendNumber(dst, 8, h.Consumed)
	dst = appendNumber(dst, 9, oneIf(h.Resend))
	dst = appendNumber(dst, 10, uint64(h.Profile))
	dst = appendNumber(dst, 11, uint64(h.Encoding))
	if h.Status != nil {
		dst = append(dst, 12<<3|wireBytes)
		dst = binary.AppendUvarint(dst, uint64(len(h.Status)))
		dst = append(dst, h.Status...)
	}
	dst = appendNumber(dst, 13, h.ResumeAttempt)
	dst = appendBytes(dst, 14, h.BindKey)
	dst = appendBytes(dst, 15, h.Request)
	if h.Epoch != 0 {
		dst = binary.AppendUvarint(append(dst, tagEpoch0, tagEpoch1), h.Epoch)
	}
	if ciphertextLen > 0 {
		dst = append(dst, tagCiphertext0, tagCiphertext1)
		dst = binary.AppendUvarint(dst, uint64(ciphertextLen))
	}
	return dst
}

// AppendedSize is the number of bytes that Append appends for h and a ciphertext of this length.
func AppendedSize(h *Header, ciphertextLen int) int {
	n := envelopeSize(h, ciphertextLen)
	return 1 + uvarintLen(uint64(n)) + n
}

// AppendStatus appends an envelope of type STATUS: about one session, or with an empty one about the whole link.
func AppendStatus(dst []byte, workspace, target, session string, s Status) []byte {
	return Append(dst, &Header{
		Type:      relayv1.FrameType_FRAME_TYPE_STATUS,
		Workspace: []byte(workspace),
		Target:    []byte(target),
		Session:   []byte(session),
		Status:    s.Append(nil),
	}, nil)
}

// AppendHeartbeat appends an envelope of type HEARTBEAT; with probe it asks for one in return at once.
func AppendHeartbeat(dst []byte, workspace, target string, probe bool) []byte {
	h := Header{
		Type:      relayv1.FrameType_FRAME_TYPE_HEARTBEAT,
		Workspace: []byte(workspace),
		Target:    []byte(target),
	}
	if probe {
		h.Status = Status{Code: reason.Probe}.Append(nil)
	}
	return Append(dst, &h, nil)
}

func envelopeSize(h *Header, ciphertextLen int) int {
	n := bytesSize(len(h.Workspace)) + bytesSize(len(h.Target)) + numberSize(uint64(h.Type)) + numberSize(h.Sequence)
	if h.Timestamp.Present {
		n += 2 + timestampSize(h.Timestamp)
	}
	n += bytesSize(len(h.Session)) + numberSize(h.Ack) + numberSize(h.Consumed) + numberSize(oneIf(h.Resend)) +
		numberSize(uint64(h.Profile)) + numberSize(uint64(h.Encoding))
	if h.Status != nil {
		n += 1 + uvarintLen(uint64(len(h.Status))) + len(h.Status)
	}
	n += numberSize(h.ResumeAttempt) + bytesSize(len(h.BindKey)) + bytesSize(len(h.Request))
	if h.Epoch != 0 {
		n += 1 + numberSize(h.Epoch)
	}
	if ciphertextLen > 0 {
		n += 2 + uvarintLen(uint64(ciphertextLen)) + ciphertextLen
	}
	return n
}

func timestampSize(t Timestamp) int {
	return numberSize(uint64(t.Seconds)) + numberSize(uint64(t.Nanos))
}

// appendBytes and appendNumber append a field with a number below 16, unless it has its zero value.
func appendBytes[T []byte | string](dst []byte, field byte, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = append(dst, field<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

func appendNumber(dst []byte, field byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, field<<3|wireVarint), v)
}

func bytesSize(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + uvarintLen(uint64(n)) + n
}

func numberSize(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + uvarintLen(v)
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
