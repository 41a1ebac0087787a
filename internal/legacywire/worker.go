package legacywire

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Request is what a worker asks the platform through the relay. Its parts own no memory of the frame.
type Request struct {
	// Method is GET, POST or PATCH.
	Method string
	// Path is the path and query that the worker signed. It may be any text that starts like the platform's worker
	// calls: ask WorkerPathAllowed, and then send exactly it.
	Path string
	// Headers are those of the request that are passed on, in lower case, each once.
	Headers []Header
	// BadHeader: a header that is passed on has a value that HTTP can't carry. Answer with AppendWorkerFailed, as
	// today's relays do when the platform can't be asked.
	BadHeader bool
	// Body is the request's body, empty if it has none. A GET has no body, whatever this says.
	Body []byte
}

// Header is one header of HTTP. The value has the bytes that HTTP carries, which are Latin-1.
type Header struct{ Name, Value string }

// passedOn are the request headers that reach the platform.
var passedOn = [...]string{
	"authorization", "accept", "content-type", "x-viewport-run-lease", "x-viewport-assignment-claim",
	"x-viewport-worker-fingerprint", "x-viewport-worker-timestamp", "x-viewport-worker-nonce",
	"x-viewport-worker-body-sha256", "x-viewport-worker-signature", "x-viewport-server-id",
}

// request takes the HTTP request of a WorkerRequest that was checked.
func (m *members) request() *Request {
	r := &Request{Method: string(m.string(fMethod)), Path: string(m.string(fPath))}
	if m.at[fBody].kind == aString {
		r.Body = withoutSurrogates(bytes.Clone(m.string(fBody)))
	}
	if m.at[fHeaders].kind == anObject {
		m.headers(r)
	}
	return r
}

// entry is a member of the headers that may be passed on.
type entry struct {
	name  string // in lower case
	value span
}

// headers takes the headers that are passed on. A repeated name has its last value, as in JavaScript, and so have two
// names that differ in case.
func (m *members) headers(r *Request) {
	var entries []entry
	index := make(map[string]int) // by exact name
	text := m.text
	for i := space(text, int(m.at[fHeaders].from)+1); text[i] == '"'; i = space(text, i+1) {
		to, escaped := stringEnd(text, i+1)
		name := text[i+1 : to]
		if escaped {
			name = unescape(name)
		}
		var e entry
		e.value, i = m.value(space(text, space(text, to+1)+1), 1)
		if e.name = passedName(name); e.name != "" {
			if at, again := index[string(name)]; again {
				entries[at] = e
			} else {
				index[string(name)] = len(entries)
				entries = append(entries, e)
			}
		}
		if i = space(text, i); text[i] != ',' {
			break
		}
	}
	for _, e := range entries {
		if e.value.kind == aString {
			r.set(e.name, m.stringOf(e.value))
		}
	}
}

// passedName returns name in lower case if it is of a header that is passed on, else "".
func passedName(name []byte) string {
	for _, passed := range passedOn {
		// Of one length, only ASCII can be equal.
		if len(name) == len(passed) && strings.EqualFold(string(name), passed) {
			return passed
		}
	}
	return ""
}

func (r *Request) set(name string, value []byte) {
	latin1, ok := headerValue(value)
	if !ok {
		r.BadHeader = true
		return
	}
	for i := range r.Headers {
		if r.Headers[i].Name == name {
			r.Headers[i].Value = latin1
			return
		}
	}
	r.Headers = append(r.Headers, Header{name, latin1})
}

// headerValue returns s as the bytes of a header's value, as fetch makes them, and whether there are such.
func headerValue(s []byte) (string, bool) {
	s = bytes.Trim(s, "\t\n\r ")
	latin1 := make([]byte, 0, len(s))
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		if r > 0xff || r == 0x7f || r < ' ' && r != '\t' {
			return "", false
		}
		latin1 = append(latin1, byte(r))
		s = s[size:]
	}
	return string(latin1), true
}

// withoutSurrogates replaces the lone surrogates in s by U+FFFD, in place.
func withoutSurrogates(s []byte) []byte {
	for i := range s {
		if surrogateAt(s, i) != 0 {
			copy(s[i:], "\ufffd")
		}
	}
	return s
}
