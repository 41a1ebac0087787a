package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
)

// good is the serialization of a native DATA frame after change has been at it.
func good(change func(*relayv1.Envelope)) []byte {
	e := &relayv1.Envelope{
		WorkspaceId: "ws-1", RuntimeTargetId: "build.box:7", Type: relayv1.FrameType_FRAME_TYPE_DATA, Sequence: 7,
		SessionId: testSession, Encoding: relayv1.Encoding_ENCODING_NOISE, Ciphertext: []byte("opaque"),
	}
	if change != nil {
		change(e)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		panic(err)
	}
	return b
}

func with(field ...byte) []byte { return append(good(nil), field...) }

func number(field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
}

func value(field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), v)
}

// without is good(nil) less one field, with others in its place.
func without(field protowire.Number, others ...[]byte) []byte {
	var out []byte
	for b := good(nil); len(b) > 0; {
		n, _, size := protowire.ConsumeField(b)
		if n != field {
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	return append(out, bytes.Join(others, nil)...)
}

const legacy = relayv1.Encoding_ENCODING_LEGACY_JSON

func legacyFrame(session string) []byte {
	return good(func(e *relayv1.Envelope) { e.Encoding, e.SessionId = legacy, session })
}

var malformed = []struct {
	name     string
	envelope []byte
	want     string
}{
	{"nothing", nil, badName},
	{"workspace_id twice", with(value(1, "ws-1")...), badTwice},
	{"runtime_target_id twice", with(value(2, "x")...), badTwice},
	{"type twice", with(number(3, 3)...), badTwice},
	{"sequence twice", with(number(4, 7)...), badTwice},
	{"timestamp twice", with(append(value(5, ""), value(5, "")...)...), badTwice},
	{"session_id twice", with(value(6, testSession)...), badTwice},
	{"ack twice", with(append(number(7, 0), number(7, 0)...)...), badTwice},
	{"consumed twice", with(append(number(8, 1), number(8, 1)...)...), badTwice},
	{"resend twice", with(append(number(9, 1), number(9, 1)...)...), badTwice},
	{"profile twice", with(append(number(10, 1), number(10, 1)...)...), badTwice},
	{"encoding twice", with(number(11, 1)...), badTwice},
	{"status twice", with(append(value(12, ""), value(12, "")...)...), badTwice},
	{"resume_attempt twice", with(append(number(13, 1), number(13, 1)...)...), badTwice},
	{"bind_key twice", with(append(value(14, "0123456789abcdef"), value(14, "0123456789abcdef")...)...), badTwice},
	{"request_id twice", with(append(value(15, "r"), value(15, "r")...)...), badTwice},
	{"epoch twice", with(append(number(16, 1), number(16, 1)...)...), badTwice},
	{"ciphertext twice", with(value(100, "")...), badTwice},
	{"seconds twice", with(value(5, "\x08\x01\x08\x01")...), badTwice},
	{"status code twice", with(value(12, "\x0a\x01A\x0a\x01B")...), badTwice},

	{"cut in a tag", with(0xa2), badTruncated},
	{"cut behind a tag", with(0x38), badTruncated},
	{"cut in a number", with(0x38, 0x80), badTruncated},
	{"cut in a length", with(0x62, 0x80), badTruncated},
	{"cut in a name", without(1, []byte{0x0a, 3, 'w', 's'}), badTruncated},
	{"cut in ciphertext", without(100, []byte{0xa2, 6, 9, 'x'}), badTruncated},
	{"cut in an unknown field", with(0x8a, 1, 5, 'x'), badTruncated},
	{"cut in a 32-bit field", with(0x8d, 1, 1, 2, 3), badTruncated},
	{"cut in a 64-bit field", with(0x89, 1, 1, 2, 3, 4, 5, 6, 7), badTruncated},
	{"cut in timestamp", with(value(5, "\x08")...), badTruncated},
	{"cut in status", with(value(12, "\x0a\x05A")...), badTruncated},
	{"cut in retry_after", with(value(12, "\x2a\x01\x08")...), badTruncated},
	{"a length of 2^63", with(0x8a, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), badTruncated},
	{"a length beyond 64 bits", with(0x8a, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2), badVarint},
	{"a number beyond 64 bits", with(0x38, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2), badVarint},
	{"a tag beyond 64 bits", with(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), badVarint},

	{"field 0", with(0x00, 0x00), badField},
	{"field 2^29", with(number(1<<29, 0)...), badField},
	{"a group", with(0x8b, 1, 0x8c, 1), badWireType},
	{"the end of a group", with(0x8c, 1), badWireType},
	{"wire type 6", with(0x8e, 1, 0), badWireType},
	{"a group in status", with(value(12, "\x33\x34")...), badWireType},
	{"field 0 in timestamp", with(value(5, "\x00\x00")...), badField},
	{"a number as workspace_id", without(1, number(1, 1)), badKnownType},
	{"bytes as sequence", without(4, value(4, "x")), badKnownType},
	{"32 bits as ack", with(0x3d, 0, 0, 0, 0), badKnownType},
	{"a group as status", with(0x63, 0x64), badKnownType},
	{"a number as ciphertext", without(100, number(100, 1)), badKnownType},
	{"bytes as seconds", with(value(5, "\x0a\x00")...), badKnownType},
	{"a number as status code", with(value(12, "\x08\x01")...), badKnownType},

	{"no type", without(3), badType},
	{"type 0", without(3, number(3, 0)), badType},
	{"type 39", without(3, number(3, 39)), badType},
	{"type that is 3 in 32 bits", without(3, number(3, 1<<32+3)), badType},
	{"a negative encoding", without(11, number(11, 1<<64-1)), badEnum},
	{"profile 2^31", with(number(10, 1<<31)...), badEnum},

	{"no workspace_id", without(1), badName},
	{"an empty workspace_id", without(1, value(1, "")), badName},
	{"a workspace_id of 129 bytes", without(1, value(1, strings.Repeat("a", 129))), badLength},
	{"a slash in workspace_id", without(1, value(1, "a/b")), badName},
	{"no runtime_target_id", without(2), badName},
	{"a runtime_target_id of 129 bytes", without(2, value(2, strings.Repeat("a", 129))), badLength},
	{"no ASCII in runtime_target_id", without(2, value(2, "bäckerei")), badName},
	{"a zero byte in runtime_target_id", without(2, value(2, "a\x00")), badName},
	{"a session_id of 256 bytes", without(6, value(6, strings.Repeat("a", 256))), badLength},
	{"a session_id of 25 bytes", without(6, value(6, testSession[:25])), badNativeID},
	{"upper case in session_id", without(6, value(6, strings.ToUpper(testSession))), badNativeID},
	{"spare bits in session_id", without(6, value(6, testSession[:25]+"b")), badNativeID},
	{"no session_id", without(6), badNativeID},
	{"a legacy frame without session_id",
		good(func(e *relayv1.Envelope) { e.Encoding, e.SessionId = legacy, "" }), badNoSession},
	{"an ACK without session_id", good(func(e *relayv1.Envelope) {
		e.Type, e.Sequence, e.Encoding, e.SessionId = relayv1.FrameType_FRAME_TYPE_ACK, 0, 0, ""
	}), badNoSession},
	{"a legacy session_id that is no UTF-8",
		bytes.Replace(legacyFrame("x~"), []byte("x~"), []byte("x\xff"), 1), badSession},
	{"a bind_key of 15 bytes", with(value(14, "0123456789abcde")...), badBindKey},
	{"a bind_key of 17 bytes", with(value(14, "0123456789abcdefg")...), badLength},
	{"a status of 1,025 bytes", with(value(12, strings.Repeat("\x1a\x00", 512)+"\x00")...), badLength},
	{"a timestamp of 1,025 bytes", with(value(5, strings.Repeat("\x1a", 1025))...), badLength},
	{"a status code of 65 bytes", with(value(12, string(value(1, strings.Repeat("A", 65))))...), badStatusText},
	{"a status message of 513 bytes", with(value(12, string(value(2, strings.Repeat("A", 513))))...), badStatusText},
	{"a status message that is no UTF-8", with(value(12, "\x12\x01\xff")...), badStatusText},
	{"an expected_sequence of 2^63", with(value(12, string(number(4, 1<<63)))...), badExpected},

	{"a sequence of 2^63", without(4, number(4, 1<<63)), badNumber},
	{"an ack of 2^63", with(number(7, 1<<63)...), badNumber},
	{"a consumed of 2^64 - 1", with(number(8, 1<<64-1)...), badNumber},
	{"a resume_attempt of 2^63", with(number(13, 1<<63)...), badNumber},
	{"an epoch of 2^63", with(number(16, 1<<63)...), badNumber},
	{"a request_id of 256 bytes", with(value(15, strings.Repeat("r", 256))...), badLength},
	{"a request_id that is not UTF-8", with(value(15, "r\xff")...), badRequest},

	{"DATA with sequence 0", without(4), badSequence0},
	{"HANDSHAKE_INIT with sequence 0",
		good(func(e *relayv1.Envelope) { e.Type, e.Sequence = 1, 0 }), badSequence0},
	{"ACK with a sequence",
		good(func(e *relayv1.Envelope) { e.Type = relayv1.FrameType_FRAME_TYPE_ACK }), badSequence},
	{"RESET with a sequence",
		good(func(e *relayv1.Envelope) { e.Type = relayv1.FrameType_FRAME_TYPE_RESET }), badSequence},
	{"HEARTBEAT with a sequence", good(func(e *relayv1.Envelope) {
		e.Type, e.Encoding, e.SessionId = relayv1.FrameType_FRAME_TYPE_HEARTBEAT, 0, ""
	}), badSequence},
	{"type 11 with a sequence", good(func(e *relayv1.Envelope) { e.Type = 11 }), badSequence},
	{"KEY_UPDATE with encoding NOISE",
		good(func(e *relayv1.Envelope) { e.Type = relayv1.FrameType_FRAME_TYPE_KEY_UPDATE }), badLegacy},
	{"PRESENCE without encoding",
		good(func(e *relayv1.Envelope) { e.Type, e.Encoding = relayv1.FrameType_FRAME_TYPE_PRESENCE, 0 }), badLegacy},
}

func TestAMalformedEnvelopeIsFrameInvalidAndThoseBeforeItCount(t *testing.T) {
	first := good(nil)
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			message := protowire.AppendBytes([]byte{tagEnvelope}, first)
			message = protowire.AppendBytes(append(message, tagEnvelope), c.envelope)
			message = protowire.AppendBytes(append(message, tagEnvelope), first)
			everySplit(len(message), func(cuts ...int) {
				var b Batch
				defer b.Free()
				err := p.split(t, &b, message, cuts...)
				want := reason.New(reason.FrameInvalid, "envelope 2 of the batch: %s", c.want)
				if !errors.Is(err, want) || err.Error() != want.Error() {
					t.Fatalf("cut at %v: got %v, want %v", cuts, err, want)
				}
				if n := len(b.Frames()); n != 1 {
					t.Fatalf("cut at %v: good frames: got %d, want 1", cuts, n)
				}
			})
		})
	}
}

