package tap

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// MinMark is the length of the shortest mark in bytes: short ones would be found by chance.
const MinMark = 12

// Mark is something to look for.
type Mark struct {
	// Name is what a report calls it.
	Name string
	// Bytes are what it is, at least MinMark.
	Bytes []byte
}

// Finding is how often a mark was found in one form.
type Finding struct {
	Mark string
	// Form is "raw", "hex" or "base64".
	Form  string
	Count int
	// First is the offset in the stream where the first one begins, in bytes.
	First int64
}

func (f Finding) String() string {
	return fmt.Sprintf("%s (%s) %d times, first at byte %d", f.Mark, f.Form, f.Count, f.First)
}

// Marks are marks in all forms that are looked for, ready for a Search. They may be shared.
//
// The search is Wu and Manber's: it looks at two bytes, and if no form has them among its first bytes it goes on as
// far as no form can begin. Time hardly depends on the number of forms: some 0.1 s for 100 MiB.
type Marks struct {
	forms   []form
	reach   int // length of the shortest form
	longest int
	shift   [1 << 16]uint8
	ends    map[uint16][]int // forms by their bytes reach-2 and reach-1
}

type form struct {
	mark, name string
	bytes      []byte
}

// NewMarks prepares marks: each is looked for as it is, in hex (both cases) and in base64 (both alphabets, at each of
// the three positions it can have within a longer text).
func NewMarks(marks ...Mark) (*Marks, error) {
	m := &Marks{ends: map[uint16][]int{}}
	for _, mark := range marks {
		if len(mark.Bytes) < MinMark {
			return nil, fmt.Errorf("tap: mark %q has %d bytes, at least %d are needed", mark.Name, len(mark.Bytes), MinMark)
		}
		m.add(mark.Name, "raw", mark.Bytes)
		text := hex.EncodeToString(mark.Bytes)
		m.add(mark.Name, "hex", []byte(text))
		m.add(mark.Name, "hex", []byte(strings.ToUpper(text)))
		for before := range 3 {
			m.add(mark.Name, "base64", base64Core(base64.RawStdEncoding, mark.Bytes, before))
			m.add(mark.Name, "base64", base64Core(base64.RawURLEncoding, mark.Bytes, before))
		}
	}
	if len(m.forms) == 0 {
		return m, nil
	}
	m.reach = len(m.forms[0].bytes)
	for _, f := range m.forms {
		m.reach = min(m.reach, len(f.bytes))
		m.longest = max(m.longest, len(f.bytes))
	}
	m.reach = min(m.reach, 255)
	for i := range m.shift {
		m.shift[i] = uint8(m.reach - 1)
	}
	for i, f := range m.forms {
		for at := 0; at+2 <= m.reach; at++ {
			pair := pairAt(f.bytes, at)
			m.shift[pair] = min(m.shift[pair], uint8(m.reach-2-at))
			if at == m.reach-2 {
				m.ends[pair] = append(m.ends[pair], i)
			}
		}
	}
	return m, nil
}

func (m *Marks) add(mark, name string, b []byte) {
	if !slices.ContainsFunc(m.forms, func(f form) bool { return f.mark == mark && bytes.Equal(f.bytes, b) }) {
		m.forms = append(m.forms, form{mark: mark, name: name, bytes: b})
	}
}

// base64Core is what every base64 text has that holds b after a number of bytes that leaves this remainder: the
// characters that depend on b alone.
func base64Core(e *base64.Encoding, b []byte, before int) []byte {
	text := e.EncodeToString(append(make([]byte, before), b...))
	first := (before*8 + 5) / 6
	last := (before + len(b)) * 8 / 6
	return []byte(text[first:last])
}

func pairAt(b []byte, i int) uint16 { return uint16(b[i])<<8 | uint16(b[i+1]) }

// Search looks for marks in one stream of bytes, however it is cut into pieces. Not for use by several goroutines at
// once.
type Search struct {
	// Static.
	marks *Marks

	tail  []byte // the last bytes, at most longest-1: a form may begin there
	done  int64  // bytes that came before tail
	buf   []byte // reused
	count []int  // by form
	first []int64
}

// NewSearch begins a search.
func (m *Marks) NewSearch() *Search {
	return &Search{marks: m, count: make([]int, len(m.forms)), first: make([]int64, len(m.forms))}
}

// Write looks at the next bytes of the stream. It never fails and keeps no reference to p.
func (s *Search) Write(p []byte) (int, error) {
	s.buf = append(append(s.buf[:0], s.tail...), p...)
	s.scan(s.buf, len(s.tail))
	cut := max(0, len(s.buf)-max(0, s.marks.longest-1))
	s.tail = append(s.tail[:0], s.buf[cut:]...)
	s.done += int64(cut)
	return len(p), nil
}

// scan counts the forms in b that end behind old: those that end before were counted when old was new.
func (s *Search) scan(b []byte, old int) {
	m := s.marks
	if m.reach == 0 {
		return
	}
	for at := 0; at+m.reach <= len(b); {
		pair := pairAt(b, at+m.reach-2)
		if skip := m.shift[pair]; skip > 0 {
			at += int(skip)
			continue
		}
		for _, i := range m.ends[pair] {
			f := m.forms[i].bytes
			if at+len(f) > old && bytes.HasPrefix(b[at:], f) {
				if s.count[i] == 0 {
					s.first[i] = s.done + int64(at)
				}
				s.count[i]++
			}
		}
		at++
	}
}

// Bytes returns how many bytes were looked at.
func (s *Search) Bytes() int64 { return s.done + int64(len(s.tail)) }

// Findings returns what was found, in the order of the marks.
func (s *Search) Findings() []Finding {
	var found []Finding
	for i, n := range s.count {
		if n > 0 {
			f := s.marks.forms[i]
			found = append(found, Finding{Mark: f.mark, Form: f.name, Count: n, First: s.first[i]})
		}
	}
	return found
}
