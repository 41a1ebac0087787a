package secrets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// marks are byte strings to look for, in every form in which software is likely to write them down.
type marks struct {
	forms []form
	// starts are the forms by their first four bytes, and likely tells by the first two whether there is any.
	starts map[uint32][]int
	likely [1 << 16]bool
}

type form struct {
	name  string
	bytes []byte
}

// add adds a mark of at least 12 bytes: shorter ones would be found by chance.
func (m *marks) add(name string, b []byte) {
	if len(b) < 12 {
		panic("the mark " + name + " is too short")
	}
	m.form(name, "raw", b)
	m.form(name, "hex", []byte(hex.EncodeToString(b)))
	m.form(name, "hex", []byte(strings.ToUpper(hex.EncodeToString(b))))
	for before := range 3 {
		m.form(name, "base64", inBase64(base64.RawStdEncoding, b, before))
		m.form(name, "base64", inBase64(base64.RawURLEncoding, b, before))
	}
	// fmt's ways: %v and %#v of bytes.
	m.form(name, "decimal", []byte(strings.Trim(fmt.Sprint(b[:12]), "[]")))
	_, list, _ := strings.Cut(fmt.Sprintf("%#v", b[:12]), "{")
	m.form(name, "Go", []byte(strings.TrimSuffix(list, "}")))
}

func (m *marks) addText(name, text string) string {
	m.add(name, []byte(text))
	return text
}

func (m *marks) form(name, how string, b []byte) {
	if m.starts == nil {
		m.starts = map[uint32][]int{}
	}
	name += " (" + how + ")"
	if slices.ContainsFunc(m.forms, func(f form) bool { return f.name == name && bytes.Equal(f.bytes, b) }) {
		return
	}
	start := binary.LittleEndian.Uint32(b)
	m.starts[start] = append(m.starts[start], len(m.forms))
	m.likely[uint16(start)] = true
	m.forms = append(m.forms, form{name, b})
}

// inBase64 is what every base64 text has that holds b behind a number of bytes that leaves this remainder.
func inBase64(e *base64.Encoding, b []byte, before int) []byte {
	text := e.EncodeToString(append(make([]byte, before), b...))
	return []byte(text[(before*8+5)/6 : (before+len(b))*8/6])
}

// find returns what is in b, each form once, with the first place.
func (m *marks) find(b []byte) []string {
	first := map[int]int{}
	for at := 0; at+4 <= len(b); at++ {
		start := binary.LittleEndian.Uint32(b[at:])
		if !m.likely[uint16(start)] {
			continue
		}
		for _, i := range m.starts[start] {
			if _, known := first[i]; !known && bytes.HasPrefix(b[at:], m.forms[i].bytes) {
				first[i] = at
			}
		}
	}
	var found []string
	for i, at := range first {
		around := b[max(0, at-60):at]
		found = append(found, fmt.Sprintf("%s at byte %d, after %q", m.forms[i].name, at, around))
	}
	slices.Sort(found)
	return found
}

// absent fails the test for every mark in what.
func (m *marks) absent(t *testing.T, what string, b []byte) {
	t.Helper()
	for _, f := range m.find(b) {
		t.Errorf("%s has %s", what, f)
	}
}

func TestTheSearchFindsAMarkInEveryForm(t *testing.T) {
	secret := []byte("\x00\xff\x10canary-of-\xfe\xfdthe-search")
	var m marks
	m.add("secret", secret)
	for _, text := range []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.StdEncoding.EncodeToString(secret), base64.URLEncoding.EncodeToString(append([]byte("a"), secret...)),
		base64.StdEncoding.EncodeToString(append([]byte("ab"), secret...)), fmt.Sprint(secret), fmt.Sprintf("%#v", secret),
	} {
		if len(m.find([]byte("before "+text+" behind"))) == 0 {
			t.Errorf("not found in %q", text)
		}
	}
	if found := m.find(bytes.Repeat([]byte("canary-of-the-search"), 10)); len(found) > 0 {
		t.Errorf("got %v in a text without it", found)
	}
}
