package legacylink

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/legacywire"
)

func e2ee(session string, seq, ciphertext int) []byte {
	return fmt.Appendf(nil, `{"type":"e2ee","version":2,"profile":"noise-ik","sessionId":"%s","epoch":7,"seq":%d,`+
		`"iv":"aXY","tag":"dGFn","ciphertext":"%s"}`, session, seq, strings.Repeat("x", ciphertext))
}

// received is a text as a reader has it, with room in front that may hold anything.
func received(e *headers, text []byte) []byte {
	return append(bytes.Repeat([]byte{0xaa}, e.room), text...)
}

func TestAnEnvelopeHasTheExactTextHoweverLongItsIDs(t *testing.T) {
	for _, names := range [][2]string{{"w", "t"}, {strings.Repeat("w", 128), strings.Repeat("t", 128)}, {"w", ""}} {
		e := newHeaders(names[0], names[1])
		if e.room > 1<<10 {
			t.Errorf("room for a header: got %d bytes, want 1024 at most", e.room)
		}
		for _, size := range []int{1, 64, 1 << 10, 1 << 20} {
			for _, id := range []int{1, 27, usualID, usualID + 1, maxID} {
				session, seq := strings.Repeat("s", id), 1<<53-1
				text := e2ee(session, seq, size)
				message := received(&e, text)
				f, err := legacywire.Parse(message[e.room:])
				if err != nil {
					t.Fatal(err)
				}
				made, ok := e.put(&f, message)
				want := envelope.Append(nil, &envelope.Header{
					Workspace: []byte(names[0]), Target: []byte(names[1]), Type: relayv1.FrameType_FRAME_TYPE_DATA,
					Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON, Session: []byte(session), Sequence: uint64(seq), Epoch: 7,
				}, text)
				if !ok || !bytes.Equal(made, want) {
					t.Errorf("names %q, an id of %d bytes, %d bytes of ciphertext: got %.300q, want %.300q", names, id, size, made,
						want)
				}
			}
		}
	}
}

func TestAnIDThatNoEnvelopeHasRoomForGetsNone(t *testing.T) {
	e := newHeaders("w", "t")
	message := received(&e, e2ee(strings.Repeat("s", maxID+1), 1, 64))
	f, err := legacywire.Parse(message[e.room:])
	if err != nil {
		t.Fatal(err)
	}
	if made, ok := e.put(&f, message); ok {
		t.Errorf("got %.300q, want no envelope", made)
	}
}

func TestAnEnvelopeOfAUsualFrameIsMadeInPlace(t *testing.T) {
	e := newHeaders("workspace-1", "host-1")
	message := received(&e, e2ee("rs_4f1e0c8a9b7d6e5f4a3b2c1d", 123_456_789, 1<<10))
	f, err := legacywire.Parse(message[e.room:])
	if err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(100, func() {
		if _, ok := e.put(&f, message); !ok {
			t.Fatal("no envelope")
		}
	}); got != 0 {
		t.Errorf("allocations: got %v, want 0", got)
	}
}
