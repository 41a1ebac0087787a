package envelope

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// batchOf is a batch of n DATA frames of one session, each with size bytes of ciphertext, and where each ends.
func batchOf(n, size int) (message []byte, ends []int) {
	h := testHeader()
	for i := range n {
		h.Sequence = uint64(i + 1)
		message = Append(message, h, bytes.Repeat([]byte{byte(i)}, size))
		ends = append(ends, len(message))
	}
	return message, ends
}

func testHeader() *Header {
	return &Header{
		Type: relayv1.FrameType_FRAME_TYPE_DATA, Encoding: relayv1.Encoding_ENCODING_NOISE,
		Workspace: []byte("3f0e6f5a-8a59-4a57-9b2e-0d5c6c1f7b11"), Target: []byte("build-box-7"),
		Session:  []byte(testSession),
		Sequence: 1, Ack: 90_000, Consumed: 89_000, Timestamp: Timestamp{Present: true, Seconds: 1_700_000_000, Nanos: 5e8},
	}
}

func TestABatchFreesItsBuffersOnceHoweverItEnds(t *testing.T) {
	message, _ := batchOf(20, 300)
	for name, end := range map[string]func(p *pool, b *Batch){
		"freed":                 func(_ *pool, b *Batch) { b.Free() },
		"freed twice":           func(_ *pool, b *Batch) { b.Free(); b.Free() },
		"filled again":          func(p *pool, b *Batch) { p.fill(t, b, message, 7, 7, 50); b.Free() },
		"filled with nothing":   func(p *pool, b *Batch) { p.fill(t, b, nil); b.Free() },
		"loaded":                func(_ *pool, b *Batch) { b.Load(message); b.Free() },
		"refused":               func(_ *pool, b *Batch) { _ = b.Split(Limits{}); b.Free() },
		"split and read, freed": func(_ *pool, b *Batch) { _ = b.Split(testLimits); b.Ciphertext(3); b.Free() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			var b Batch
			p.fill(t, &b, message, 100, 1000, 1000, 3000)
			end(p, &b)
			if n := len(b.Frames()) + b.Bytes() + p.held(); n != 0 {
				t.Errorf("left in the batch: got %d, want 0", n)
			}
		})
	}
}

func TestARunKeepsItsBytesWhenTheBatchIsFreedOrUsedAgain(t *testing.T) {
	message, ends := batchOf(30, 400)
	other := bytes.Repeat([]byte{0xee}, len(message))
	for name, cuts := range map[string][]int{
		"one buffer":     nil,
		"two buffers":    {len(message) / 2},
		"many buffers":   {10, 11, 500, 3000, 3000, 6000, 9000},
		"cuts at frames": {ends[3], ends[10], ends[11]},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range ends {
				for j := i + 1; j <= len(ends); j++ {
					p := newPool(t)
					var b Batch
					if err := p.split(t, &b, message, cuts...); err != nil {
						t.Fatal(err)
					}
					r := b.Run(i, j)
					p.fill(t, &b, other)
					b.Free()
					start := 0
					if i > 0 {
						start = ends[i-1]
					}
					want := message[start:ends[j-1]]
					if r.Bytes() != len(want) || r.Frames() != j-i || r.Pinned() < r.Bytes() {
						t.Fatalf("run [%d,%d): got %d bytes, %d frames, %d pinned, want %d, %d",
							i, j, r.Bytes(), r.Frames(), r.Pinned(), len(want), j-i)
					}
					var o Outgoing
					o.Add(r)
					if got := o.AppendTo(nil); !bytes.Equal(got, want) {
						t.Fatalf("run [%d,%d): its bytes changed", i, j)
					}
				}
			}
		})
	}
}

func TestTheHeadOfARunIsItsFirstFramesAndTheRestIsFreed(t *testing.T) {
	message, ends := batchOf(12, 1500)
	for _, cuts := range [][]int{nil, {8000}, {100, 4000, ends[4], ends[4] + 1, 12000}} {
		for n := -1; n <= len(ends)+1; n++ {
			p := newPool(t)
			var b Batch
			if err := p.split(t, &b, message, cuts...); err != nil {
				t.Fatal(err)
			}
			r := b.Run(0, len(ends)).Head(n)
			b.Free()
			frames := min(max(n, 0), len(ends))
			want := message[:0]
			if frames > 0 {
				want = message[:ends[frames-1]]
			}
			if r.Frames() != frames || r.Bytes() != len(want) {
				t.Fatalf("cut at %v: got %d frames, %d bytes, want %d, %d", cuts, r.Frames(), r.Bytes(), frames, len(want))
			}
			if needed, held := (len(want)+4095)/4096, p.held(); frames > 0 && held > max(needed, len(cuts)+1) {
				t.Fatalf("cut at %v: holds %d buffers for %d bytes", cuts, held, len(want))
			}
			var o Outgoing
			o.Add(r)
			if got := o.AppendTo(nil); !bytes.Equal(got, want) {
				t.Fatalf("cut at %v: the head of %d has other bytes", cuts, n)
			}
		}
	}
}