func TestABatchThatIsNoneIsFrameInvalid(t *testing.T) {
	e := protowire.AppendBytes([]byte{tagEnvelope}, good(nil))
	for _, c := range []struct {
		name  string
		batch []byte
		want  string
	}{
		{"empty", nil, "a batch is empty"},
		{"only fields of a later release", value(2, "x"), "envelope 1 of the batch: the batch has no envelope"},
		{"an envelope that is a number", []byte{0x08, 1}, "envelope 1 of the batch: " + badKnownType},
		{"a group", []byte{0x0b, 0x0c}, "envelope 1 of the batch: " + badKnownType},
		{"another group", []byte{0x13, 0x14}, "envelope 1 of the batch: " + badWireType},
		{"field 0", []byte{0, 0}, "envelope 1 of the batch: " + badField},
		{"cut in a tag", append(e[:len(e):len(e)], 0x8a), "envelope 2 of the batch: " + badTruncated},
		{"cut in a length", append(e[:len(e):len(e)], 0x0a, 0xff), "envelope 2 of the batch: " + badTruncated},
		{"cut in an envelope", e[:len(e)-1], "envelope 1 of the batch: " + badTruncated},
		{"cut in an unknown field", append(e[:len(e):len(e)], 0x12, 3, 1), "envelope 2 of the batch: " + badTruncated},
		{"an envelope of 2^63 bytes", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
			"envelope 1 of the batch: " + badTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			everySplit(len(c.batch), func(cuts ...int) {
				var b Batch
				defer b.Free()
				err := p.split(t, &b, c.batch, cuts...)
				if want := "FRAME_INVALID: " + c.want; err == nil || err.Error() != want {
					t.Fatalf("cut at %v: got %v, want %v", cuts, err, want)
				}
			})
		})
	}
}

