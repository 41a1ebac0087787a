package terminal

import (
	"fmt"
	"strings"
	"unicode"
)

// Code is the reason of an ERROR message. Codes of later versions are shown by their text.
type Code uint8

// The codes of ERROR (docs/terminal.md, ERROR).
const (
	CodeProtocol Code = 1 // what the client sent is malformed or out of place
	CodeVersion  Code = 2 // the client speaks a version that the daemon does not
	CodeRefused  Code = 3 // the daemon does not run what was asked for
	CodeStart    Code = 4 // the command could not be started
	CodeStopped  Code = 5 // the daemon ends the session: it is shutting down
)

// Error is what a daemon says when it does not run the command to its end. Attach returns the one that it received,
// with everything unprintable in its text replaced; Serve returns the one that it sent.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

func failure(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// printable makes text of the other side safe to show: it could hold escape sequences.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
