package envelope

import (
	"slices"
	"strconv"

	"google.golang.org/grpc/mem"

	"github.com/getviewport/relay/internal/reason"
)

// What a Batch keeps for the next message; above it, memory that an unusual batch needed goes back. A batch of
// docs/protocol.md's ordinary size has at most about a hundred frames.
const (
	keepFrames  = 512
	keepScratch = 64 << 10
)

// Limits bound what Split accepts, sizes in bytes.
type Limits struct {
	// MaxEnvelope is the longest envelope, without its tag and length in the batch.
	MaxEnvelope int
	// MaxBatch is the longest batch of more than one envelope.
	MaxBatch int
	// MaxFrames is how many envelopes a batch may have: each costs memory while it is looked at, however short it is.
	// 0: no limit.
	MaxFrames int
}

// Frame is one envelope of a Batch.
type Frame struct {
	Header Header
	// Size is the bytes that the frame takes in a batch, its tag and length included.
	Size int

	start, end int    // the same in the batch
	ciphertext int    // where CiphertextLen bytes start in the batch
	seen       uint32 // fields so far, as bits
}

// Batch is one received EnvelopeBatch. RecvMsg through Codec fills it, freeing what it held before; Load does the same
// for bytes from elsewhere. The zero value is empty. A Batch belongs to one goroutine and serves a link for all its
// messages, without allocating in steady state.
type Batch struct {
	// References of its own, none of them empty, with the position in the batch at which each ends.
	bufs []mem.Buffer
	ends []int

	frames  []Frame // zero beyond its length
	scratch []byte  // copies of what straddles buffers
	last    accepted
}

// hold makes b hold data, taking a reference on each of its buffers.
func (b *Batch) hold(data mem.BufferSlice) {
	b.Free()
	size := 0
	for _, buf := range data {
		n := buf.Len()
		if n == 0 {
			continue
		}
		buf.Ref()
		size += n
		b.bufs = append(b.bufs, buf)
		b.ends = append(b.ends, size)
	}
}

// Load makes b hold one message's bytes, which the caller gives away; what b held before is freed.
func (b *Batch) Load(message []byte) {
	b.Free()
	if len(message) > 0 {
		b.bufs = append(b.bufs, mem.SliceBuffer(message))
		b.ends = append(b.ends, len(message))
	}
}

// Free gives up what b holds; Frames and everything that aliases it must not be used any more. Runs have references of
// their own. Freeing an empty Batch does nothing.
func (b *Batch) Free() {
	for _, buf := range b.bufs {
		buf.Free()
	}
	clear(b.bufs)
	b.bufs, b.ends = b.bufs[:0], b.ends[:0]
	b.dropFrames()
}

func (b *Batch) dropFrames() {
	if cap(b.frames) > keepFrames {
		b.frames = nil
	}
	if cap(b.scratch) > keepScratch {
		b.scratch = nil
	}
	clear(b.frames)
	b.frames, b.scratch = b.frames[:0], b.scratch[:0]
}

// Bytes is the size of the batch.
func (b *Batch) Bytes() int {
	if len(b.ends) == 0 {
		return 0
	}
	return b.ends[len(b.ends)-1]
}

// Frames are the good envelopes that Split found, in order, valid until the batch is freed or filled again.
func (b *Batch) Frames() []Frame { return b.frames }

// Split finds the envelopes of the batch, reads their headers and checks their form (docs/protocol.md, Envelope). Its
// error is a *reason.Error FRAME_INVALID or FRAME_TOO_LARGE about the first bad one; those before it are good and
// remain in Frames. It looks at no ciphertext.
func (b *Batch) Split(l Limits) error {
	b.dropFrames()
	size := b.Bytes()
	if size == 0 {
		return reason.New(reason.FrameInvalid, "a batch is empty")
	}
	for c := newCursor(b.bufs[0], b.bufs[1:]); c.pos < size; {
		start := c.pos
		n, envelope, bad := c.element(size)
		if bad != "" {
			return b.invalid(bad)
		}
		if size > l.MaxBatch && start == 0 && (!envelope || c.pos+n < size) {
			return tooLarge("a batch of more than one envelope", "max-batch", size, l.MaxBatch)
		}
		if !envelope {
			c.skip(n)
			continue
		}
		if n > l.MaxEnvelope {
			return tooLarge("an envelope", "max-envelope", n, l.MaxEnvelope)
		}
		if l.MaxFrames > 0 && len(b.frames) == l.MaxFrames {
			return reason.New(reason.FrameTooLarge, "a batch has more than %d envelopes", l.MaxFrames).
				With("limit", "frames-per-batch").With("value", strconv.Itoa(l.MaxFrames))
		}
		f := b.grow()
		f.start, f.end, f.ciphertext = start, c.pos+n, c.pos+n
		f.Size = f.end - start
		named := false
		if n <= len(c.data) {
			named, bad = f.scanWhole(c.data[:n], c.pos, &b.last)
		} else {
			bad = b.scanSpread(f, c, n)
		}
		if bad == "" {
			bad = b.last.check(&f.Header, named)
		}
		if bad != "" {
			*f = Frame{}
			b.frames = b.frames[:len(b.frames)-1]
			return b.invalid(bad)
		}
		c.skip(n)
	}
	if len(b.frames) == 0 {
		return b.invalid("the batch has no envelope")
	}
	return nil
}