func TestWhatIsLongerThanTheLimitIsFrameTooLargeAndSaysWhichAndHowMuch(t *testing.T) {
	limits := Limits{MaxEnvelope: 1000, MaxBatch: 500}
	sized := func(n int) []byte { // an envelope of n bytes, with its tag
		for pad := n; ; pad-- {
			if e := good(func(e *relayv1.Envelope) { e.Ciphertext = make([]byte, pad) }); len(e) == n {
				return protowire.AppendBytes([]byte{tagEnvelope}, e)
			}
		}
	}
	for _, c := range []struct {
		name  string
		batch []byte
		want  string
		meta  string
		good  int
	}{
		{"an envelope at its limit, above a batch's", sized(1000), "<nil>", "", 1},
		{"two envelopes below a batch's limit", append(sized(244), sized(250)...), "<nil>", "", 2},
		{"an envelope above its limit", sized(1001),
			"FRAME_TOO_LARGE: an envelope is 1001 bytes, more than 1000", "max-envelope=1000", 0},
		{"two envelopes above a batch's limit", append(sized(244), sized(251)...),
			"FRAME_TOO_LARGE: a batch of more than one envelope is 501 bytes, more than 500", "max-batch=500", 0},
		{"one envelope and what is of a later release", append(sized(490), value(7, "later and longer")...),
			"FRAME_TOO_LARGE: a batch of more than one envelope is 511 bytes, more than 500", "max-batch=500", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			var b Batch
			defer b.Free()
			p.fill(t, &b, c.batch)
			err := b.Split(limits)
			if got := fmt.Sprint(err); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if err != nil {
				if m := reason.Of(err).Meta; m["limit"]+"="+m["value"] != c.meta {
					t.Errorf("meta: got %v, want %v", m, c.meta)
				}
			}
			if n := len(b.Frames()); n != c.good {
				t.Errorf("frames: got %d, want %d", n, c.good)
			}
		})
	}
}

