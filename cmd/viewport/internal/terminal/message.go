package terminal

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Version is the version of the terminal protocol that this package speaks.
const Version = 1

const (
	// MaxMessage is the size of the longest message in bytes: four full frames of the relay protocol.
	MaxMessage = 64_000
	// maxData is what fits into one STDIN, STDOUT or STDERR.
	maxData = MaxMessage - 1
	// maxText bounds the text of an ERROR in bytes.
	maxText = 1024
	// maxSignal bounds the name of a signal in bytes.
	maxSignal = 16
	// minWindow is the least input window a daemon may announce.
	minWindow = maxData
)

// kind is the first byte of a message (docs/terminal.md, Messages).
type kind uint8

const (
	kindHello  kind = 1  // client: version, flags, size, command, environment
	kindAccept kind = 2  // daemon: version, input window
	kindError  kind = 3  // daemon: code, text; the end of the conversation
	kindStdin  kind = 4  // client: bytes
	kindStdout kind = 5  // daemon: bytes
	kindStderr kind = 6  // daemon: bytes, without a pseudo-terminal only
	kindCredit kind = 7  // daemon: so many more bytes of input may come
	kindResize kind = 8  // client: size
	kindEOF    kind = 9  // client: end of input
	kindSignal kind = 10 // client: name
	kindExit   kind = 11 // daemon: status, name of the signal; the last message
)

// size is a window's size in cells and, where known, in pixels.
type size struct {
	cols, rows, xpixel, ypixel uint16
}

// variable is one environment variable.
type variable struct {
	name, value string
}

// hello is the body of HELLO. Of a foreign version nothing but the version is known.
type hello struct {
	pty     bool
	size    size
	command []string
	env     []variable
}

const helloPTY = 1 << 0

// message is one message, parsed. A field that its kind does not have is zero.
type message struct {
	kind    kind
	version uint8  // HELLO, ACCEPT
	code    uint8  // ERROR: a Code; EXIT: the status, 128+n after signal n
	text    string // ERROR
	signal  string // SIGNAL, EXIT: name without SIG
	credit  uint32 // ACCEPT: the input window; CREDIT
	size    size   // RESIZE
	hello   hello  // HELLO
	data    []byte // STDIN, STDOUT, STDERR: aliases the bytes it was parsed from
}

// parse reads one message. Of a kind that it does not know it returns only the kind, without an error; of a foreign
// version only kind and version. Bytes after the last field are ignored, so that later versions can add some.
func parse(b []byte) (message, error) {
	if len(b) == 0 {
		return message{}, fmt.Errorf("empty message")
	}
	if len(b) > MaxMessage {
		return message{}, fmt.Errorf("message of %d bytes, at most %d are allowed", len(b), MaxMessage)
	}
	m := message{kind: kind(b[0])}
	r := reader{rest: b[1:]}
	switch m.kind {
	case kindHello:
		if m.version = r.u8(); m.version == Version {
			m.hello = r.hello()
		}
	case kindAccept:
		if m.version = r.u8(); m.version == Version {
			m.credit = r.u32()
		}
	case kindError:
		m.code = r.u8()
		m.text = string(r.rest[:min(len(r.rest), maxText)])
	case kindStdin, kindStdout, kindStderr:
		m.data = r.rest
	case kindCredit:
		m.credit = r.u32()
	case kindResize:
		m.size = r.size()
	case kindSignal:
		m.signal = r.signal()
	case kindExit:
		m.code = r.u8()
		m.signal = r.signal()
	}
	if r.short {
		return message{}, fmt.Errorf("malformed message of kind %d: %d bytes", b[0], len(b))
	}
	return m, nil
}

// append adds the message's bytes to dst. The result may exceed MaxMessage for a HELLO only, whose sender checks it.
func (m *message) append(dst []byte) []byte {
	dst = append(dst, byte(m.kind))
	switch m.kind {
	case kindHello:
		dst = m.hello.append(append(dst, m.version))
	case kindAccept:
		dst = binary.BigEndian.AppendUint32(append(dst, m.version), m.credit)
	case kindError:
		dst = append(append(dst, m.code), m.text[:min(len(m.text), maxText)]...)
	case kindStdin, kindStdout, kindStderr:
		dst = append(dst, m.data...)
	case kindCredit:
		dst = binary.BigEndian.AppendUint32(dst, m.credit)
	case kindResize:
		dst = m.size.append(dst)
	case kindSignal:
		dst = append(dst, m.signal...)
	case kindExit:
		dst = append(append(dst, m.code), m.signal...)
	}
	return dst
}

func (s size) append(dst []byte) []byte {
	for _, v := range [...]uint16{s.cols, s.rows, s.xpixel, s.ypixel} {
		dst = binary.BigEndian.AppendUint16(dst, v)
	}
	return dst
}

func (h *hello) append(dst []byte) []byte {
	var flags byte
	if h.pty {
		flags |= helloPTY
	}
	dst = h.size.append(append(dst, flags))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.command)))
	for _, argument := range h.command {
		dst = appendString(dst, argument)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.env)))
	for _, v := range h.env {
		dst = appendString(appendString(dst, v.name), v.value)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// reader takes fields from the front of a message; short tells that one was missing.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) size() size {
	return size{cols: r.u16(), rows: r.u16(), xpixel: r.u16(), ypixel: r.u16()}
}

func (r *reader) string() string {
	return string(r.take(int(r.u16())))
}

// signal is the rest of the message: a name of capital letters and digits, or nothing.
func (r *reader) signal() string {
	if len(r.rest) > maxSignal || strings.Trim(string(r.rest), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		r.short = true
	}
	return string(r.rest)
}

// hello stops at the first field that is missing, so that a count in the message never says how much is allocated.
func (r *reader) hello() hello {
	h := hello{pty: r.u8()&helloPTY != 0, size: r.size()}
	for n := r.u16(); n > 0 && !r.short; n-- {
		h.command = append(h.command, r.string())
	}
	for n := r.u16(); n > 0 && !r.short; n-- {
		h.env = append(h.env, variable{name: r.string(), value: r.string()})
	}
	return h
}
