package legacywire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"testing"
)

func TestStringsAreEscapedAsJSONStringifyDoes(t *testing.T) {
	for in, want := range map[string]string{
		"":                         `""`,
		"\x00\x07\x08\x09\x0a\x0b": `"\u0000\u0007\b\t\n\u000b"`,
		"\x0c\x0d\x0e\x1f\x20\x7f": `"\f\r\u000e\u001f ` + "\x7f" + `"`,
		`"\/<>&'`:                  `"\"\\/<>&'"`,
		"\u0080\u2028\u2029\ufeff": `"` + "\u0080\u2028\u2029\ufeff" + `"`,
		"한\ud7ff\ue000":            `"` + "한\ud7ff\ue000" + `"`, // 0xed starts other characters, too
		"\xed\xa0\x80":             `"\ud800"`,
		"a\xed\xbf\xbfb":           `"a\udfffb"`,
		"\xed\xb0\x80\xed\xa0\x80": `"\udc00\ud800"`,
	} {
		if got := string(appendString([]byte("x"), in)); got != "x"+want {
			t.Errorf("%q: got %s, want x%s", in, got, want)
		}
	}
}

func TestABinaryMessageIsTheTextThatNodeMakesOfIt(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"plain é漢😀":                "plain é漢😀",
		"\xff":                     "\ufffd",
		"\xff\xfe":                 "\ufffd\ufffd",
		"a\xc2b":                   "a\ufffdb",
		"\xc0\xaf":                 "\ufffd\ufffd",
		"\xe2\x82":                 "\ufffd",
		"\xe2\x82a":                "\ufffda",
		"\xe2\xe2\x82\xac":         "\ufffd€",
		"\xe0\x80\xaf":             "\ufffd\ufffd\ufffd",
		"\xe0\xa0":                 "\ufffd",
		"\xed\xa0\x80":             "\ufffd\ufffd\ufffd",
		"\xed\x9f\xbf":             "\ud7ff",
		"\xf0\x9f\x98":             "\ufffd",
		"\xf0\x9f\x98\xff":         "\ufffd\ufffd",
		"\xf0\x80\x80\x80":         "\ufffd\ufffd\ufffd\ufffd",
		"\xf0\x90\x80":             "\ufffd",
		"\xf4\x8f\xbf":             "\ufffd",
		"\xf4\x90\x80\x80":         "\ufffd\ufffd\ufffd\ufffd",
		"\xf5\x80":                 "\ufffd\ufffd",
		"\x80\x80":                 "\ufffd\ufffd",
		"\xf1\x80\x80\xe1\x80\xc2": "\ufffd\ufffd\ufffd",
		"\ufeffa":                  "\ufeffa",
	} {
		if got := string(Text([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestTrimmingIsThatOfJavaScript(t *testing.T) {
	for in, want := range map[string]string{
		"":  "",
		"a": "a",
		" \t\n\v\f\r\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeffa b\ufeff\u3000 \t": "a b",
		"\u0085a\u200b":        "\u0085a\u200b",
		" \u180ea\u2060\u00ad": "\u180ea\u2060\u00ad",
		"\ufeff ":              "",
		"\xed\xa0\x80 ":        "\xed\xa0\x80",
	} {
		if got := string(Trim([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestNoByteThatMattersIsSkippedInAString(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			for _, others := range []byte{'a', ' ', '!', '#', '[', ']', '^', 0x7f} {
				word := bytes.Repeat([]byte{others}, 8)
				word[at] = byte(c)
				want := 8
				if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
					want = at
				}
				if got := bits.TrailingZeros64(marks(binary.LittleEndian.Uint64(word))) / 8; got != want {
					t.Fatalf("% x: got byte %d marked, want %d", word, got, want)
				}
			}
		}
	}
}
