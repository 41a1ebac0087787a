package legacywire

import (
	"math"
	"strconv"
)

// MaxDepth is how deep objects and arrays of a frame may be nested, the frame itself counted. What is deeper is
// refused, which JSON.parse would not do: real frames have three levels, and the bound bounds the recursion here.
const MaxDepth = 64

// What a value of JSON is, by its first byte; numbers are all aNumber.
const (
	absent   = 0
	aString  = '"'
	anObject = '{'
	anArray  = '['
	aNumber  = '0'
	aTrue    = 't'
	aFalse   = 'f'
	aNull    = 'n'
)

// span is where a value is in its text. A string's is its inside.
type span struct {
	kind     byte // absent: there is no such member
	escaped  bool // a string with escapes
	from, to uint32
}

// members are the known members of a frame's outermost object; a repeated name has its last value, as in JavaScript.
type members struct {
	text []byte
	at   [fields]span
}

// scan finds the members of text. It returns false for what is not JSON, or not UTF-8, or no object, or nested too
// deeply.
func (m *members) scan(text []byte) bool {
	if uint64(len(text)) > math.MaxUint32 {
		return false
	}
	m.text = text
	i := space(text, 0)
	if i >= len(text) || text[i] != '{' {
		return false
	}
	i = m.object(i, 1)
	return i >= 0 && space(text, i) == len(text)
}

// object returns the index behind the object that starts at i, and records its members if depth is 1; -1 if it is
// none.
func (m *members) object(i, depth int) int {
	text := m.text
	if i = space(text, i+1); i < len(text) && text[i] == '}' {
		return i + 1
	}
	for ; ; i = space(text, i+1) {
		if i >= len(text) || text[i] != '"' {
			return -1
		}
		from := i + 1
		to, escaped := stringEnd(text, from)
		if to < 0 {
			return -1
		}
		if i = space(text, to+1); i >= len(text) || text[i] != ':' {
			return -1
		}
		s, end := m.value(space(text, i+1), depth)
		if end < 0 {
			return -1
		}
		if depth == 1 {
			name := text[from:to]
			if escaped {
				name = unescape(name)
			}
			if f := fieldOf(name); f != 0 {
				m.at[f] = s
			}
		}
		if i = space(text, end); i >= len(text) {
			return -1
		}
		switch text[i] {
		case '}':
			return i + 1
		case ',':
		default:
			return -1
		}
	}
}

// array returns the index behind the array that starts at i; -1 if it is none.
func (m *members) array(i, depth int) int {
	text := m.text
	if i = space(text, i+1); i < len(text) && text[i] == ']' {
		return i + 1
	}
	for ; ; i = space(text, i+1) {
		if _, i = m.value(i, depth); i < 0 {
			return -1
		}
		if i = space(text, i); i >= len(text) {
			return -1
		}
		switch text[i] {
		case ']':
			return i + 1
		case ',':
		default:
			return -1
		}
	}
}

// value returns the value that starts at i, inside what has this depth, and the index behind it; -1 if it is none.
func (m *members) value(i, depth int) (s span, end int) {
	text := m.text
	if i >= len(text) {
		return s, -1
	}
	from, to := i, -1
	switch c := text[i]; c {
	case '"':
		s.kind = aString
		from++
		if to, s.escaped = stringEnd(text, from); to < 0 {
			return s, -1
		}
		end = to + 1
	case '{', '[':
		if s.kind = c; depth >= MaxDepth {
			return s, -1
		}
		if c == '{' {
			end = m.object(i, depth+1)
		} else {
			end = m.array(i, depth+1)
		}
		to = end
	case 't':
		s.kind, end = c, literal(text, i, "true")
		to = end
	case 'f':
		s.kind, end = c, literal(text, i, "false")
		to = end
	case 'n':
		s.kind, end = c, literal(text, i, "null")
		to = end
	default:
		s.kind, end = aNumber, numberEnd(text, i)
		to = end
	}
	if end < 0 {
		return s, -1
	}
	s.from, s.to = uint32(from), uint32(to)
	return s, end
}

// space returns the index of the first byte from i on that is no white space of JSON.
func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

func literal(text []byte, i int, word string) int {
	if len(text)-i < len(word) || string(text[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// numberEnd returns the index behind the number at i; -1 if it is none.
func numberEnd(text []byte, i int) int {
	if i < len(text) && text[i] == '-' {
		i++
	}
	if i < len(text) && text[i] == '0' {
		i++
	} else if i = digits(text, i); i < 0 {
		return -1
	}
	if i < len(text) && text[i] == '.' {
		if i = digits(text, i+1); i < 0 {
			return -1
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		return digits(text, i)
	}
	return i
}

// digits returns the index behind the digits at i; -1 if there is none.
func digits(text []byte, i int) int {
	from := i
	for i < len(text) && text[i]-'0' < 10 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// integer returns the value of s if it is a number that JavaScript's Number.isInteger accepts and that is less than
// 2^53 either way. The number counts as JavaScript reads it, which is the nearest float64: 1.0 and 1e2 are integers.
// Today's relays set no bound; from 2^53 on a float64 no longer tells one sequence from the next.
func (m *members) integer(s span) (int64, bool) {
	if s.kind != aNumber {
		return 0, false
	}
	raw := m.text[s.from:s.to]
	if len(raw) <= 15 {
		n := int64(0)
		for _, c := range raw {
			if c -= '0'; c > 9 {
				n = -1
				break
			}
			n = n*10 + int64(c)
		}
		if n >= 0 {
			return n, true
		}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}
