package legacywire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	firstHighSurrogate = 0xd800
	firstLowSurrogate  = 0xdc00
	lastSurrogate      = 0xdfff
	firstAstral        = 0x10000 // from here on a code point takes two UTF-16 code units
)

// Trim returns s without the white space around it that JavaScript's trim removes. That has U+FEFF, which Go's
// TrimSpace leaves, and has not U+0085, which Go's removes.
func Trim(s []byte) []byte {
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		if !isSpace(r) {
			break
		}
		s = s[size:]
	}
	for len(s) > 0 {
		r, size := utf8.DecodeLastRune(s)
		if !isSpace(r) {
			break
		}
		s = s[:len(s)-size]
	}
	return s
}

// isSpace reports whether JavaScript's trim removes r.
func isSpace(r rune) bool {
	switch {
	case r == ' ', r >= '\t' && r <= '\r':
		return true
	case r < 0xa0:
		return false
	case r == 0xa0, r == 0x1680, r >= 0x2000 && r <= 0x200a, r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f,
		r == 0x3000, r == 0xfeff:
		return true
	}
	return false
}

// Text returns a binary message as the text that it counts as: as it is, or a copy in which each maximal part of an
// ill-formed sequence is one U+FFFD, as in browsers and Node. (Go's own conversions count otherwise.)
func Text(message []byte) []byte {
	if utf8.Valid(message) {
		return message
	}
	out := make([]byte, 0, len(message)+len(message)/2)
	for i := 0; i < len(message); {
		if r, size := utf8.DecodeRune(message[i:]); r != utf8.RuneError || size > 1 {
			out = append(out, message[i:i+size]...)
			i += size
			continue
		}
		out = append(out, "\ufffd"...)
		i += illFormed(message[i:])
	}
	return out
}

// illFormed is the length of the maximal part that b, which starts with no whole sequence, has of one.
func illFormed(b []byte) int {
	need, low, high := 0, byte(0x80), byte(0xbf)
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c >= 0xe0 && c <= 0xef:
		need = 2
		if c == 0xe0 {
			low = 0xa0
		} else if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		need = 3
		if c == 0xf0 {
			low = 0x90
		} else if c == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for ; n <= need && n < len(b) && b[n] >= low && b[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}

// marks has the high bit set of each byte of w that can't be skipped in a JSON string: it is not ASCII, or is below
// 0x21 once ' ' and '"' have changed places, and '!' and '#' (so it is a control character or the quote), or is a
// backslash.
// What is not ASCII keeps its high bit in one of the two differences at least. A borrow may mark what follows a marked
// byte; it never hides one.
func marks(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (((w ^ 0x02*ones) - 0x21*ones) | ((w ^ '\\'*ones) - ones)) & highs
}

// stringEnd returns the index of the quote that ends the JSON string whose inside starts at i, and whether there are
// escapes in it; -1 if it is no string. The bytes are checked to be UTF-8.
func stringEnd(text []byte, i int) (end int, escaped bool) {
	for {
		for ; i+8 <= len(text); i += 8 {
			if m := marks(binary.LittleEndian.Uint64(text[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
		}
		if i >= len(text) {
			return -1, escaped
		}
		switch c := text[i]; {
		case c == '"':
			return i, escaped
		case c == '\\':
			escaped = true
			if i = escapeEnd(text, i); i < 0 {
				return -1, escaped
			}
		case c < ' ':
			return -1, escaped
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				return -1, escaped
			}
			i += size
		}
	}
}

// escapeEnd returns the index behind the escape at i; -1 if it is none.
func escapeEnd(text []byte, i int) int {
	if i+1 >= len(text) {
		return -1
	}
	switch text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(text) {
			return -1
		}
		for _, c := range text[i+2 : i+6] {
			if unhex(c) < 0 {
				return -1
			}
		}
		return i + 6
	}
	return -1
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// unit returns the first code point of raw, the inside of a JSON string, or the one UTF-16 code unit that an escape
// stands for, and its length in raw.
func unit(raw []byte) (r rune, size int) {
	if raw[0] != '\\' {
		return utf8.DecodeRune(raw)
	}
	switch c := raw[1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		for _, c := range raw[2:6] {
			r = r<<4 | rune(unhex(c))
		}
		return r, 6
	default:
		return rune(c), 2
	}
}

// blank reports whether nothing of raw, the inside of a JSON string, is left when it is trimmed.
func blank(raw []byte) bool {
	for len(raw) > 0 {
		r, size := unit(raw)
		if !isSpace(r) {
			return false
		}
		raw = raw[size:]
	}
	return true
}

// longer reports whether raw, the inside of a JSON string, has more than most UTF-16 code units.
func longer(raw []byte, most int) bool {
	if len(raw) <= most { // a code unit takes at least a byte
		return false
	}
	for n := 0; len(raw) > 0; {
		r, size := unit(raw)
		n++
		if r >= firstAstral {
			n++
		}
		if n > most {
			return true
		}
		raw = raw[size:]
	}
	return false
}

// unescape returns what raw, the inside of a JSON string, stands for. A lone surrogate becomes three bytes.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		if raw[0] != '\\' {
			n := 1
			for n < len(raw) && raw[n] != '\\' {
				n++
			}
			out, raw = append(out, raw[:n]...), raw[n:]
			continue
		}
		r, size := unit(raw)
		raw = raw[size:]
		if r >= firstHighSurrogate && r < firstLowSurrogate && len(raw) > 0 && raw[0] == '\\' {
			if low, size := unit(raw); low >= firstLowSurrogate && low <= lastSurrogate {
				r, raw = firstAstral+(r-firstHighSurrogate)<<10+(low-firstLowSurrogate), raw[size:]
			}
		}
		out = appendUnit(out, r)
	}
	return out
}

// appendUnit appends r as UTF-8, a lone surrogate in the same way.
func appendUnit(dst []byte, r rune) []byte {
	if r >= firstHighSurrogate && r <= lastSurrogate {
		return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(dst, r)
}

// surrogateAt returns the lone surrogate that s has at i; 0 if there is none.
func surrogateAt[T string | []byte](s T, i int) rune {
	if s[i] == 0xed && i+2 < len(s) && s[i+1]&0xe0 == 0xa0 && s[i+2]&0xc0 == 0x80 {
		return rune(0xd000) | rune(s[i+1]&0x3f)<<6 | rune(s[i+2]&0x3f)
	}
	return 0
}

// appendString appends s in quotes, escaped as JSON.stringify does.
func appendString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0xed {
			continue
		}
		escape, size := byte(0), 1
		switch c {
		case '"', '\\':
			escape = c
		case '\b':
			escape = 'b'
		case '\f':
			escape = 'f'
		case '\n':
			escape = 'n'
		case '\r':
			escape = 'r'
		case '\t':
			escape = 't'
		}
		u := rune(c)
		if c == 0xed {
			if u = surrogateAt(s, i); u == 0 {
				continue
			}
			size = 3
		}
		dst = append(dst, s[from:i]...)
		if escape != 0 {
			dst = append(dst, '\\', escape)
		} else {
			dst = append(dst, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
		}
		i += size - 1
		from = i + 1
	}
	return append(append(dst, s[from:]...), '"')
}
