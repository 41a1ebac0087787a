package hostile_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// malformed is a message that a client with an open session sends, and how its stream ends: after DATA 2, which stands
// first in the message, was forwarded, and nothing behind it.
type malformed struct {
	name string
	// bad changes a good envelope, DATA 3, into one that ends the stream.
	bad func(good []byte) []byte
	// message makes the whole message from the good DATA 2 and 3, where bad is nil.
	message func(first, good []byte) []byte
	// alone: nothing of the message is forwarded.
	alone  bool
	code   codes.Code // INVALID_ARGUMENT if 0
	reason string     // FRAME_INVALID if ""
}

func TestAMalformedEnvelopeEndsItsStreamAndNothingElse(t *testing.T) {
	g := start(t)
	var rows []row
	for _, kind := range []struct {
		name string
		all  []malformed
	}{
		{"truncated", truncated()}, {"oversized", oversized()}, {"over-nested", overNested()}, {"mis-numbered", misNumbered()},
		{"misaddressed", misaddressed()}, {"not a client's", notAClients()}, {"doubled", doubled()}, {"mistyped", mistyped()},
	} {
		rows = append(rows, row{kind.name, func(s *siege) { sendMalformed(s, kind.all) }})
	}
	g.withstand(t, rows)
}

// sendMalformed sends each message from a client of its own, to a target that has another session.
func sendMalformed(s *siege, all []malformed) {
	daemon, honest, kept := s.daemon(), s.client(), s.session(0)
	handshake(honest, daemon, kept)
	n := uint64(1)
	for i, m := range all {
		s.run(m.name, func() {
			evil, broken := s.client(), s.session(i+1)
			handshake(evil, daemon, broken)
			first, good := evil.bytes(broken.data(2)), evil.bytes(broken.data(3))
			if m.message != nil {
				evil.sendRaw(m.message(first, good))
			} else {
				// What is behind the bad one would pass, if it were looked at.
				evil.sendRaw(element(element(element(nil, first), m.bad(good)), good))
			}
			evil.sendRaw(element(nil, good)) // after its end a stream brings nothing
			if m.code == 0 {
				m.code, m.reason = codes.InvalidArgument, or(m.reason, "FRAME_INVALID")
			}
			evil.wantEnd(m.code, m.reason)
			if !m.alone {
				daemon.want(broken, typeData, 2)
			}
			// The other session of the target goes on, and nothing of the bad one came before it.
			n++
			honest.send(kept.data(n))
			daemon.want(kept, typeData, n)
			daemon.send(kept.data(n))
			honest.want(kept, typeData, n)
			s.step()
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// changed is a malformed message whose last envelope is DATA 3 with a change that proto can express.
func changed(name string, change func(*relayv1.Envelope)) malformed {
	return malformed{name: name, bad: func(good []byte) []byte {
		e := new(relayv1.Envelope)
		if err := proto.Unmarshal(good, e); err != nil {
			panic(err)
		}
		change(e)
		b, err := proto.Marshal(e)
		if err != nil {
			panic(err)
		}
		return b
	}}
}

// and appends to the envelope.
func and(name string, tail ...byte) malformed {
	return malformed{name: name, bad: func(good []byte) []byte { return append(bytes.Clone(good), tail...) }}
}

func varint(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

func text(number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), v)
}

// nested is depth messages, each a field of the one around it.
func nested(number protowire.Number, depth int) []byte {
	var b []byte
	for range depth {
		b = text(number, b)
	}
	return b
}

// groups is depth groups, each in the one around it.
func groups(depth int) []byte {
	open := protowire.AppendTag(nil, 200, protowire.StartGroupType)
	end := protowire.AppendTag(nil, 200, protowire.EndGroupType)
	return append(bytes.Repeat(open, depth), bytes.Repeat(end, depth)...)
}

func truncated() []malformed {
	return []malformed{
		{name: "an envelope that ends within its ciphertext", bad: func(good []byte) []byte { return good[:len(good)-1] }},
		and("an envelope that ends within a tag", 0x80),
		and("an envelope that ends within a number", append(protowire.AppendTag(nil, 77, protowire.VarintType), 0x80)...),
		and("an envelope that ends within a fixed64", append(protowire.AppendTag(nil, 77, protowire.Fixed64Type), 1, 2, 3)...),
		and("an envelope that ends behind a tag", protowire.AppendTag(nil, 77, protowire.BytesType)...),
		{name: "a batch that ends within an envelope", message: func(first, good []byte) []byte {
			b := element(element(nil, first), good)
			return b[:len(b)-1]
		}},
		{name: "a batch that ends behind a length", message: func(first, _ []byte) []byte {
			return append(element(nil, first), 0x0a, 0x05)
		}},
		{name: "a batch that ends within a tag", message: func(first, _ []byte) []byte {
			return append(element(nil, first), 0x8a)
		}},
		{name: "a length of 2^63", message: func(first, _ []byte) []byte {
			return protowire.AppendVarint(append(element(nil, first), 0x0a), 1<<63)
		}},
		{name: "a varint of eleven bytes", message: func(first, _ []byte) []byte {
			return append(append(element(nil, first), 0x0a), bytes.Repeat([]byte{0xff}, 11)...)
		}},
		{name: "an empty message", message: func(_, _ []byte) []byte { return nil }, alone: true},
		{name: "a message without an envelope", message: func(_, _ []byte) []byte { return text(9, []byte("new")) }, alone: true},
		{name: "an empty envelope", bad: func([]byte) []byte { return nil }},
	}
}

func oversized() []malformed {
	return []malformed{
		{
			name: "an envelope of one byte more than max-envelope", reason: "FRAME_TOO_LARGE", alone: true,
			message: func(_, good []byte) []byte {
				pad := limits.MaxEnvelope + 1 - len(good)
				return element(nil, append(bytes.Clone(good), text(300, make([]byte, pad-5))...))
			},
		},
		{
			name: "a batch above 64 KiB", reason: "FRAME_TOO_LARGE", alone: true,
			message: func(first, good []byte) []byte { return many(first, good, 64<<10) },
		},
		{
			name: "a batch of megabytes", reason: "FRAME_TOO_LARGE", alone: true,
			message: func(first, good []byte) []byte { return many(first, good, 3<<20) },
		},
		{
			// gRPC's own limit: the relay sees no byte of it.
			name: "a message above 4 MiB", code: codes.ResourceExhausted, alone: true,
			message: func(first, good []byte) []byte { return many(first, good, 4<<20) },
		},
		{
			name: "a batch of more envelopes than allowed", reason: "FRAME_TOO_LARGE",
			message: func(first, good []byte) []byte {
				e := new(relayv1.Envelope)
				if err := proto.Unmarshal(good, e); err != nil {
					panic(err)
				}
				beat, _ := proto.Marshal(&relayv1.Envelope{
					Type: typeHeartbeat, WorkspaceId: e.GetWorkspaceId(), RuntimeTargetId: e.GetRuntimeTargetId(),
				})
				b := element(nil, first)
				for range limits.FramesPerBatch {
					b = element(b, beat)
				}
				return b
			},
		},
		changed("a workspace of 129 bytes", func(e *relayv1.Envelope) { e.WorkspaceId = strings.Repeat("w", 129) }),
		changed("a target of 64 KiB", func(e *relayv1.Envelope) { e.RuntimeTargetId = strings.Repeat("t", 60<<10) }),
		changed("a session id of 256 bytes", func(e *relayv1.Envelope) { e.SessionId = strings.Repeat("a", 256) }),
		changed("a bind key of 15 bytes", func(e *relayv1.Envelope) { e.BindKey = make([]byte, 15) }),
		changed("a bind key of 17 bytes", func(e *relayv1.Envelope) { e.BindKey = make([]byte, 17) }),
		changed("a status of 1,025 bytes", func(e *relayv1.Envelope) {
			e.Type, e.Sequence, e.Status = typeReset, 0, &relayv1.Status{Message: strings.Repeat("x", 1100)}
		}),
		changed("a status code of 65 bytes", func(e *relayv1.Envelope) {
			e.Type, e.Sequence, e.Status = typeReset, 0, &relayv1.Status{Code: strings.Repeat("X", 65)}
		}),
	}
}

func overNested() []malformed {
	return []malformed{
		and("groups within groups, 10,000 deep", groups(10_000)...),
		and("a group", protowire.AppendTag(nil, 200, protowire.StartGroupType)...),
		and("the end of a group", protowire.AppendTag(nil, 200, protowire.EndGroupType)...),
		and("a wire type that does not exist", 77<<3&0x7f|7, 1),
		{name: "a batch with groups, 10,000 deep", message: func(first, _ []byte) []byte {
			return append(element(nil, first), groups(10_000)...)
		}},
		{name: "a timestamp with a group", bad: func(good []byte) []byte {
			return append(bytes.Clone(good), text(5, groups(3))...)
		}},
	}
}

func misNumbered() []malformed {
	return []malformed{
		and("field number 0", 0, 0),
		and("field number 2^29", protowire.AppendVarint(nil, 1<<29<<3)...),
		changed("type 0", func(e *relayv1.Envelope) { e.Type = 0 }),
		changed("type 39", func(e *relayv1.Envelope) { e.Type = 39 }),
		changed("type -1", func(e *relayv1.Envelope) { e.Type = -1 }),
		changed("DATA with sequence 0", func(e *relayv1.Envelope) { e.Sequence = 0 }),
		changed("ACK with a sequence", func(e *relayv1.Envelope) { e.Type = typeAck }),
		changed("RESET with a sequence", func(e *relayv1.Envelope) { e.Type = typeReset }),
		changed("sequence 2^63", func(e *relayv1.Envelope) { e.Sequence = 1 << 63 }),
		changed("ack 2^63", func(e *relayv1.Envelope) { e.Ack = 1 << 63 }),
		changed("consumed 2^64 - 1", func(e *relayv1.Envelope) { e.Consumed = 1<<64 - 1 }),
		changed("resume_attempt 2^63", func(e *relayv1.Envelope) { e.ResumeAttempt = 1 << 63 }),
		changed("expected_sequence 2^63", func(e *relayv1.Envelope) { e.Status = &relayv1.Status{ExpectedSequence: 1 << 63} }),
		changed("encoding -1", func(e *relayv1.Envelope) { e.Encoding = -1 }),
	}
}

func misaddressed() []malformed {
	return []malformed{
		{name: "another workspace", code: codes.PermissionDenied, reason: "ENVELOPE_MISMATCH",
			bad: changed("", func(e *relayv1.Envelope) { e.WorkspaceId = "witness" }).bad},
		{name: "the workspace in another case", code: codes.PermissionDenied, reason: "ENVELOPE_MISMATCH",
			bad: changed("", func(e *relayv1.Envelope) { e.WorkspaceId = strings.ToUpper(e.GetWorkspaceId()) }).bad},
		{name: "another target", code: codes.PermissionDenied, reason: "ENVELOPE_MISMATCH",
			bad: changed("", func(e *relayv1.Envelope) { e.RuntimeTargetId = home + "." }).bad},
		changed("no workspace", func(e *relayv1.Envelope) { e.WorkspaceId = "" }),
		changed("no target", func(e *relayv1.Envelope) { e.RuntimeTargetId = "" }),
		changed("a workspace with a separator", func(e *relayv1.Envelope) { e.WorkspaceId += "/" + home }),
		changed("no session", func(e *relayv1.Envelope) { e.SessionId = "" }),
		changed("a session id in upper case", func(e *relayv1.Envelope) { e.SessionId = strings.ToUpper(e.GetSessionId()) }),
		changed("a session id whose spare bits are set", func(e *relayv1.Envelope) { e.SessionId = e.GetSessionId()[:25] + "b" }),
		changed("a session id that is not native, without encoding", func(e *relayv1.Envelope) { e.SessionId, e.Encoding = "s-1", 0 }),
		{name: "a session id that is not UTF-8", bad: func(good []byte) []byte {
			at := bytes.LastIndex(good, []byte{6<<3 | 2, 26})
			b := bytes.Clone(good)
			b[at+2] = 0xff
			return b
		}},
	}
}

func notAClients() []malformed {
	return []malformed{
		changed("STATUS", func(e *relayv1.Envelope) {
			e.Type, e.Sequence, e.Status = typeStatus, 0, &relayv1.Status{Code: "PEER_UNAVAILABLE"}
		}),
		changed("HANDSHAKE_RESPONSE from a client", func(e *relayv1.Envelope) { e.Type, e.Sequence = typeResponse, 1 }),
		changed("a legacy type", func(e *relayv1.Envelope) {
			e.Type, e.Encoding = relayv1.FrameType_FRAME_TYPE_EVENT, relayv1.Encoding_ENCODING_LEGACY_JSON
		}),
		changed("a legacy type with encoding NOISE", func(e *relayv1.Envelope) {
			e.Type, e.Sequence, e.Encoding = relayv1.FrameType_FRAME_TYPE_PRESENCE, 0, relayv1.Encoding_ENCODING_NOISE
		}),
		changed("a legacy frame that only daemons send", func(e *relayv1.Envelope) {
			e.Type, e.Sequence = relayv1.FrameType_FRAME_TYPE_KEY_UPDATE, 0
			e.Encoding = relayv1.Encoding_ENCODING_LEGACY_JSON
		}),
	}
}

// many is a batch of more than size bytes.
func many(first, good []byte, size int) []byte {
	b := element(nil, first)
	for len(b) <= size {
		b = element(b, good)
	}
	return b
}

// fields are the known fields of an envelope with a value that is good.
func fields() map[protowire.Number][]byte {
	return map[protowire.Number][]byte{
		1: text(1, []byte("w")), 2: text(2, []byte("t")), 3: varint(3, uint64(typeData)), 4: varint(4, 3), 5: text(5, nil),
		6: text(6, []byte(newSession("w", 1).id)), 7: varint(7, 1), 8: varint(8, 1), 9: varint(9, 1), 10: varint(10, 1),
		11: varint(11, 1), 12: text(12, nil), 13: varint(13, 1), 14: text(14, make([]byte, 16)), 100: text(100, []byte("c")),
	}
}

// doubled are envelopes in which one singular field occurs twice, with the same value.
func doubled() (all []malformed) {
	for number := range protowire.Number(101) {
		field, known := fields()[number]
		if !known {
			continue
		}
		all = append(all, and(fmt.Sprintf("field %d twice", number), bytes.Repeat(field, 2)...))
	}
	return all
}

// mistyped are envelopes in which one known field has another wire type.
func mistyped() (all []malformed) {
	for number := range protowire.Number(101) {
		field, known := fields()[number]
		if !known {
			continue
		}
		_, wire, _ := protowire.ConsumeTag(field)
		other := varint(number, 1)
		if wire == protowire.VarintType {
			other = text(number, []byte{1})
		}
		all = append(all, malformed{
			name: fmt.Sprintf("field %d with another wire type", number),
			// In front, so that it is not taken for a double.
			bad: func(good []byte) []byte { return append(bytes.Clone(other), good...) },
		})
	}
	return all
}

func TestWhatAnEnvelopeHasThatTheRelayDoesNotKnowPassesUnchanged(t *testing.T) {
	g := start(t)
	g.during(t, func(s *siege) {
		daemon, client, one := s.daemon(), s.client(), s.session(1)
		handshake(client, daemon, one)
		n := uint64(1)
		for name, tail := range map[string][]byte{
			"unknown fields within unknown fields, 10,000 deep": nested(200, 10_000),
			"a thousand unknown fields":                         bytes.Repeat(varint(777, 1<<60), 1000),
			"an unknown field of 60 KiB":                        text(300, make([]byte, 60<<10)),
			"the highest field number":                          varint(1<<29-1, 1),
			"groups within an unknown field":                    text(200, groups(100)),
		} {
			s.run(name, func() {
				n++
				client.sendRaw(element(nil, append(client.bytes(one.data(n)), tail...)))
				e := daemon.want(one, typeData, n)
				if got := e.ProtoReflect().GetUnknown(); !bytes.Equal(got, tail) {
					s.t.Errorf("got %d unknown bytes, want the %d that were sent", len(got), len(tail))
				}
				s.step()
			})
		}
	})
}
