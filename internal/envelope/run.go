package envelope

import (
	"google.golang.org/grpc/mem"
)

// Run is a sequence of adjacent serialized envelopes with their tags: alone or behind others it is a valid
// EnvelopeBatch. It holds references to the buffers of its bytes. It has one owner, who passes it on (Outgoing.Add,
// Head) or frees it, exactly once; a copy of the struct is the same Run. The zero value is an empty one.
type Run struct {
	first  mem.Buffer   // nil in an empty run
	more   []mem.Buffer // only where it lies in more than one buffer
	bytes  int32
	frames int32
	pinned int32
}

// Bytes is the serialized size.
func (r Run) Bytes() int { return int(r.bytes) }

// Frames is the number of envelopes.
func (r Run) Frames() int { return int(r.frames) }

// Pinned is the memory in bytes that the run keeps from being used again, as far as it can be known, and never less
// than Bytes. Runs that share a buffer each count all of it.
func (r Run) Pinned() int { return int(r.pinned) }

// Free gives up the run's references.
func (r Run) Free() {
	if r.first == nil {
		return
	}
	r.first.Free()
	for _, buf := range r.more {
		buf.Free()
	}
}

// RunOf is a Run of b, which the caller gives away and which must be a sequence of this many elements of an
// EnvelopeBatch, such as Append makes.
func RunOf(b []byte, frames int) Run {
	if len(b) == 0 {
		return Run{}
	}
	return Run{first: mem.SliceBuffer(b), bytes: int32(len(b)), frames: int32(frames), pinned: int32(cap(b))}
}

// Run returns the frames [i,j) as they stand in the batch, with references of its own; it must be freed or passed on
// also when the batch is freed. i < j. It allocates only when it lies in more than one buffer, or is so small against
// what it would keep alive that it is copied (copyRatio).
func (b *Batch) Run(i, j int) Run {
	start, end := b.frames[i].start, b.frames[j-1].end
	k, base := b.at(start)
	return cutRun(b.bufs[k:], start-base, end-start, j-i, pinnedBy(b.bufs[k]))
}

// Head keeps the first n frames of r and frees the rest. It consumes r: only what it returns may be used afterwards.
func (r Run) Head(n int) Run {
	if n >= r.Frames() {
		return r
	}
	defer r.Free()
	if n <= 0 {
		return Run{}
	}
	c := newCursor(r.first, r.more)
	for found := 0; found < n; {
		size, envelope, _ := c.element(r.Bytes())
		c.skip(size)
		if envelope {
			found++
		}
	}
	if r.more == nil {
		return cutRun([]mem.Buffer{r.first}, 0, c.pos, n, r.Pinned())
	}
	pinned := r.Pinned()
	for _, buf := range r.more {
		pinned -= pinnedBy(buf)
	}
	return cutRun(append([]mem.Buffer{r.first}, r.more...), 0, c.pos, n, pinned)
}

// cutRun makes a run of size bytes from index start of bufs[0] on, with references of its own. pinned is what bufs[0]
// keeps alive; it may be a part of a larger buffer, which the others are not.
func cutRun(bufs []mem.Buffer, start, size, frames, pinned int) Run {
	end := start + size // from the start of the current buffer
	last := 0
	for n := bufs[0].Len(); n < end; n += bufs[last].Len() {
		last++
		pinned += pinnedBy(bufs[last])
	}
	r := Run{bytes: int32(size), frames: int32(frames), pinned: int32(pinned)}
	if worthCopying(size, pinned) {
		r.first = copyOf(bufs, start, size)
		r.pinned = int32(pinnedBy(r.first))
		return r
	}
	if last == 0 {
		r.first = bufs[0].Slice(start, end)
		return r
	}
	r.first = bufs[0].Slice(start, bufs[0].Len())
	r.more = make([]mem.Buffer, last)
	for i := range r.more {
		end -= bufs[i].Len()
		r.more[i] = bufs[i+1].Slice(0, min(end, bufs[i+1].Len()))
	}
	return r
}
