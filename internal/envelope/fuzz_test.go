package envelope

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// pieces is message cut at cuts, which ascend.
func pieces(message []byte, cuts []int) mem.BufferSlice {
	var data mem.BufferSlice
	from := 0
	for _, to := range append(cuts[:len(cuts):len(cuts)], len(message)) {
		data = append(data, mem.SliceBuffer(message[from:to:to]))
		from = to
	}
	return data
}

// sameFrames says where the frames of two batches differ, or "".
func sameFrames(got, want *Batch) string {
	if len(got.frames) != len(want.frames) {
		return fmt.Sprintf("frames: got %d, want %d", len(got.frames), len(want.frames))
	}
	for i := range got.frames {
		f, g := got.frames[i], want.frames[i]
		for _, p := range [][2][]byte{
			{f.Header.Workspace, g.Header.Workspace}, {f.Header.Target, g.Header.Target},
			{f.Header.Session, g.Header.Session}, {f.Header.BindKey, g.Header.BindKey},
			{f.Header.Status, g.Header.Status}, {got.Ciphertext(i), want.Ciphertext(i)},
		} {
			if !bytes.Equal(p[0], p[1]) || (p[0] == nil) != (p[1] == nil) {
				return fmt.Sprintf("frame %d: got %q, want %q", i, p[0], p[1])
			}
		}
		for _, h := range []*Header{&f.Header, &g.Header} {
			h.Workspace, h.Target, h.Session, h.BindKey, h.Status = nil, nil, nil, nil, nil
		}
		if !reflect.DeepEqual(f, g) {
			return fmt.Sprintf("frame %d: got %+v, want %+v", i, f, g)
		}
	}
	return ""
}

// checkBatch wants the same outcome for every split of message, and for what it accepts the same values as generated
// code reads.
func checkBatch(t *testing.T, message []byte) {
	t.Helper()
	limits := Limits{MaxEnvelope: 440, MaxBatch: 700}
	var want, got Batch
	want.Load(message)
	wantErr := want.Split(limits)
	checkAccepted(t, &want, message, wantErr)
	everySplit(len(message), func(cuts ...int) {
		got.hold(pieces(message, cuts))
		err := got.Split(limits)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("cut at %v: got %v, want %v", cuts, err, wantErr)
		}
		if d := sameFrames(&got, &want); d != "" {
			t.Fatalf("cut at %v: %s", cuts, d)
		}
	})
}

func checkAccepted(t *testing.T, b *Batch, message []byte, err error) {
	t.Helper()
	for i, f := range b.Frames() {
		var batch relayv1.EnvelopeBatch
		if err := proto.Unmarshal(message[f.start:f.end], &batch); err != nil || len(batch.Envelopes) != 1 {
			t.Fatalf("envelope %d: accepted what generated code does not: %v", i, err)
		}
		if d := differs(&f.Header, b.Ciphertext(i), batch.Envelopes[0]); d != "" {
			t.Fatalf("envelope %d: %s", i, d)
		}
	}
	var batch relayv1.EnvelopeBatch
	if err == nil {
		if err := proto.Unmarshal(message, &batch); err != nil || len(batch.Envelopes) != len(b.Frames()) {
			t.Fatalf("batch: accepted what generated code does not: %v, %d of %d", err, len(b.Frames()), len(batch.Envelopes))
		}
	}
}

func FuzzHeader(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 40 {
		if e := shuffled(r, randomEnvelope(r)); len(e) <= 440 {
			f.Add(e)
		}
	}
	for _, c := range malformed {
		f.Add(c.envelope)
	}
	f.Fuzz(func(t *testing.T, e []byte) {
		if len(e) > 450 {
			return
		}
		checkBatch(t, protowire.AppendBytes([]byte{tagEnvelope}, e))
	})
}

func FuzzSplitJoin(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for n := range 4 {
		var batch []byte
		for range n {
			batch = protowire.AppendBytes(append(batch, tagEnvelope), shuffled(r, randomEnvelope(r)))
			batch = protowire.AppendBytes(protowire.AppendTag(batch, 9, protowire.BytesType), []byte("later"))
		}
		f.Add(batch, uint64(n))
	}
	f.Fuzz(func(t *testing.T, message []byte, seed uint64) {
		if len(message) > 1000 {
			return
		}
		checkBatch(t, message)

		// Whatever way the frames go, their bytes come out as they went in, and each buffer is freed once.
		r := rand.New(rand.NewPCG(seed, 0))
		p := newPool(t)
		var b Batch
		var cuts []int
		for i := 0; i < len(message); i += 1 + r.IntN(100) {
			cuts = append(cuts, i)
		}
		_ = p.split(t, &b, message, cuts...) // what is good in it counts
		frames := b.Frames()
		var o Outgoing
		var want []byte
		for i := 0; i < len(frames); {
			n := 1 + r.IntN(len(frames)-i)
			kept := r.IntN(n + 1)
			if kept > 0 {
				want = append(want, message[frames[i].start:frames[i+kept-1].end]...)
			}
			o.Add(b.Run(i, i+n).Head(kept))
			i += n
		}
		b.Free()
		if o.Bytes() != len(want) {
			t.Fatalf("bytes: got %d, want %d", o.Bytes(), len(want))
		}
		if got := o.AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}
