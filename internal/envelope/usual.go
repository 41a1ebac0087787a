package envelope

import (
	"bytes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// scanUsual is scan for the form in which nearly all envelopes come, in half the time: the names of last, then
// the fields of a frame of a session, each in its turn. It reads whole good fields from the start of b and returns where
// it stops, at the latest before the first that is bad or out of turn: scan goes on there, and knows all the rules.
func (f *Frame) scanUsual(b []byte, base int, last *accepted) int {
	i := len(last.names)
	if i == 0 || !bytes.HasPrefix(b, last.names) {
		return 0
	}
	h := &f.Header
	end, start := last.workspaceEnd, last.workspaceEnd-len(last.workspace)
	h.Workspace = b[start:end:end]
	h.Target = b[i-len(last.target) : i : i]
	f.seen = 1<<1 | 1<<2

	if i+1 < len(b) && b[i] == 3<<3|wireVarint && b[i+1]-1 < byte(relayv1.FrameType_FRAME_TYPE_PRESENCE) {
		h.Type = relayv1.FrameType(b[i+1])
		f.seen |= 1 << 3
		i += 2
	}
	i = f.usualNumber(b, i, 4, &h.Sequence)
	if n := usualBytes(b, i, 5); n >= 0 {
		if h.Timestamp.parse(b[i+2:i+2+n]) != "" {
			return i
		}
		f.seen |= 1 << 5
		i += 2 + n
	}
	if n := usualBytes(b, i, 6); n >= 0 {
		i += 2
		h.Session = b[i : i+n : i+n]
		f.seen |= 1 << 6
		i += n
	}
	i = f.usualNumber(b, i, 7, &h.Ack)
	i = f.usualNumber(b, i, 8, &h.Consumed)
	if i+1 < len(b) && b[i] == 11<<3|wireVarint && b[i+1] < 0x80 {
		h.Encoding = relayv1.Encoding(b[i+1])
		f.seen |= 1 << 11
		i += 2
	}
	if i+2 < len(b) && b[i] == tagCiphertext0 && b[i+1] == tagCiphertext1 {
		if n, at := uvarint(b, i+2); at > 0 && n <= uint64(len(b)-at) {
			f.seen |= ciphertextBit
			f.ciphertext, h.CiphertextLen = base+at, int(n)
			i = at + int(n)
		}
	}
	return i
}

// usualNumber reads a number below 2^63 into v if b[i:] begins with its field, and returns the index behind it.
func (f *Frame) usualNumber(b []byte, i, number int, v *uint64) int {
	if i+1 >= len(b) || b[i] != byte(number<<3|wireVarint) {
		return i
	}
	n, next := uint64(b[i+1]), i+2
	if n >= 0x80 {
		if n, next = uvarint(b, i+1); next < 0 || n >= maxNumber {
			return i
		}
	}
	f.seen |= 1 << number
	*v = n
	return next
}

// usualBytes is the length of the value, below 128 bytes, of the field if b[i:] begins with all of it, else -1.
func usualBytes(b []byte, i, number int) int {
	if i+1 >= len(b) || b[i] != byte(number<<3|wireBytes) || b[i+1] >= 0x80 || int(b[i+1]) > len(b)-i-2 {
		return -1
	}
	return int(b[i+1])
}
