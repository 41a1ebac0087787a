package terminal

import "bytes"

// DefaultEscape is the escape character that a user of ssh expects.
const DefaultEscape = '~'

const ctrlZ = 'Z' & 0x1f

// action is what an escape sequence asks for.
type action uint8

const (
	none    action = iota
	detach         // escape character, full stop
	suspend        // escape character, Ctrl-Z
)

// pasteBegins and pasteEnds are what a terminal puts around a paste when the program asked for it (bracketed paste).
const (
	pasteBegins = "\x1b[200~"
	pasteEnds   = "\x1b[201~"
)

// escapes finds escape sequences in what is typed: the escape character at the start of a line and one more. Twice the
// escape character stands for itself; with any other character both pass. A bracketed paste passes as it is: nobody
// typed it.
type escapes struct {
	char    byte // static; 0: there are none
	midLine bool // the last byte that passed does not end a line
	held    bool // the escape character was typed at the start of a line
	pasting bool // pasteBegins has passed, pasteEnds has not
	matched int  // so many bytes of pasteEnds, or of pasteBegins, were the last that passed
}

// next appends what passes of typed to dst, up to the first sequence that asks for something, and returns what follows
// it. dst must have room for one byte more than typed, and may not overlap it.
func (e *escapes) next(dst, typed []byte) (passed []byte, a action, rest []byte) {
	if e.char == 0 {
		return append(dst, typed...), none, nil
	}
	for len(typed) > 0 {
		c := typed[0]
		if e.held {
			typed, e.held = typed[1:], false
			switch c {
			case '.':
				return dst, detach, typed
			case ctrlZ:
				return dst, suspend, typed
			case e.char:
				dst = append(dst, c)
			default:
				dst = append(dst, e.char, c)
			}
			e.pass(c)
			continue
		}
		if !e.midLine && !e.pasting && c == e.char {
			typed, e.held = typed[1:], true
			continue
		}
		// The rest of the line, with its end, passes as it is.
		n := 1 + bytes.IndexAny(typed, "\r\n")
		if n == 0 {
			n = len(typed)
		}
		dst = append(dst, typed[:n]...)
		for _, c := range typed[:n] {
			e.pass(c)
		}
		typed = typed[n:]
	}
	return dst, none, nil
}

// pass notes that c passed.
func (e *escapes) pass(c byte) {
	e.midLine = c != '\r' && c != '\n'
	mark := pasteBegins
	if e.pasting {
		mark = pasteEnds
	}
	if c != mark[e.matched] {
		e.matched = 0 // c may still be the first byte: no other is like it
	}
	if c == mark[e.matched] {
		e.matched++
	}
	if e.matched == len(mark) {
		e.pasting, e.matched = !e.pasting, 0
	}
}
