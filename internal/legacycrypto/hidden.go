package legacycrypto

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is embedded in what holds secrets: formatted, logged or marshalled it says only that something is hidden. Its
// methods have value receivers, so that a copy hides as well as a pointer does. Where it ends up in an unexported field
// fmt can't call methods and prints what lies there; so the bytes of secrets lie in closures or behind two pointers.
type hidden struct{}

const hiddenText = "[hidden]"

// Format implements [fmt.Formatter] for every verb; it shows nothing.
func (hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenText) }

// String implements [fmt.Stringer] for who calls it directly; it shows nothing.
func (hidden) String() string { return hiddenText }

// GoString implements [fmt.GoStringer]; it shows nothing.
func (hidden) GoString() string { return hiddenText }

// LogValue implements [slog.LogValuer]; it shows nothing.
func (hidden) LogValue() slog.Value { return slog.StringValue(hiddenText) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json asks too; it shows nothing.
func (hidden) MarshalText() ([]byte, error) { return []byte(hiddenText), nil }
