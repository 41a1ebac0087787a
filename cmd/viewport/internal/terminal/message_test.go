package terminal

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// messages of every kind, with the bytes of docs/terminal.md.
var messages = []struct {
	name  string
	m     message
	bytes string
}{
	{"HELLO", message{kind: kindHello, version: 1, hello: hello{pty: true, size: size{80, 24, 640, 480},
		command: []string{"ls", "-l"}, env: []variable{{"TERM", "xterm"}}}},
		"\x01\x01\x01\x00\x50\x00\x18\x02\x80\x01\xe0\x00\x02\x00\x02ls\x00\x02-l\x00\x01\x00\x04TERM\x00\x05xterm"},
	{"HELLO for the shell", message{kind: kindHello, version: 1}, "\x01\x01\x00" + strings.Repeat("\x00", 12)},
	{"ACCEPT", message{kind: kindAccept, version: 1, credit: 1 << 20}, "\x02\x01\x00\x10\x00\x00"},
	{"ERROR", message{kind: kindError, code: 3, text: "no"}, "\x03\x03no"},
	{"STDIN", message{kind: kindStdin, data: []byte("a\x00")}, "\x04a\x00"},
	{"STDOUT", message{kind: kindStdout, data: []byte("b")}, "\x05b"},
	{"STDERR", message{kind: kindStderr, data: []byte("c")}, "\x06c"},
	{"CREDIT", message{kind: kindCredit, credit: 258}, "\x07\x00\x00\x01\x02"},
	{"RESIZE", message{kind: kindResize, size: size{1, 2, 3, 4}}, "\x08\x00\x01\x00\x02\x00\x03\x00\x04"},
	{"EOF", message{kind: kindEOF}, "\x09"},
	{"SIGNAL", message{kind: kindSignal, signal: "USR1"}, "\x0aUSR1"},
	{"EXIT", message{kind: kindExit, code: 143, signal: "TERM"}, "\x0b\x8fTERM"},
}

func TestEveryMessageHasTheBytesOfTheDocument(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.m.append(nil)); got != tt.bytes {
				t.Errorf("got %q, want %q", got, tt.bytes)
			}
			got, err := parse([]byte(tt.bytes))
			if err != nil || !reflect.DeepEqual(got, tt.m) {
				t.Errorf("parsed %+v (%v), want %+v", got, err, tt.m)
			}
		})
	}
}

func TestMessagesThatEndEarlyAreRefusedAndLongerOnesAreNot(t *testing.T) {
	for _, tt := range messages {
		switch tt.m.kind {
		case kindHello, kindAccept, kindCredit, kindResize:
		default:
			continue // their last field is the rest of the message
		}
		for n := 1; n < len(tt.bytes); n++ {
			if m, err := parse([]byte(tt.bytes[:n])); err == nil {
				t.Errorf("%s cut to %d bytes: got %+v, want an error", tt.name, n, m)
			}
		}
		got, err := parse([]byte(tt.bytes + "later"))
		if err != nil || !reflect.DeepEqual(got, tt.m) {
			t.Errorf("%s with bytes of a later version: got %+v (%v), want %+v", tt.name, got, err, tt.m)
		}
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	for name, b := range map[string]string{
		"empty":               "",
		"too long":            "\x04" + strings.Repeat("x", MaxMessage),
		"signal in lowercase": "\x0aint",
		"signal too long":     "\x0a" + strings.Repeat("A", maxSignal+1),
		"exit without status": "\x0b",
		"exit with a path":    "\x0b\x00../..",
	} {
		if m, err := parse([]byte(b)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, m)
		}
	}
}

func TestUnknownKindsAndForeignVersionsParse(t *testing.T) {
	for b, want := range map[string]message{
		"\x63what is this": {kind: 99},
		"\x01\x02":         {kind: kindHello, version: 2},
		"\x02\x09":         {kind: kindAccept, version: 9},
	} {
		if got, err := parse([]byte(b)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v (%v), want %+v", b, got, err, want)
		}
	}
}

func TestWhatADaemonSaysCannotTouchTheTerminal(t *testing.T) {
	if got, want := printable("no\x1b]0;evil\a\n\xff ähm"), "no?]0;evil??\ufffd ähm"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range messages {
		f.Add([]byte(tt.bytes))
	}
	f.Add([]byte("\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		again, err := parse(m.append(nil))
		if m.version != Version && (m.kind == kindHello || m.kind == kindAccept) {
			return // the rest of a foreign version is unknown
		}
		if err != nil || !bytes.Equal(again.append(nil), m.append(nil)) {
			t.Errorf("got %+v (%v) from what %+v is written as", again, err, m)
		}
	})
}

func TestEscapeSequencesAreSeenAtTheStartOfALineOnly(t *testing.T) {
	for _, tt := range []struct {
		name, typed, passed string
		what                action
		rest                string
	}{
		{"text", "hello ~. there", "hello ~. there", none, ""},
		{"detach first", "~.x", "", detach, "x"},
		{"detach after a line", "ls\r~.", "ls\r", detach, ""},
		{"detach after a newline", "a\nb\n~.", "a\nb\n", detach, ""},
		{"suspend", "ls\r~\x1afoo", "ls\r", suspend, "foo"},
		{"itself", "~~.", "~.", none, ""},
		{"another character", "~a~.", "~a~.", none, ""},
		{"a line's end", "~\r~.", "~\r", detach, ""},
		{"held", "\r~", "\r", none, ""},
		{"paste", "\x1b[200~a\n~.~~\n~\x1a\n~~", "\x1b[200~a\n~.~~\n~\x1a\n~~", none, ""},
		{"after a paste", "\x1b[200~a\n~.\n\x1b[201~~.\r~.", "\x1b[200~a\n~.\n\x1b[201~~.\r", detach, ""},
		{"what looks like the end of a paste", "\x1b[200~\x1b[201\x1b\x1b[20\n~.", "\x1b[200~\x1b[201\x1b\x1b[20\n~.", none, ""},
		{"what looks like a paste", "\x1b[200\r~.", "\x1b[200\r", detach, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			whole := escapes{char: '~'}
			passed, what, rest := whole.next(nil, []byte(tt.typed))
			if string(passed) != tt.passed || what != tt.what || string(rest) != tt.rest {
				t.Errorf("got %q, %d, rest %q, want %q, %d, rest %q", passed, what, rest, tt.passed, tt.what, tt.rest)
			}
			// Byte by byte as from a keyboard it is the same.
			single, passed, what := escapes{char: '~'}, nil, none
			for i := 0; i < len(tt.typed) && what == none; i++ {
				passed, what, _ = single.next(passed, []byte{tt.typed[i]})
			}
			if string(passed) != tt.passed || what != tt.what {
				t.Errorf("byte by byte: got %q, %d, want %q, %d", passed, what, tt.passed, tt.what)
			}
		})
	}
	off := escapes{}
	if passed, what, _ := off.next(nil, []byte("~.")); string(passed) != "~." || what != none {
		t.Errorf("without an escape character: got %q, %d, want %q, %d", passed, what, "~.", none)
	}
}
