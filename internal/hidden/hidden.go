// Package hidden keeps secrets out of whatever is formatted, logged or marshalled.
//
// It hides nothing by itself in an unexported field of somebody else's struct: fmt can't call methods there and prints
// what lies there. What may end up so keeps the bytes of its secrets in closures or behind two pointers.
package hidden

import (
	"fmt"
	"io"
	"log/slog"
)

// Mark is embedded in what holds secrets beside no public part worth showing: formatted, logged or marshalled it says
// only that something is hidden. Its methods have value receivers, so that a copy hides as well as a pointer does.
type Mark struct{}

const text = "[hidden]"

// Format implements [fmt.Formatter] for every verb; it shows nothing.
func (Mark) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, text) }

// String implements [fmt.Stringer] for who calls it directly; it shows nothing.
func (Mark) String() string { return text }

// GoString implements [fmt.GoStringer]; it shows nothing.
func (Mark) GoString() string { return text }

// LogValue implements [slog.LogValuer]; it shows nothing.
func (Mark) LogValue() slog.Value { return slog.StringValue(text) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json asks too; it shows nothing.
func (Mark) MarshalText() ([]byte, error) { return []byte(text), nil }