func TestFormsAtTheEdgePass(t *testing.T) {
	for name, e := range map[string][]byte{
		"names of 128 bytes": good(func(e *relayv1.Envelope) {
			e.WorkspaceId, e.RuntimeTargetId = strings.Repeat("Z", 128), strings.Repeat(":", 128)
		}),
		"a sequence and an ack of 2^63 - 1": without(4, number(4, 1<<63-1), number(7, 1<<63-1)),
		"consumed and attempt of 2^63 - 1":  with(append(number(8, 1<<63-1), number(13, 1<<63-1)...)...),
		"RESUME with a sequence":            good(func(e *relayv1.Envelope) { e.Type = 6 }),
		"RESUMED with a sequence":           good(func(e *relayv1.Envelope) { e.Type = 7 }),
		"an unknown type":                   good(func(e *relayv1.Envelope) { e.Type, e.Sequence = 31, 0 }),
		"an unknown profile":                with(number(10, 99)...),
		"a legacy DATA, sequence 0":         good(func(e *relayv1.Envelope) { e.Encoding, e.Sequence = legacy, 0 }),
		"a legacy session, 255":             legacyFrame(strings.Repeat("é", 127) + "!"),
		"a legacy PRESENCE":                 good(func(e *relayv1.Envelope) { e.Type, e.Encoding = 38, legacy }),
		"a tag longer than needed":          without(4, []byte{0xa0, 0x80, 0x00, 0x07}),
		"a number longer than need":         without(4, []byte{0x20, 0x87, 0x80, 0x80, 0x00}),
		"unknown fields":                    append(number(17, 1), with(value(99, "x")...)...),
		"an unknown field in timestamp":     with(value(5, "\x1a\x01x")...),
		"an unknown field in status":        with(value(12, "\x35\x01\x02\x03\x04")...),
		"a heartbeat": good(func(e *relayv1.Envelope) {
			*e = relayv1.Envelope{WorkspaceId: "w", RuntimeTargetId: "t", Type: relayv1.FrameType_FRAME_TYPE_HEARTBEAT}
		}),
		"a status about the link": good(func(e *relayv1.Envelope) {
			*e = relayv1.Envelope{WorkspaceId: "w", RuntimeTargetId: "t", Type: relayv1.FrameType_FRAME_TYPE_STATUS}
		}),
	} {
		t.Run(name, func(t *testing.T) { checkPasses(t, protowire.AppendBytes([]byte{tagEnvelope}, e)) })
	}
}

func checkPasses(t *testing.T, message []byte) {
	t.Helper()
	p := newPool(t)
	everySplit(len(message), func(cuts ...int) {
		var b Batch
		defer b.Free()
		err := p.split(t, &b, message, cuts...)
		if err != nil {
			t.Fatalf("cut at %v: got %v, want it accepted", cuts, err)
		}
		checkAccepted(t, &b, message, err)
	})
}

func TestABatchMayHaveFieldsOfALaterRelease(t *testing.T) {
	e := protowire.AppendBytes([]byte{0x8a, 0x00}, good(nil)) // the same tag, written longer
	message := append(value(2, "later"), e...)
	message = append(append(message, number(3, 1<<60)...), e...)
	message = append(message, 0x25, 1, 2, 3, 4, 0x29, 1, 2, 3, 4, 5, 6, 7, 8)
	checkPasses(t, message)
}

// A link's frames mostly repeat its names, so Split remembers the last good ones; that must not let another one
// through.
func TestABadNameBehindAGoodOneIsStillFound(t *testing.T) {
	p := newPool(t)
	var b Batch
	defer b.Free()
	legacySession := legacyFrame("session")
	for _, c := range []struct {
		e    []byte
		want bool
	}{
		{good(nil), true}, {without(1, value(1, "ws/1")), false}, {good(nil), true}, {without(1), false},
		{legacySession, true}, {without(6, value(6, "session")), false}, {legacySession, true}, {good(nil), true},
	} {
		err := p.split(t, &b, protowire.AppendBytes([]byte{tagEnvelope}, c.e))
		if (err == nil) != c.want {
			t.Fatalf("%q: got %v, want accepted %v", c.e, err, c.want)
		}
	}
}
