package tap

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var testMark = Mark{Name: "secret", Bytes: []byte("a-secret-of-22-letters")}

func newMarks(t testing.TB, marks ...Mark) *Marks {
	t.Helper()
	m, err := NewMarks(marks...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noise is n bytes in which nothing is hidden.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestAMarkIsFoundInEveryFormWhereverTheStreamIsCut(t *testing.T) {
	m := newMarks(t, testMark)
	text := string(testMark.Bytes)
	for name, c := range map[string]struct{ form, stream string }{
		"as it is":         {"raw", "before " + text + " behind"},
		"hex":              {"hex", hex.EncodeToString([]byte("x" + text + "y"))},
		"hex in capitals":  {"hex", strings.ToUpper(hex.EncodeToString([]byte(text)))},
		"base64":           {"base64", base64.StdEncoding.EncodeToString([]byte(text))},
		"base64, one on":   {"base64", base64.StdEncoding.EncodeToString([]byte("?" + text + "~~"))},
		"base64, two on":   {"base64", base64.StdEncoding.EncodeToString([]byte("\xff\xff" + text + "\xff"))},
		"base64url":        {"base64", base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe\xff" + text + "\xff"))},
		"first and last":   {"raw", text},
		"behind its start": {"raw", text[:10] + text},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := 0; cut <= len(c.stream); cut++ {
				s := m.NewSearch()
				_, _ = s.Write([]byte(c.stream[:cut]))
				_, _ = s.Write([]byte(c.stream[cut:]))
				found := s.Findings()
				if len(found) != 1 || found[0].Form != c.form || found[0].Count != 1 || found[0].Mark != testMark.Name {
					t.Fatalf("cut at %d: got %v, want it once as %s", cut, found, c.form)
				}
				if s.Bytes() != int64(len(c.stream)) {
					t.Fatalf("cut at %d: got %d bytes, want %d", cut, s.Bytes(), len(c.stream))
				}
			}
		})
	}
}

func TestAFindingSaysWhereTheFirstBegins(t *testing.T) {
	s := newMarks(t, testMark).NewSearch()
	stream := append(noise(100_001), testMark.Bytes...)
	stream = append(append(stream, noise(1000)...), testMark.Bytes...)
	for piece := range slicesOf(stream, 4096) {
		_, _ = s.Write(piece)
	}
	found := s.Findings()
	if len(found) != 1 || found[0].First != 100_001 || found[0].Count != 2 {
		t.Errorf("got %v, want 2, the first at 100001", found)
	}
}

func slicesOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

func TestNothingIsFoundInNoise(t *testing.T) {
	s := newMarks(t, testMark, Mark{"other", []byte("another-secret-mark")}).NewSearch()
	_, _ = s.Write(noise(8 << 20))
	if found := s.Findings(); len(found) != 0 {
		t.Errorf("got %v, want nothing", found)
	}
}

func TestAMarkThatCouldOccurByChanceIsRefused(t *testing.T) {
	if _, err := NewMarks(Mark{"short", []byte("eleven-byte")}); err == nil {
		t.Error("got no error, want one")
	}
}

// FuzzSearch compares with the plain way to look for the same.
func FuzzSearch(f *testing.F) {
	f.Add([]byte("twelve-bytes"), []byte("xxtwelve-bytestwelve-bytes"), uint16(7))
	f.Add([]byte("aaaaaaaaaaaaa"), []byte("aaaaaaaaaaaaaaaaaaaaa"), uint16(1))
	f.Fuzz(func(t *testing.T, mark, stream []byte, cut uint16) {
		if len(mark) < MinMark || len(mark) > 300 {
			t.Skip()
		}
		m := newMarks(t, Mark{"m", mark})
		s := m.NewSearch()
		for piece := range slicesOf(stream, int(cut)+1) {
			_, _ = s.Write(piece)
		}
		got := fmt.Sprint(s.Findings())
		var want []Finding
		for _, form := range m.forms {
			w := Finding{Mark: form.mark, Form: form.name}
			for at := range stream {
				if bytes.HasPrefix(stream[at:], form.bytes) {
					if w.Count == 0 {
						w.First = int64(at)
					}
					w.Count++
				}
			}
			if w.Count > 0 {
				want = append(want, w)
			}
		}
		if got != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	var marks []Mark
	for i := range 7 {
		marks = append(marks, Mark{fmt.Sprint(i), fmt.Appendf(nil, "mark-number-%d-of-seven", i)})
	}
	m := newMarks(b, marks...)
	data := noise(1 << 20)
	b.SetBytes(int64(len(data)))
	s := m.NewSearch()
	for b.Loop() {
		_, _ = s.Write(data)
	}
}
