package secure

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
)

func TestOnlyTheGenuineNextFrameOpens(t *testing.T) {
	client, daemon := pair(t, ik)
	cc, dc := configs(t, ik)
	cc.Random, dc.Random = nil, nil
	otherClient, _ := pairOf(t, cc, dc)

	good := seal(t, client, data(2), "two")
	three := seal(t, client, data(3), "three")
	down := seal(t, daemon, data(2), "down")
	foreign := seal(t, otherClient, data(2), "two")
	with := func(change func(*FrameInfo)) FrameInfo {
		f := data(2)
		change(&f)
		return f
	}
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0x80
		return b
	}
	for name, c := range map[string]struct {
		info       FrameInfo
		ciphertext []byte
		want       error
	}{
		"a frame of another session":          {data(2), foreign, ErrFrame},
		"the daemon's own frame back":         {data(2), down, ErrFrame},
		"the next frame in this one's place":  {data(2), three, ErrFrame},
		"the next frame before this one":      {data(3), three, ErrSequence},
		"this frame in the next one's place":  {data(3), good, ErrSequence},
		"the handshake's sequence":            {data(1), good, ErrSequence},
		"sequence 0":                          {data(0), good, ErrSequence},
		"the same nonce an epoch later":       {data(2 + epochFrames), good, ErrSequence},
		"the highest sequence there is":       {data(math.MaxUint64), good, ErrSequence},
		"DATA made CLOSE":                     {with(func(f *FrameInfo) { f.Type++ }), good, ErrFrame},
		"DATA made a type of the same byte":   {with(func(f *FrameInfo) { f.Type += 256 }), good, ErrMisuse},
		"NOISE made LEGACY_JSON":              {with(func(f *FrameInfo) { f.Encoding = 2 }), good, ErrMisuse},
		"an encoding of the same byte":        {with(func(f *FrameInfo) { f.Encoding += 256 }), good, ErrMisuse},
		"another second":                      {with(func(f *FrameInfo) { f.Seconds++ }), good, ErrFrame},
		"a second before 1970":                {with(func(f *FrameInfo) { f.Seconds = -f.Seconds }), good, ErrFrame},
		"other nanoseconds":                   {with(func(f *FrameInfo) { f.Nanos-- }), good, ErrFrame},
		"no timestamp":                        {with(func(f *FrameInfo) { f.Seconds, f.Nanos = 0, 0 }), good, ErrFrame},
		"nothing":                             {data(2), nil, ErrFrame},
		"a tag's length less one":             {data(2), good[:Overhead-1], ErrFrame},
		"a truncated frame":                   {data(2), good[:len(good)-1], ErrFrame},
		"a frame without its first byte":      {data(2), good[1:], ErrFrame},
		"a longer frame":                      {data(2), append(bytes.Clone(good), 0), ErrFrame},
		"two frames in one":                   {data(2), append(bytes.Clone(good), three...), ErrFrame},
		"the head of one, the tag of another": {data(2), append(bytes.Clone(good[:3]), three[5:]...), ErrFrame},
		"a changed first byte":                {data(2), flip(0), ErrFrame},
		"a changed tag":                       {data(2), flip(len(good) - 1), ErrFrame},
		"a frame longer than Noise allows":    {data(2), make([]byte, MaxMessage+1), ErrFrame},
	} {
		if got, err := daemon.Open(nil, c.info, c.ciphertext); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := client.Open(nil, data(2), good); !errors.Is(err, ErrFrame) {
		t.Errorf("a client that opens its own frame: got %v, want ErrFrame", err)
	}
	opens(t, daemon, data(2), good, "two")
	if _, err := daemon.Open(nil, data(2), good); !errors.Is(err, ErrSequence) {
		t.Errorf("the same frame again: got %v, want ErrSequence", err)
	}
	opens(t, daemon, data(3), three, "three")
	opens(t, client, data(2), down, "down")
}

