package envelope

import "google.golang.org/grpc/mem"

// The wire types of protobuf that are accepted; groups are not.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

const (
	tagEnvelope    = 1<<3 | wireBytes // EnvelopeBatch.envelopes
	tagCiphertext0 = 0xa2             // Envelope.ciphertext: field 100 takes two bytes
	tagCiphertext1 = 0x06
	tagEpoch0      = 0x80 // Envelope.epoch: field 16 takes two bytes, too
	tagEpoch1      = 0x01

	maxFieldNumber = 1<<29 - 1
	// maxTagAndNumber bounds what tells a field's size: the tag and a number, each a varint of at most ten bytes.
	maxTagAndNumber = 20
)

// What is wrong with a form; constants, so that finding it does not allocate.
const (
	badTruncated = "it is truncated"
	badVarint    = "a varint is longer than 64 bits"
	badField     = "a field number is 0 or above 536870911"
	badWireType  = "a field has a wire type that is a group's or unknown"
	badKnownType = "a known field has another wire type"
	badTwice     = "a singular field occurs twice"
)

// Results of uvarint in place of the next index.
const (
	short   = -1 // b ends within the varint
	tooLong = -2
)

// uvarint reads the varint at b[i:] and returns the index behind it, or short, or tooLong.
func uvarint(b []byte, i int) (v uint64, next int) {
	for s := uint(0); i < len(b); s += 7 {
		c := b[i]
		i++
		if s == 63 && c > 1 {
			return 0, tooLong
		}
		v |= uint64(c&0x7f) << s
		if c < 0x80 {
			return v, i
		}
	}
	return 0, short
}

// fieldSize reads what tells the size of the field that b starts with: its number, where a LEN field's value begins and
// how long the field is. It is false when b ends before that; the field itself may be longer than b.
func fieldSize(b []byte) (number uint64, value int, size uint64, ok bool) {
	tag, i := uvarint(b, 0)
	if i < 0 {
		return 0, 0, 0, false
	}
	switch tag & 7 {
	case wireBytes:
		n, next := uvarint(b, i)
		return tag >> 3, next, uint64(next) + min(n, 1<<62), next >= 0
	case wireFixed32:
		return tag >> 3, i, uint64(i) + 4, true
	case wireFixed64:
		return tag >> 3, i, uint64(i) + 8, true
	default:
		_, next := uvarint(b, i)
		return tag >> 3, i, uint64(next), next >= 0
	}
}

// fields walks the fields of a message that lies in one piece, such as a Status. A group's or an unknown wire type and
// whatever is truncated end it with bad set.
type fields struct {
	rest []byte
	bad  string

	// The field that next has read: its number and wire type, and its value as num (varint) or val (bytes).
	number uint64
	wire   uint64
	num    uint64
	val    []byte
}

func (f *fields) next() bool {
	if len(f.rest) == 0 || f.bad != "" {
		return false
	}
	tag, i := uvarint(f.rest, 0)
	if i < 0 {
		return f.fail(i)
	}
	f.number, f.wire = tag>>3, tag&7
	if f.number == 0 || f.number > maxFieldNumber {
		f.bad = badField
		return false
	}
	var n uint64
	switch f.wire {
	case wireVarint, wireBytes:
		if n, i = uvarint(f.rest, i); i < 0 {
			return f.fail(i)
		}
		if f.wire == wireVarint {
			f.num, n = n, 0
		}
	case wireFixed32:
		n = 4
	case wireFixed64:
		n = 8
	default:
		f.bad = badWireType
		return false
	}
	if n > uint64(len(f.rest)-i) {
		return f.fail(short)
	}
	end := i + int(n)
	f.val, f.rest = f.rest[i:end:end], f.rest[end:]
	return true
}

func (f *fields) fail(i int) bool {
	f.bad = badTruncated
	if i == tooLong {
		f.bad = badVarint
	}
	return false
}

// cursor reads on through bytes that may be spread over several buffers. data is never empty before the end.
type cursor struct {
	data []byte       // what is left of the current buffer
	rest []mem.Buffer // the buffers behind it
	pos  int          // index of data[0] in the whole
}

func newCursor(first mem.Buffer, rest []mem.Buffer) cursor {
	c := cursor{data: first.ReadOnlyData(), rest: rest}
	c.settle()
	return c
}

// settle moves on to the next buffer that has bytes.
func (c *cursor) settle() {
	for len(c.data) == 0 && len(c.rest) > 0 {
		c.data, c.rest = c.rest[0].ReadOnlyData(), c.rest[1:]
	}
}

// skip moves on by n bytes, which must be there.
func (c *cursor) skip(n int) {
	if n < len(c.data) {
		c.data = c.data[n:]
		c.pos += n
		return
	}
	c.skipBuffers(n)
}

func (c *cursor) skipBuffers(n int) {
	for n > len(c.data) {
		c.pos += len(c.data)
		n -= len(c.data)
		c.data = nil
		c.settle()
	}
	c.pos += n
	c.data = c.data[n:]
	c.settle()
}

// read fills b and moves behind what it has read; it must be there.
func (c *cursor) read(b []byte) {
	for len(b) > 0 {
		n := copy(b, c.data)
		b = b[n:]
		c.skip(n)
	}
}

// uvarint reads a varint and moves behind it; what is wrong with it, if anything.
func (c *cursor) uvarint() (v uint64, bad string) {
	if len(c.data) > 0 && c.data[0] < 0x80 {
		v = uint64(c.data[0])
		c.skip(1)
		return v, ""
	}
	for s := uint(0); len(c.data) > 0; s += 7 {
		b := c.data[0]
		if s == 63 && b > 1 {
			return 0, badVarint
		}
		v |= uint64(b&0x7f) << s
		c.skip(1)
		if b < 0x80 {
			return v, ""
		}
	}
	return 0, badTruncated
}

// element reads the tag and the length of the next element of an EnvelopeBatch that is end bytes long and moves to its
// value, which is n bytes and there. Elements of other fields than envelopes are of a later release.
func (c *cursor) element(end int) (n int, envelope bool, bad string) {
	// An envelope as everybody writes it, up to 16 KiB.
	if d := c.data; len(d) > 3 && d[0] == tagEnvelope && d[2] < 0x80 {
		n, head := int(d[1]), 2
		if n >= 0x80 {
			n, head = n&0x7f|int(d[2])<<7, 3
		}
		if n <= end-c.pos-head {
			c.skip(head)
			return n, true, ""
		}
	}
	tag, bad := c.uvarint()
	if bad != "" {
		return 0, false, bad
	}
	number := tag >> 3
	if number == 0 || number > maxFieldNumber {
		return 0, false, badField
	}
	if number == 1 && tag&7 != wireBytes {
		return 0, false, badKnownType
	}
	var size uint64
	switch tag & 7 {
	case wireVarint:
		_, bad = c.uvarint()
	case wireBytes:
		size, bad = c.uvarint()
	case wireFixed32:
		size = 4
	case wireFixed64:
		size = 8
	default:
		bad = badWireType
	}
	if bad == "" && size > uint64(end-c.pos) {
		bad = badTruncated
	}
	return int(size), number == 1, bad
}
