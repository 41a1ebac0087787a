package secure

import (
	"encoding/binary"
	"fmt"
	"math"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

const (
	protocolName = "viewport-relay/1"
	// adSize is the length of a frame's associated data.
	adSize = 1 + 1 + 8 + 8 + 4
)

// Prologue is what both ends of a handshake must agree on: the protocol's name, workspace, target and session id, each
// behind its length. The three are at most 65,535 bytes each; longer ones panic, for they cannot be told apart.
func Prologue(workspace, target, session string) []byte {
	p := make([]byte, 0, 8+len(protocolName)+len(workspace)+len(target)+len(session))
	p = appendString(p, protocolName)
	p = appendString(p, workspace)
	p = appendString(p, target)
	return appendString(p, session)
}

// FrameInfo is the part of a frame's header that its tag covers. All zeros stand for an absent timestamp. A frame that
// is sent again carries the same.
type FrameInfo struct {
	Type     relayv1.FrameType
	Encoding relayv1.Encoding
	Sequence uint64
	// Seconds and Nanos are the header's timestamp, whatever it claims.
	Seconds int64
	Nanos   int32
}

// AssociatedData appends the 22 bytes that AES-GCM authenticates beside a frame's ciphertext: type u8, encoding u8,
// sequence u64, seconds i64, nanos u32, big-endian. Type and Encoding must fit a byte; Seal and Open see to that.
func AssociatedData(dst []byte, f FrameInfo) []byte {
	dst = append(dst, byte(f.Type), byte(f.Encoding))
	dst = binary.BigEndian.AppendUint64(dst, f.Sequence)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.Seconds))
	return binary.BigEndian.AppendUint32(dst, uint32(f.Nanos))
}

func appendString(dst []byte, s string) []byte {
	if len(s) > math.MaxUint16 {
		panic(fmt.Sprintf("secure: a name of %d bytes, want at most 65535", len(s)))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}