func TestASequenceIsSealedOnce(t *testing.T) {
	client, daemon := pair(t, ikpsk2)
	for _, n := range []uint64{0, 1, 3, 2 + epochFrames, math.MaxUint64} {
		if got, err := client.Seal(nil, data(n), []byte("x")); !errors.Is(err, ErrSequence) || got != nil {
			t.Errorf("sequence %d first: got %v, want ErrSequence", n, err)
		}
	}
	if _, err := client.Seal(nil, data(2), make([]byte, MaxMessage-Overhead+1)); !errors.Is(err, ErrMisuse) {
		t.Errorf("a plaintext too long: got %v, want ErrMisuse", err)
	}
	if _, err := client.Seal(nil, FrameInfo{Type: resume, Encoding: 1, Sequence: 2}, nil); !errors.Is(err, ErrMisuse) {
		t.Errorf("a RESUME: got %v, want ErrMisuse", err)
	}
	longest := string(make([]byte, MaxMessage-Overhead))
	opens(t, daemon, data(2), seal(t, client, data(2), longest), longest)
	if _, err := client.Seal(nil, data(2), []byte("other")); !errors.Is(err, ErrSequence) {
		t.Errorf("sequence 2 again: got %v, want ErrSequence", err)
	}
	opens(t, daemon, data(3), seal(t, client, data(3), ""), "")
}

func TestSealAndOpenAppendAndWorkInPlace(t *testing.T) {
	client, daemon := pair(t, ik)
	sealed, err := client.Seal([]byte("header"), data(2), []byte("text"))
	if err != nil || string(sealed[:6]) != "header" || len(sealed) != 6+4+Overhead {
		t.Fatalf("got %d bytes, %v, want the header and %d", len(sealed), err, 4+Overhead)
	}
	opened, err := daemon.Open([]byte("before "), data(2), sealed[6:])
	if err != nil || string(opened) != "before text" {
		t.Fatalf("got %q, %v, want it appended", opened, err)
	}
	buffer := append(make([]byte, 0, 64), "in place"...)
	sealed, err = client.Seal(buffer[:0], data(3), buffer)
	if err != nil {
		t.Fatal(err)
	}
	opened, err = daemon.Open(sealed[:0], data(3), sealed)
	if err != nil || string(opened) != "in place" || &opened[0] != &buffer[0] {
		t.Fatalf("got %q, %v, want it in the same buffer", opened, err)
	}
}

// advance seals and opens frames until next is the next one.
func advance(t testing.TB, from, to *Channel, next uint64) {
	t.Helper()
	var sealed, opened [64]byte
	for n := from.send.next; n < next; n++ {
		c, err := from.Seal(sealed[:0], data(n), []byte{0})
		if err != nil {
			t.Fatalf("sealing %d: %v", n, err)
		}
		if _, err := to.Open(opened[:0], data(n), c); err != nil {
			t.Fatalf("opening %d: %v", n, err)
		}
	}
}

func TestKeysChangeEvery65536FramesAndAForgedFrameDoesNotChangeThem(t *testing.T) {
	client, daemon := pair(t, ik)
	first := client.send.key
	advance(t, client, daemon, 65_537)
	if client.send.key != first || daemon.receive.key != first {
		t.Fatal("before frame 65,537: got another key, want the first")
	}
	last := seal(t, client, data(65_537), "the last of its epoch")
	next := seal(t, client, data(65_538), "the first of the next")
	if client.send.key == first || client.send.epoch != 1 {
		t.Fatalf("after sealing frame 65,538: got epoch %d, want 1 and another key", client.send.epoch)
	}
	if _, err := daemon.Open(nil, data(65_538), next); !errors.Is(err, ErrSequence) {
		t.Fatalf("65,538 before 65,537: got %v, want ErrSequence", err)
	}
	opens(t, daemon, data(65_537), last, "the last of its epoch")
	for range 100 {
		if _, err := daemon.Open(nil, data(65_538), last); !errors.Is(err, ErrFrame) {
			t.Fatalf("a forged frame at the boundary: got %v, want ErrFrame", err)
		}
	}
	if daemon.receive.epoch != 0 || daemon.receive.key != first {
		t.Fatalf("after forged frames at the boundary: got epoch %d, want 0 and its key", daemon.receive.epoch)
	}
	opens(t, daemon, data(65_538), next, "the first of the next")
	if daemon.receive.epoch != 1 || daemon.receive.key != client.send.key {
		t.Fatalf("after frame 65,538: got epoch %d, want 1 and the client's key", daemon.receive.epoch)
	}
	if _, err := daemon.Open(nil, data(65_537), last); !errors.Is(err, ErrSequence) {
		t.Fatalf("a resend of the older epoch: got %v, want ErrSequence", err)
	}
	// The directions change on their own: nothing went down yet.
	if daemon.send.epoch != 0 || client.receive.epoch != 0 {
		t.Fatalf("down: got epochs %d and %d, want 0", daemon.send.epoch, client.receive.epoch)
	}
	opens(t, client, data(2), seal(t, daemon, data(2), "down"), "down")

	advance(t, client, daemon, 2+2*epochFrames)
	opens(t, daemon, data(131_074), seal(t, client, data(131_074), "epoch 2"), "epoch 2")
}

