package secure

import (
	"bytes"
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func FuzzReadInit(f *testing.F) {
	for _, p := range []Profile{ik, ikpsk2} {
		cc, _ := configs(f, p)
		m1, err := newInitiator(f, cc).Init([]byte("pairing8"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p == ikpsk2, m1)
		f.Add(p == ik, m1)
		f.Add(p == ik, m1[:Message1Overhead-1])
	}
	f.Fuzz(func(t *testing.T, withPSK bool, message []byte) {
		p, psk := ik, []byte(nil)
		if withPSK {
			key := fill(0xa0)
			p, psk = ikpsk2, key[:]
		}
		_, dc := configs(t, p)
		r := newResponder(t, dc)
		received := bytes.Clone(message)
		peer, payload, err := r.ReadInit(message)
		if !bytes.Equal(message, received) {
			t.Fatalf("message 1: got it changed to %x, want %x", message, received)
		}
		if err != nil {
			if peer != ([KeySize]byte{}) || payload != nil {
				t.Fatalf("refused: got key %x and payload %x, want none", peer, payload)
			}
			if _, _, err := r.Respond(psk, nil); err == nil {
				t.Fatal("a response to a refused message 1: got one")
			}
			return
		}
		if len(payload) != len(message)-Message1Overhead || checkStatic(peer[:]) != nil {
			t.Fatalf("accepted: got key %x and a payload of %d bytes of %d", peer, len(payload), len(message))
		}
		if _, _, err := r.Respond(psk, nil); err != nil {
			t.Fatalf("a response to an accepted message 1: %v", err)
		}
	})
}

func FuzzFinish(f *testing.F) {
	for _, p := range []Profile{ik, ikpsk2} {
		_, m2 := toFinish(f, p)
		f.Add(p == ikpsk2, m2)
		f.Add(p == ik, m2)
		f.Add(p == ik, append(make([]byte, KeySize), m2[KeySize:]...))
		f.Add(p == ik, m2[:Message2Overhead-1])
	}
	f.Fuzz(func(t *testing.T, withPSK bool, message []byte) {
		p := ik
		if withPSK {
			p = ikpsk2
		}
		i, m2 := toFinish(t, p)
		_, ch, err := i.Finish(message)
		if err == nil {
			if !bytes.Equal(message, m2) {
				t.Fatalf("a forged message 2: got %x accepted, want only %x", message, m2)
			}
			return
		}
		if ch != nil {
			t.Fatal("refused: got a channel, want none")
		}
		if _, _, err := i.Finish(m2); err != nil {
			t.Fatalf("the genuine message 2 after %x: got %v, want it accepted", message, err)
		}
	})
}

// toFinish is an initiator that waits for message 2, and that message.
func toFinish(t testing.TB, p Profile) (*Initiator, []byte) {
	t.Helper()
	cc, dc := configs(t, p)
	i, r := newInitiator(t, cc), newResponder(t, dc)
	m1, err := i.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ReadInit(m1); err != nil {
		t.Fatal(err)
	}
	m2, _, err := r.Respond(cc.PSK, []byte("parameters"))
	if err != nil {
		t.Fatal(err)
	}
	return i, m2
}

func FuzzOpen(f *testing.F) {
	client, daemon := pair(f, ik)
	two := seal(f, client, data(2), "two")
	if _, err := daemon.Open(nil, data(2), two); err != nil {
		f.Fatal(err)
	}
	advance(f, client, daemon, 65_538)
	boundary := seal(f, client, data(65_538), "boundary")
	f.Add(false, int32(3), int32(1), uint64(2), int64(1_700_000_000), int32(42), two)
	f.Add(false, int32(4), int32(1), uint64(2), int64(0), int32(-1), two[:len(two)-1])
	f.Add(false, int32(3), int32(1), uint64(65_538), int64(1_700_000_000), int32(42), boundary)
	f.Add(true, int32(3), int32(1), uint64(65_538), int64(1_700_000_000), int32(42), boundary)
	f.Add(true, int32(3), int32(1), uint64(65_538), int64(1), int32(42), boundary)
	f.Add(true, int32(3), int32(1), uint64(1<<63), int64(1), int32(42), []byte{})

	_, start := pair(f, ik)
	f.Fuzz(func(
		t *testing.T, atBoundary bool, kind, encoding int32, sequence uint64, seconds int64, nanos int32, b []byte,
	) {
		ch, info, genuine := *start, data(2), two
		if atBoundary {
			ch.receive.next, info, genuine = 65_538, data(65_538), boundary
		}
		forged := FrameInfo{relayv1.FrameType(kind), relayv1.Encoding(encoding), sequence, seconds, nanos}
		key, epoch, next := ch.receive.key, ch.receive.epoch, ch.receive.next
		_, err := ch.Open(nil, forged, b)
		if err == nil {
			if forged != info || !bytes.Equal(b, genuine) {
				t.Fatalf("a forged frame: got %+v %x opened, want only %+v %x", forged, b, info, genuine)
			}
			return
		}
		if ch.receive.key != key || ch.receive.epoch != epoch || ch.receive.next != next {
			t.Fatal("a frame that did not open: got the state changed")
		}
		if _, err := ch.Open(nil, info, genuine); err != nil {
			t.Fatalf("the genuine frame afterwards: got %v, want it opened", err)
		}
	})
}
