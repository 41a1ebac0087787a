package envelope

import (
	"google.golang.org/grpc/mem"
)

// The sizes of gRPC's default buffer pool that a received buffer can come from. One below them, 256 bytes, is left to
// the garbage collector (mem.IsBelowBufferPoolingThreshold), and so are ours up to 1,024 bytes.
const (
	smallBuffer = 4 << 10
	frameBuffer = 16 << 10 // an HTTP/2 frame as gRPC reads it
	grpcPrefix  = 5        // of a message, read off the front of its buffer
)

// copyRatio is how many times its bytes a run may keep alive. Above it the run is copied, so that what a queue holds is
// bounded by about four times its bytes. Measured on two busy cores (BenchmarkRun, best of 40): slicing 32 ns; copying
// 130 ns and two allocations at 150 bytes, 110 to 130 ns and none from 1.5 KiB up to 4 KiB, the most that is ever
// copied out of one frame's buffer. A buffer of 4 KiB is not copied from: the copy would save little, and the run is
// charged for it.
const copyRatio = 4

func worthCopying(bytes, pinned int) bool { return pinned > smallBuffer && bytes*copyRatio < pinned }

// pinnedBy is how much memory buf keeps alive. A buffer tells its own bytes only, and of the memory behind them the
// part from its first byte on (cap). A message that starts its buffer has all of it but gRPC's prefix; any other shares
// it with messages before, and may be the small end of a frame's buffer, which is counted in full.
func pinnedBy(buf mem.Buffer) int {
	n := cap(buf.ReadOnlyData())
	if _, plain := buf.(mem.SliceBuffer); plain {
		return n
	}
	switch {
	case n <= smallBuffer && n >= smallBuffer-grpcPrefix:
		return smallBuffer
	case n <= frameBuffer:
		return frameBuffer
	default:
		return n
	}
}

// copyOf returns a buffer of the right size with the n bytes from index start of bufs[0] on.
func copyOf(bufs []mem.Buffer, start, n int) mem.Buffer {
	c := newCursor(bufs[0], bufs[1:])
	c.skip(start)
	if mem.IsBelowBufferPoolingThreshold(n) {
		b := make([]byte, n)
		c.read(b)
		return mem.SliceBuffer(b)
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(n)
	c.read(*b)
	return mem.NewBuffer(b, pool)
}
