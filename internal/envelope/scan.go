package envelope

import (
	"bytes"
	"unicode/utf8"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// Field numbers of Envelope, as bits where that helps: ciphertext, which is 100, takes bit 0.
const (
	fieldCiphertext = 100
	lastHeaderField = 16

	varintFields  = 1<<3 | 1<<4 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<13 | 1<<16
	bytesFields   = 1<<1 | 1<<2 | 1<<5 | 1<<6 | 1<<12 | 1<<14 | 1<<15
	ciphertextBit = 1 << 0
)

// wireTypes are the wire types of the header fields; those not named are varints.
var wireTypes = [lastHeaderField + 1]uint64{
	1: wireBytes, 2: wireBytes, 5: wireBytes, 6: wireBytes, 12: wireBytes, 14: wireBytes, 15: wireBytes,
}

// maxLen is how long a header field of each number may be.
var maxLen = [lastHeaderField + 1]uint64{
	1: maxName, 2: maxName, 5: maxMessage, 6: maxSession, 12: maxMessage, 14: bindKeyLen, 15: maxSession,
}

const (
	badLength    = "a header field is longer than allowed"
	badNumber    = "sequence, ack, consumed, resume_attempt or epoch is 2^63 or above"
	badEnum      = "an enum is not a positive 32-bit number"
	badType      = "type is 0 or above 38"
	badName      = "workspace_id or runtime_target_id is not 1 to 128 bytes of [A-Za-z0-9._:-]"
	badSession   = "session_id is not valid UTF-8"
	badRequest   = "request_id is not valid UTF-8"
	badNativeID  = "session_id is not a native session id"
	badNoSession = "session_id is empty"
	badBindKey   = "bind_key is not 16 bytes"
	badLegacy    = "a legacy frame has another encoding than LEGACY_JSON"
	badSequence0 = "a sequenced frame has sequence 0"
	badSequence  = "a frame that is not sequenced has a sequence"
)

// scan reads the complete fields that b starts with into f. b is all of an envelope or a part of it that starts at a
// field, base is its position in the batch. It returns the index of the first field that b has not whole, which is
// len(b) when there is none, and what is wrong, if anything.
//
// What it finds does not depend on where b ends: everything but the end of a value is checked before its presence.
func (f *Frame) scan(b []byte, base int) (n int, bad string) {
	h := &f.Header
	for i := 0; i < len(b); {
		start := i
		tag := uint64(b[i])
		i++
		if tag >= 0x80 {
			if tag, i = uvarint(b, start); i < 0 {
				return stop(start, i)
			}
		}
		number, wire := tag>>3, tag&7
		bit := uint32(0)
		switch {
		case number-1 < lastHeaderField:
			bit = 1 << number
			if wire != wireTypes[number] {
				return start, badKnownType
			}
		case number == fieldCiphertext:
			bit = ciphertextBit
			if wire != wireBytes {
				return start, badKnownType
			}
		case number == 0 || number > maxFieldNumber:
			return start, badField
		}
		if f.seen&bit != 0 {
			return start, badTwice
		}

		var v uint64
		switch wire {
		case wireVarint, wireBytes:
			if i < len(b) && b[i] < 0x80 {
				v = uint64(b[i])
				i++
			} else if v, i = uvarint(b, i); i < 0 {
				return stop(start, i)
			}
		case wireFixed32:
			v = 4
		case wireFixed64:
			v = 8
		default:
			return start, badWireType
		}
		if wire == wireVarint {
			if bit != 0 {
				f.seen |= bit
				if bad := h.setNumber(number, v); bad != "" {
					return start, bad
				}
			}
			continue
		}
		if bit > ciphertextBit && v > maxLen[number] {
			return start, badLength
		}
		if v > uint64(len(b)-i) {
			return start, ""
		}
		val := b[i : i+int(v) : i+int(v)]
		f.seen |= bit
		switch {
		case bit == ciphertextBit:
			f.ciphertext = base + i
			h.CiphertextLen = len(val)
		case number == 1:
			h.Workspace = val
		case number == 2:
			h.Target = val
		case number == 6:
			h.Session = val
		case bit != 0:
			if bad := h.setBytes(number, val); bad != "" {
				return start, bad
			}
		}
		i += len(val)
	}
	return len(b), ""
}

func stop(start, i int) (int, string) {
	if i == tooLong {
		return start, badVarint
	}
	return start, ""
}

func (h *Header) setNumber(number, v uint64) (bad string) {
	switch number {
	case 3:
		if v == 0 || v > uint64(relayv1.FrameType_FRAME_TYPE_PRESENCE) {
			return badType
		}
		h.Type = relayv1.FrameType(v)
		return ""
	case 9:
		h.Resend = v != 0
		return ""
	case 10, 11:
		if v >= 1<<31 {
			return badEnum
		}
		if number == 10 {
			h.Profile = relayv1.Profile(v)
		} else {
			h.Encoding = relayv1.Encoding(v)
		}
		return ""
	case 4:
		h.Sequence = v
	case 7:
		h.Ack = v
	case 8:
		h.Consumed = v
	case 13:
		h.ResumeAttempt = v
	case 16:
		h.Epoch = v
	}
	if v >= maxNumber {
		return badNumber
	}
	return ""
}

func (h *Header) setBytes(number uint64, v []byte) (bad string) {
	switch number {
	case 5:
		return h.Timestamp.parse(v)
	case 12:
		h.Status = v
		_, bad = parseStatus(v)
		return bad
	case 14:
		h.BindKey = v
	case 15:
		if !utf8.Valid(v) {
			return badRequest
		}
		h.Request = v
	}
	return ""
}

func (t *Timestamp) parse(b []byte) (bad string) {
	t.Present = true
	// The way that everybody writes it, three times as fast as the loop.
	if len(b) > 0 && b[0] == 1<<3|wireVarint {
		seconds, i := uvarint(b, 1)
		if i > 0 && i < len(b) && b[i] == 2<<3|wireVarint {
			if nanos, end := uvarint(b, i+1); end == len(b) {
				t.Seconds, t.Nanos = int64(seconds), int32(nanos)
				return ""
			}
		}
	}
	f := fields{rest: b}
	var seen uint64
	for f.next() {
		if f.number > 2 {
			continue
		}
		if f.wire != wireVarint {
			return badKnownType
		}
		if seen&(1<<f.number) != 0 {
			return badTwice
		}
		seen |= 1 << f.number
		if f.number == 1 {
			t.Seconds = int64(f.num)
		} else {
			t.Nanos = int32(f.num) // as protobuf reads an int32
		}
	}
	return f.bad
}

// accepted is the workspace, target and session of the last good frame of a link, by copy. Frames of one link mostly
// repeat them, and comparing is cheaper than looking at each byte again.
type accepted struct {
	workspace, target, session []byte
	native                     bool // session is a native session id

	// names are workspace and target as an envelope begins with them; in it, workspace ends at workspaceEnd.
	names        []byte
	workspaceEnd int
}

// check enforces what concerns a header as a whole. named: its workspace and target are those of a.
func (a *accepted) check(h *Header, named bool) (bad string) {
	if !named && !a.checkNames(h.Workspace, h.Target) {
		return badName
	}
	if n := len(h.BindKey); n != 0 && n != bindKeyLen {
		return badBindKey
	}
	native := h.Encoding == relayv1.Encoding_ENCODING_NOISE
	if bad := a.checkSession(h, native); bad != "" {
		return bad
	}
	switch t := h.Type; {
	case t == relayv1.FrameType_FRAME_TYPE_UNSPECIFIED:
		return badType
	case h.Encoding == relayv1.Encoding_ENCODING_LEGACY_JSON:
		// A legacy frame's sequence is its own affair (docs/protocol.md, Legacy frames in envelopes).
		return ""
	case t >= relayv1.FrameType_FRAME_TYPE_KEY_UPDATE:
		return badLegacy
	case Sequenced(t):
		if h.Sequence == 0 {
			return badSequence0
		}
	case t == relayv1.FrameType_FRAME_TYPE_RESUME, t == relayv1.FrameType_FRAME_TYPE_RESUMED:
	case h.Sequence != 0:
		return badSequence
	}
	return ""
}

func (a *accepted) checkNames(workspace, target []byte) bool {
	if bytes.Equal(a.workspace, workspace) && bytes.Equal(a.target, target) && len(a.names) > 0 {
		return true
	}
	if !validName(workspace) || !validName(target) {
		return false
	}
	a.workspace, a.target = append(a.workspace[:0], workspace...), append(a.target[:0], target...)
	a.names = appendBytes(a.names[:0], 1, workspace)
	a.workspaceEnd = len(a.names)
	a.names = appendBytes(a.names, 2, target)
	return true
}

func (a *accepted) checkSession(h *Header, native bool) (bad string) {
	id := h.Session
	if len(id) == 0 {
		switch t := h.Type; {
		case native:
			return badNativeID
		case t == relayv1.FrameType_FRAME_TYPE_HEARTBEAT, t == relayv1.FrameType_FRAME_TYPE_STATUS:
		case t > relayv1.FrameType_FRAME_TYPE_STATUS && t < relayv1.FrameType_FRAME_TYPE_KEY_UPDATE:
			// Of a later release, which may have other frames about the link.
		default:
			return badNoSession
		}
		return ""
	}
	if bytes.Equal(a.session, id) && (a.native || !native) {
		return ""
	}
	switch {
	case native && !ValidSessionID(id):
		return badNativeID
	case !utf8.Valid(id):
		return badSession
	}
	a.session, a.native = append(a.session[:0], id...), native
	return ""
}

func validName(name []byte) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', 'A' <= c && c <= 'Z', c == '-', c == '.', c == '_', c == ':':
		default:
			return false
		}
	}
	return true
}