func TestASealInTheOldKeyDoesNotOpenInTheNextEpoch(t *testing.T) {
	client, daemon := pair(t, ik)
	advance(t, client, daemon, 65_538)
	old := client.send.aead.Seal(nil, plainNonce(65_536), []byte("x"), AssociatedData(nil, data(65_538)))
	if _, err := daemon.Open(nil, data(65_538), old); !errors.Is(err, ErrFrame) {
		t.Fatalf("got %v, want ErrFrame", err)
	}
}

func TestASessionEndsAtSequence2To48(t *testing.T) {
	client, daemon := pair(t, ik)
	for _, d := range []*direction{&client.send, &daemon.receive} {
		d.next, d.epoch = MaxSequence, epochOf(MaxSequence)
	}
	opens(t, daemon, data(MaxSequence), seal(t, client, data(MaxSequence), "last"), "last")
	if _, err := client.Seal(nil, data(1<<48), nil); !errors.Is(err, ErrEnded) {
		t.Errorf("sealing 2^48: got %v, want ErrEnded", err)
	}
	if _, err := daemon.Open(nil, data(1<<48), make([]byte, 32)); !errors.Is(err, ErrEnded) {
		t.Errorf("opening 2^48: got %v, want ErrEnded", err)
	}
}

func TestAWipedChannelHoldsNoKeyAndDoesNothing(t *testing.T) {
	client, daemon := pair(t, ik)
	sealed := seal(t, client, data(2), "x")
	proof := Proof{Type: resume, Session: "s"}
	mac := client.Prove(proof)
	daemon.Wipe()
	daemon.Wipe()
	if _, err := daemon.Seal(nil, data(2), nil); !errors.Is(err, ErrMisuse) {
		t.Errorf("Seal: got %v, want ErrMisuse", err)
	}
	if _, err := daemon.Open(nil, data(2), sealed); !errors.Is(err, ErrMisuse) {
		t.Errorf("Open: got %v, want ErrMisuse", err)
	}
	if err := daemon.SetResumeSecret(make([]byte, KeySize)); !errors.Is(err, ErrMisuse) {
		t.Errorf("SetResumeSecret: got %v, want ErrMisuse", err)
	}
	if daemon.Verify(proof, mac[:]) || daemon.Prove(proof) != [32]byte{} {
		t.Error("proofs: got some, want none")
	}
	zero := [KeySize]byte{}
	for name, key := range map[string][KeySize]byte{
		"send": daemon.send.key, "receive": daemon.receive.key, "own": daemon.own, "peer": daemon.peer,
	} {
		if key != zero {
			t.Errorf("key %s: got it still there", name)
		}
	}
}

func TestSealAndOpenDoNotAllocate(t *testing.T) {
	client, daemon := pair(t, ik)
	plaintext, sealed, opened := make([]byte, 16_001), make([]byte, 0, 17_000), make([]byte, 0, 17_000)
	allocs := testing.AllocsPerRun(1000, func() {
		f := data(client.send.next)
		c, err := client.Seal(sealed, f, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := daemon.Open(opened, f, c); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations for Seal and Open, want 0", allocs)
	}
}

func BenchmarkSealAndOpen(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			client, daemon := pair(b, ik)
			plaintext, sealed, opened := make([]byte, size), make([]byte, 0, size+Overhead), make([]byte, 0, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				f := data(client.send.next)
				c, err := client.Seal(sealed, f, plaintext)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := daemon.Open(opened, f, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
