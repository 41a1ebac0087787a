package envelope

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// differs says where a frame and the generated code's reading of the same envelope differ, or "".
func differs(h *Header, ciphertext []byte, e *relayv1.Envelope) string {
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"workspace_id", string(h.Workspace), e.WorkspaceId},
		{"runtime_target_id", string(h.Target), e.RuntimeTargetId},
		{"type", h.Type, e.Type},
		{"sequence", h.Sequence, e.Sequence},
		{"timestamp present", h.Timestamp.Present, e.Timestamp != nil},
		{"seconds", h.Timestamp.Seconds, e.Timestamp.GetSeconds()},
		{"nanos", h.Timestamp.Nanos, e.Timestamp.GetNanos()},
		{"session_id", string(h.Session), e.SessionId},
		{"ack", h.Ack, e.Ack},
		{"consumed", h.Consumed, e.Consumed},
		{"resend", h.Resend, e.Resend},
		{"profile", h.Profile, e.Profile},
		{"encoding", h.Encoding, e.Encoding},
		{"status present", h.Status != nil, e.Status != nil},
		{"resume_attempt", h.ResumeAttempt, e.ResumeAttempt},
		{"bind_key", string(h.BindKey), string(e.BindKey)},
		{"ciphertext length", h.CiphertextLen, len(e.Ciphertext)},
		{"request_id", string(h.Request), e.RequestId},
		{"epoch", h.Epoch, e.Epoch},
		{"ciphertext", string(ciphertext), string(e.Ciphertext)},
	} {
		if f.got != f.want {
			return fmt.Sprintf("%s: got %v, want %v", f.name, f.got, f.want)
		}
	}
	if h.Status == nil {
		return ""
	}
	s, err := DecodeStatus(h.Status)
	if err != nil {
		return err.Error()
	}
	retry := e.Status.RetryAfter.AsDuration()
	if retry < 0 || e.Status.RetryAfter.CheckValid() != nil || e.Status.RetryAfter.AsDuration() == 1<<63-1 {
		retry = s.RetryAfter // documented to count as absent; the generated code has more of it
	}
	want := Status{
		Code: s.Code, Message: e.Status.Message, Retryable: e.Status.Retryable, Expected: e.Status.ExpectedSequence,
		RetryAfter: retry,
	}
	if s != want || string(s.Code) != e.Status.Code {
		return fmt.Sprintf("status: got %+v, want %+v, code %q", s, want, e.Status.Code)
	}
	return ""
}

const testSession = "aebagbafaydqqcikbmga2dqpca" // base32 of 01, 02 … 10

