package envelope

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// What comes in the usual form is read on a shorter way; whatever its fields, cut or damaged, nobody may notice.
func TestAnEnvelopeIsReadTheSameWhetherOrNotTheOneBeforeHadItsNames(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	envelopes := [][]byte{good(nil), good(func(e *relayv1.Envelope) { e.Sequence, e.Ack = 1<<63, 1<<63-1 })}
	for _, c := range malformed {
		envelopes = append(envelopes, c.envelope)
	}
	for range 100 {
		e := randomEnvelope(r)
		inOrder, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		envelopes = append(envelopes, inOrder, shuffled(r, e))
	}
	usual := 0
	for _, e := range envelopes {
		var last accepted
		var f Frame
		if _, bad := f.scanWhole(e, 0, &last); bad != "" || last.check(&f.Header, false) != "" {
			last.checkNames([]byte("ws-1"), []byte("build.box:7")) // those of good
		}
		same := func(e []byte) {
			t.Helper()
			var fresh accepted
			var got, want Frame
			_, wantBad := want.scanWhole(e, 5, &fresh)
			if wantBad == "" {
				wantBad = fresh.check(&want.Header, false)
			}
			before := last
			named, gotBad := got.scanWhole(e, 5, &before)
			if gotBad == "" {
				gotBad = before.check(&got.Header, named)
			}
			if named {
				usual++
			}
			if gotBad != wantBad {
				t.Fatalf("%x: got %q, want %q", e, gotBad, wantBad)
			}
			if wantBad == "" && !reflect.DeepEqual(got, want) {
				t.Fatalf("%x: got %+v, want %+v", e, got, want)
			}
		}
		same(e)
		for i := range min(len(e), 300) {
			same(e[:i])
			for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff, e[i] ^ 0x80, byte(r.Uint32())} {
				damaged := slices.Clone(e)
				damaged[i] = c
				same(damaged)
			}
		}
	}
	if usual < 1000 {
		t.Errorf("got %d in the usual form, want many", usual)
	}
}
