package legacycrypto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

const (
	// MaxFrame is the longest text in bytes that Parse looks at: an envelope of MaxPlaintext with room to spare.
	MaxFrame = 1_572_864
	// maxControl is the longest text of any other frame. The longest that anybody sends has about 2 KiB.
	maxControl = 64 << 10
	// maxID is the longest id in bytes, of a request, a session, an offer or a peer: what the relay lets pass.
	maxID = 255
	// maxNumber is the highest integer that JavaScript can tell from its neighbours.
	maxNumber = 1<<53 - 1
)

var base64url = base64.RawURLEncoding.Strict()

// decodeBase64 reads base64url without padding in the one form that a value has: Go's decoder alone skips line breaks.
func decodeBase64(text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, false
	}
	out := make([]byte, base64url.DecodedLen(len(text)))
	n, err := base64url.Decode(out, text)
	return out[:n], err == nil
}

func encodeBase64(b []byte) string { return base64url.EncodeToString(b) }

// object reads the fields of one JSON object: names are matched exactly, of duplicates the last one counts, unknown
// ones do no harm. The first field that is not as it should be decides err; what was read before it is not used.
type object struct {
	what   string // names the object in errors
	fields map[string]json.RawMessage
	err    error
}

// parseObject fails with ErrFrame if text is not one JSON object.
func parseObject(what string, text []byte) (*object, error) {
	o := &object{what: what}
	// encoding/json's own errors quote the text.
	if json.Unmarshal(text, &o.fields) != nil || o.fields == nil {
		return nil, because(ErrFrame, "%s is not a JSON object", what)
	}
	return o, nil
}

func (o *object) fail(name, format string, args ...any) {
	if o.err == nil {
		o.err = because(because(ErrFrame, "%s: %s", o.what, name), format, args...)
	}
}

// text reads a string of any length; an absent one is an error.
func (o *object) text(name string) string {
	var s *string
	if json.Unmarshal(o.fields[name], &s) != nil || s == nil {
		o.fail(name, "absent or not a string")
		return ""
	}
	return *s
}

// id reads a string that is not blank and not longer than maxID.
func (o *object) id(name string) string {
	s := o.text(name)
	if o.err == nil && !validID(s) {
		o.fail(name, "blank or longer than %d bytes", maxID)
	}
	return s
}

func validID(s string) bool { return strings.TrimSpace(s) != "" && len(s) <= maxID }

// optionalID is "" for one that is absent, null or empty: for JavaScript they are all the same.
func (o *object) optionalID(name string) string {
	switch string(o.fields[name]) {
	case "", "null", `""`:
		return ""
	}
	return o.id(name)
}

// number reads an integer from 1 to maxNumber: digits only, as every sender of today writes them.
func (o *object) number(name string) uint64 {
	raw := o.fields[name]
	n, err := strconv.ParseUint(string(raw), 10, 64)
	// JSON has no leading zeros, and ParseUint takes no sign, point or exponent.
	if err != nil || n < 1 || n > maxNumber {
		o.fail(name, "not an integer from 1 to 2^53-1")
		return 0
	}
	return n
}

func (o *object) flag(name string) bool {
	switch string(o.fields[name]) {
	case "true":
		return true
	case "false":
	default:
		o.fail(name, "neither true nor false")
	}
	return false
}

func (o *object) profile() Profile {
	p := Profile(o.text("profile"))
	if o.err == nil && !p.Known() {
		o.fail("profile", "neither %s nor %s", NoiseIK, NoiseIKpsk2)
	}
	return p
}

// bytes reads base64url of least to most bytes.
func (o *object) bytes(name string, least, most int) []byte {
	raw := o.fields[name]
	if len(raw) >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		raw = raw[1 : len(raw)-1] // saves copying a megabyte twice
	} else {
		raw = []byte(o.text(name))
	}
	if o.err != nil {
		return nil
	}
	b, ok := decodeBase64(raw)
	switch {
	case !ok:
		o.fail(name, "not base64url without padding")
	case len(b) < least || len(b) > most:
		o.fail(name, "%d bytes, want %s", len(b), between(least, most))
	}
	return b
}

func between(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return strconv.Itoa(least) + " to " + strconv.Itoa(most)
}

// fixed reads base64url of exactly as many bytes as dst has.
func (o *object) fixed(name string, dst []byte) {
	if b := o.bytes(name, len(dst), len(dst)); o.err == nil {
		copy(dst, b)
	}
}

// point reads a public key, which is on the curve.
func (o *object) point(name string) (k PublicKey) {
	o.fixed(name, k[:])
	if o.err != nil {
		return PublicKey{}
	}
	if _, err := k.point(); err != nil {
		o.fail(name, "not an uncompressed point of P-256")
	}
	return k
}

// encode writes v as JavaScript would: compact, in the order of the fields, and with <, > and & as they are.
func encode(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings, numbers and flags always encode
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