// randomEnvelope is one that a conforming peer may send.
func randomEnvelope(r *rand.Rand) *relayv1.Envelope {
	some := func() uint64 { return r.Uint64() >> (1 + r.IntN(63)) }
	text := func(n int) string {
		const alphabet = "ABCXYZabcxyz0189._:-"
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	maybe := func() bool { return r.IntN(2) == 0 }
	e := &relayv1.Envelope{
		WorkspaceId:     text(1 + r.IntN(128)),
		RuntimeTargetId: text(1 + r.IntN(128)),
		Type:            relayv1.FrameType(1 + r.IntN(31)),
		SessionId:       testSession,
		Resend:          maybe(),
		Profile:         relayv1.Profile(r.IntN(3)),
		Encoding:        relayv1.Encoding(r.IntN(3)),
	}
	if e.Encoding == relayv1.Encoding_ENCODING_LEGACY_JSON {
		e.SessionId = text(1+r.IntN(200)) + "ü€😀"
		if maybe() {
			e.Type = relayv1.FrameType(32 + r.IntN(7))
		}
		e.Sequence = some()
	} else if Sequenced(e.Type) {
		e.Sequence = 1 + some()/2
	}
	if maybe() {
		e.Timestamp = &timestamppb.Timestamp{Seconds: r.Int64() - r.Int64(), Nanos: int32(r.Uint32())}
		if r.IntN(4) == 0 {
			e.Timestamp = &timestamppb.Timestamp{}
		}
	}
	if maybe() {
		e.Ack, e.Consumed, e.ResumeAttempt = some(), some(), some()
	}
	if maybe() {
		e.Status = &relayv1.Status{
			Code: text(r.IntN(65)), Message: text(r.IntN(400)) + "¿", Retryable: maybe(), ExpectedSequence: some(),
		}
		if maybe() {
			e.Status.RetryAfter = durationpb.New(1 + 1<<r.IntN(60))
		}
		if r.IntN(4) == 0 {
			e.Status = &relayv1.Status{}
		}
	}
	if maybe() {
		e.BindKey = []byte(text(bindKeyLen))
	}
	if maybe() {
		e.RequestId, e.Epoch = text(r.IntN(maxSession)), some()
	}
	if maybe() {
		e.Ciphertext = []byte(text(r.IntN(300)))
	}
	return e
}

// headerOf is what Append needs to write e.
func headerOf(e *relayv1.Envelope) *Header {
	h := &Header{
		Type: e.Type, Profile: e.Profile, Encoding: e.Encoding, Resend: e.Resend,
		Workspace: []byte(e.WorkspaceId), Target: []byte(e.RuntimeTargetId), Session: []byte(e.SessionId),
		BindKey: e.BindKey, Request: []byte(e.RequestId), Epoch: e.Epoch,
		Sequence: e.Sequence, Ack: e.Ack, Consumed: e.Consumed, ResumeAttempt: e.ResumeAttempt,
		Timestamp: Timestamp{Present: e.Timestamp != nil, Seconds: e.Timestamp.GetSeconds(), Nanos: e.Timestamp.GetNanos()},
	}
	if e.Status != nil {
		h.Status, _ = proto.MarshalOptions{Deterministic: true}.Marshal(e.Status)
		if h.Status == nil {
			h.Status = []byte{}
		}
	}
	return h
}

// shuffled is e's serialization with its fields in another order, with unknown ones in between.
func shuffled(r *rand.Rand, e *relayv1.Envelope) []byte {
	b, _ := proto.Marshal(e)
	var parts [][]byte
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		parts, b = append(parts, b[:n]), b[n:]
	}
	parts = append(parts,
		number(17, r.Uint64()),
		protowire.AppendFixed32(protowire.AppendTag(nil, 77, protowire.Fixed32Type), r.Uint32()),
		protowire.AppendFixed64(protowire.AppendTag(nil, 101, protowire.Fixed64Type), r.Uint64()),
		value(protowire.MaxValidNumber, string(make([]byte, r.IntN(99)))),
	)
	r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return bytes.Join(parts, nil)
}

func TestWhatGeneratedCodeWritesIsReadTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := newPool(t)
	var b Batch
	defer b.Free()
	for range 2000 {
		var want relayv1.EnvelopeBatch
		for range 1 + r.IntN(5) {
			want.Envelopes = append(want.Envelopes, randomEnvelope(r))
		}
		message, err := proto.Marshal(&want)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.split(t, &b, message, r.IntN(len(message))); err != nil {
			t.Fatalf("got %v for %v", err, &want)
		}
		if got, want := len(b.Frames()), len(want.Envelopes); got != want {
			t.Fatalf("frames: got %d, want %d", got, want)
		}
		for i, f := range b.Frames() {
			if d := differs(&f.Header, b.Ciphertext(i), want.Envelopes[i]); d != "" {
				t.Fatalf("%s in %v", d, want.Envelopes[i])
			}
		}
	}
}

func TestFieldsMayComeInAnyOrderAndInAnyNumberOfBuffers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var b Batch
	defer b.Free()
	for range 60 {
		e := randomEnvelope(r)
		message := protowire.AppendBytes([]byte{tagEnvelope}, shuffled(r, e))
		everySplit(len(message), func(cuts ...int) {
			b.hold(pieces(message, cuts))
			if err := b.Split(testLimits); err != nil {
				t.Fatalf("cut at %v: got %v for %v", cuts, err, e)
			}
			if d := differs(&b.Frames()[0].Header, b.Ciphertext(0), e); d != "" {
				t.Fatalf("cut at %v: %s in %v", cuts, d, e)
			}
		})
	}
}

func TestWhatAppendWritesIsWhatGeneratedCodeWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		e := randomEnvelope(r)
		batch := &relayv1.EnvelopeBatch{Envelopes: []*relayv1.Envelope{e}}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(batch)
		if err != nil {
			t.Fatal(err)
		}
		h := headerOf(e)
		got := Append([]byte("before"), h, e.Ciphertext)
		if string(got) != "before"+string(want) {
			t.Fatalf("got %x, want %x for %v", got[6:], want, e)
		}
		if n := AppendedSize(h, len(e.Ciphertext)); n != len(want) {
			t.Fatalf("size: got %d, want %d for %v", n, len(want), e)
		}
	}
}
