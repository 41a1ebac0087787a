package legacywire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"unicode/utf8"
)

// e2eeFrame is an envelope with a ciphertext of n bytes, as a daemon writes it.
func e2eeFrame(n int) []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	ciphertext := make([]byte, n)
	for i := range ciphertext {
		ciphertext[i] = byte(i * 131)
	}
	return fmt.Appendf(nil, `{"type":"e2ee","version":2,"profile":"noise-ikpsk2",`+
		`"sessionId":"rs_4f1e0c8a9b7d6e5f4a3b2c1d","epoch":1,"seq":123,"iv":"%s","tag":"%s","ciphertext":"%s"}`,
		b64(ciphertext[:12]), b64(ciphertext[:16]), b64(ciphertext))
}

// One envelope, beside what encoding/json needs to find the same members, checking nothing.
func BenchmarkParse(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 16 << 10} {
		text := e2eeFrame(size)
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if f, err := Parse(text); err != nil || f.Seq != 123 {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d bytes, encoding json", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var m map[string]json.RawMessage
				if err := json.Unmarshal(text, &m); err != nil || len(m) != 9 {
					b.Fatal(err)
				}
			}
		})
	}
}

// What in Parse is only there because a text has to be UTF-8, which it checks on its way.
func BenchmarkValidUTF8(b *testing.B) {
	text := e2eeFrame(16 << 10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if !utf8.Valid(text) {
			b.Fatal("not valid")
		}
	}
}

// The texts that cost the most for their length: escapes in what has to be non-empty, many members, deep nesting.
func BenchmarkParseHostile(b *testing.B) {
	const size = 1 << 20
	frame := e2eeFrame(64)
	frame = frame[:len(frame)-1]
	for _, c := range []struct{ name, start, piece, end string }{
		{"escapes", `,"sessionId":"`, `\u00a0`, `x"}`},
		{"blanks", `,"iv":"`, ` `, `x"}`},
		{"characters of three bytes", `,"x":"`, `漢`, `"}`},
		{"members", `,"x":1`, `,"":1`, `}`},
		{"names in escapes", `,"x":1`, `,"\u0074":1`, `}`},
		{"arrays", `,"x":[[]`, `,[]`, `]}`},
		{"nesting", `,"x":[0`, `,[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]`, `]}`},
		{"digits", `,"epoch":1`, `0`, `e-1048000}`},
		{"a header again and again", `,"headers":{"accept":""`, `,"accept":""`, `}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := fmt.Appendf(nil, "%s%s%s%s", frame, c.start,
				bytes.Repeat([]byte(c.piece), (size-len(frame)-len(c.start))/len(c.piece)), c.end)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				_, _ = Parse(text)
			}
		})
	}
}

func TestAnEnvelopeIsReadWithoutAllocating(t *testing.T) {
	for _, size := range []int{64, 1 << 10, 16 << 10} {
		text := e2eeFrame(size)
		if got := testing.AllocsPerRun(100, func() {
			if _, err := Parse(text); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%d bytes: allocations: got %v, want 0", size, got)
		}
	}
}

func TestRefusalsAreWrittenWithoutAllocating(t *testing.T) {
	dst, channel := make([]byte, 0, 512), []byte("agent-session:a")
	if got := testing.AllocsPerRun(100, func() {
		dst = Status{Code: DaemonUnavailable, Workspace: "w", Target: "t", Machine: "m"}.Append(dst[:0])
		dst = AppendDenied(dst[:0], Subscribe, channel, "w")
		dst = AppendSubscribed(dst[:0], channel, 7)
	}); got != 0 {
		t.Errorf("allocations: got %v, want 0", got)
	}
}