// grow adds a zero frame.
func (b *Batch) grow() *Frame {
	n := len(b.frames)
	if n == cap(b.frames) {
		b.frames = slices.Grow(b.frames, 1)
	}
	b.frames = b.frames[:n+1]
	return &b.frames[n]
}

func (b *Batch) invalid(bad string) error {
	return reason.New(reason.FrameInvalid, "envelope %d of the batch: %s", len(b.frames)+1, bad)
}

func tooLarge(what, limit string, size, most int) error {
	return reason.New(reason.FrameTooLarge, "%s is %d bytes, more than %d", what, size, most).
		With("limit", limit).With("value", strconv.Itoa(most))
}

// scanWhole reads an envelope that lies in one piece. named: it has the names of last, which are good.
func (f *Frame) scanWhole(b []byte, base int, last *accepted) (named bool, bad string) {
	usual := f.scanUsual(b, base, last)
	if usual < len(b) {
		var n int
		if n, bad = f.scan(b[usual:], base+usual); bad == "" && usual+n < len(b) {
			bad = badTruncated
		}
	}
	return usual > 0, bad
}

// scanSpread reads an envelope of n bytes at c that lies in more than one buffer. What a buffer has whole is read in
// place; a header field that straddles buffers is copied, ciphertext and unknown fields are passed over.
func (b *Batch) scanSpread(f *Frame, c cursor, n int) (bad string) {
	for end := c.pos + n; c.pos < end; {
		window := c.data[:min(len(c.data), end-c.pos)]
		k, bad := f.scan(window, c.pos)
		if bad != "" {
			return bad
		}
		if k == len(window) {
			c.skip(k)
			continue
		}
		c.skip(k)
		number, value, size, ok := fieldSize(window[k:])
		if !ok {
			head := b.copyOut(c, min(maxTagAndNumber, end-c.pos))
			if k, bad = f.scan(head, c.pos); bad != "" {
				return bad
			}
			if k > 0 {
				c.skip(k)
				continue
			}
			if number, value, size, ok = fieldSize(head); !ok {
				return badTruncated
			}
		}
		if size > uint64(end-c.pos) {
			return badTruncated
		}
		switch {
		case number == fieldCiphertext:
			f.seen |= ciphertextBit
			f.ciphertext, f.Header.CiphertextLen = c.pos+value, int(size)-value
		case number <= lastHeaderField:
			// Short enough to copy: scan has looked at its length.
			if _, bad = f.scan(b.copyOut(c, int(size)), c.pos); bad != "" {
				return bad
			}
		}
		c.skip(int(size))
	}
	return ""
}

// copyOut copies the n bytes at c into memory that lives as long as the frames.
func (b *Batch) copyOut(c cursor, n int) []byte {
	start := len(b.scratch)
	for n > 0 {
		k := min(n, len(c.data))
		b.scratch = append(b.scratch, c.data[:k]...)
		n -= k
		c.skip(k)
	}
	return b.scratch[start:len(b.scratch):len(b.scratch)]
}

// at returns the buffer that holds position pos of the batch, and the position at which it starts.
func (b *Batch) at(pos int) (i, start int) {
	if len(b.ends) > 1 {
		if i, _ = slices.BinarySearch(b.ends, pos+1); i > 0 {
			start = b.ends[i-1]
		}
	}
	return i, start
}

// Ciphertext returns the ciphertext of frame i in one piece, valid as long as Frames. It is part of the received bytes
// where they have it in one piece, else a copy.
func (b *Batch) Ciphertext(i int) []byte {
	f := &b.frames[i]
	n := f.Header.CiphertextLen
	if n == 0 {
		return nil
	}
	k, start := b.at(f.ciphertext)
	at := f.ciphertext - start
	if data := b.bufs[k].ReadOnlyData(); at+n <= len(data) {
		return data[at : at+n : at+n]
	}
	c := newCursor(b.bufs[k], b.bufs[k+1:])
	c.skip(at)
	return b.copyOut(c, n)
}