func TestTheHeadOfASpreadRunLetsGoOfTheBuffersBehindIt(t *testing.T) {
	message, ends := batchOf(4, 3000)
	p := newPool(t)
	var b Batch
	if err := p.split(t, &b, message, ends[0], ends[1], ends[2]); err != nil {
		t.Fatal(err)
	}
	r := b.Run(0, 4)
	b.Free()
	if r.Pinned() != 4*smallBuffer || p.held() != 4 {
		t.Fatalf("got %d pinned, %d buffers, want 4 of 4096", r.Pinned(), p.held())
	}
	r = r.Head(2)
	if r.Pinned() != 2*smallBuffer || p.held() != 2 {
		t.Fatalf("got %d pinned, %d buffers, want 2 of 4096", r.Pinned(), p.held())
	}
	r.Free()
}

func TestARunIsChargedForTheBufferItKeepsAndCopiedOutOfOneMuchLarger(t *testing.T) {
	message, _ := batchOf(80, 64) // about 14 KB
	one := func(n int) int { return n * len(message) / 80 }
	p := newPool(t)
	var b Batch
	defer b.Free()
	if err := p.split(t, &b, message); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		i, j   int
		pinned int
		copied bool
	}{
		{"the whole", 0, 80, frameBuffer, false},
		{"a quarter", 30, 30 + frameBuffer/4/one(1) + 1, frameBuffer, false},
		{"less than a quarter", 2, 2 + frameBuffer/4/one(1) - 1, smallBuffer, true},
		{"one frame", 79, 80, one(1), true},
	} {
		r := b.Run(c.i, c.j)
		if n := r.Pinned(); n < c.pinned || n > c.pinned+16 {
			t.Errorf("%s: pinned: got %d, want %d", c.name, n, c.pinned)
		}
		inPlace := &b.bufs[0].ReadOnlyData()[b.frames[c.i].start]
		if copied := &r.first.ReadOnlyData()[0] != inPlace; copied != c.copied {
			t.Errorf("%s: copied: got %v, want %v", c.name, copied, c.copied)
		}
		r.Free()
	}
	whole := b.Run(0, 80)
	head := whole.Head(1)
	if n := head.Pinned(); n > one(2) {
		t.Errorf("the head of one frame: pinned: got %d, want about %d", n, one(1))
	}
	head.Free()
}

func TestTheEndOfASharedBufferIsChargedInFull(t *testing.T) {
	message, ends := batchOf(60, 64)
	p := newPool(t)
	data := p.receive(append(message, make([]byte, 4000)...))
	tail := mem.BufferSlice{data[0].Slice(ends[29], ends[59])} // as a message behind others in one HTTP/2 frame
	data.Free()
	var b Batch
	if err := (Codec{}).Unmarshal(tail, &b); err != nil {
		t.Fatal(err)
	}
	tail.Free()
	if err := b.Split(testLimits); err != nil {
		t.Fatal(err)
	}
	r := b.Run(0, 30)
	b.Free()
	if r.Pinned() != frameBuffer {
		t.Errorf("pinned: got %d, want %d", r.Pinned(), frameBuffer)
	}
	r.Free()
}

func TestAnOutgoingGivesItsBuffersAwayOrFreesThem(t *testing.T) {
	message, ends := batchOf(3, 2000)
	for name, end := range map[string]func(o *Outgoing){
		"freed":       func(o *Outgoing) { o.Free() },
		"freed twice": func(o *Outgoing) { o.Free(); o.Free() },
		"marshalled": func(o *Outgoing) {
			data, err := Codec{}.Marshal(o)
			if err != nil || !bytes.Equal(data.Materialize(), append(slices.Clone(message), message[:ends[0]]...)) {
				t.Errorf("got %v, %d bytes", err, data.Len())
			}
			if o.Bytes()+o.Frames() != 0 {
				t.Errorf("left: got %d bytes, want 0", o.Bytes())
			}
			o.Free()
			data.Free()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			var b Batch
			if err := p.split(t, &b, message, 3000); err != nil {
				t.Fatal(err)
			}
			var o Outgoing
			o.Add(b.Run(0, 3))
			o.Add(Run{})
			o.Add(b.Run(0, 1))
			b.Free()
			if o.Bytes() != ends[2]+ends[0] || o.Frames() != 4 {
				t.Errorf("got %d bytes, %d frames, want %d, 4", o.Bytes(), o.Frames(), ends[2]+ends[0])
			}
			end(&o)
		})
	}
}

func TestTheArrayOfASentMessageIsNotUsedAgain(t *testing.T) {
	var o Outgoing
	o.Add(RunOf([]byte("first"), 1))
	first, _ := Codec{}.Marshal(&o)
	o.Add(RunOf([]byte("second"), 1))
	if got := string(first.Materialize()); got != "first" {
		t.Errorf("got %q, want %q", got, "first")
	}
}

func TestAMessageWithoutAnEnvelopeIsNotSent(t *testing.T) {
	var o Outgoing
	o.Add(RunOf(nil, 0))
	if _, err := (Codec{}).Marshal(&o); err == nil {
		t.Error("got no error, want one")
	}
}
