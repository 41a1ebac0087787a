package envelope

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// received is message as one pooled buffer of gRPC, as an HTTP/2 frame of it arrives.
func received(message []byte) mem.BufferSlice {
	p := mem.DefaultBufferPool()
	b := p.Get(frameBuffer)
	return mem.BufferSlice{mem.NewBuffer(ptr((*b)[:copy(*b, message)]), p)}
}

func ptr(b []byte) *[]byte { return &b }

// One DATA frame as a link mostly gets it: names and session as in the frame before.
func BenchmarkParseHeader(b *testing.B) {
	h := testHeader()
	whole := Append(nil, h, make([]byte, 256))[3:]
	parse := func(b *testing.B, repeated bool) {
		b.ReportAllocs()
		var last accepted
		var f Frame
		for b.Loop() {
			f = Frame{}
			named, bad := f.scanWhole(whole, 0, &last)
			if bad != "" || last.check(&f.Header, named) != "" {
				b.Fatal("not accepted")
			}
			if !repeated {
				last.names, last.session = last.names[:0], last.session[:0]
			}
		}
	}
	b.Run("repeated names", func(b *testing.B) { parse(b, true) })
	b.Run("new names", func(b *testing.B) { parse(b, false) })
	b.Run("generated code", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e relayv1.Envelope
			if err := proto.Unmarshal(whole, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A whole batch through the relay's part: received, split, forwarded as one run.
func BenchmarkSplit16KiBOf64ByteFrames(b *testing.B) {
	n := 16379 / (AppendedSize(testHeader(), 64+16+1))
	message, _ := batchOf(n, 64+16+1)
	data := received(message)
	var batch Batch
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if err := (Codec{}).Unmarshal(data, &batch); err != nil {
			b.Fatal(err)
		}
		if err := batch.Split(testLimits); err != nil {
			b.Fatal(err)
		}
		batch.Run(0, n).Free()
		batch.Free()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/frame")
}

func BenchmarkAppend(b *testing.B) {
	h, c := testHeader(), make([]byte, 256)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = Append(dst[:0], h, c)
	}
}

// What copyRatio rests on: a run sliced from a frame's buffer against one copied out of it.
func BenchmarkRun(b *testing.B) {
	message := make([]byte, 16379)
	data := received(message)
	for _, size := range []int{150, 600, 1024, 1500, 2048, 4096, 8192} {
		b.Run(fmt.Sprintf("sliced %d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data[0].Slice(100, 100+size).Free()
			}
		})
		b.Run(fmt.Sprintf("copied %d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				copyOf(data, 100, size).Free()
			}
		})
	}
}
