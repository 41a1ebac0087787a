package admission

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object whose names are unique at every depth. Names are matched exactly: encoding/json would let
// "EXP" override "exp" in a struct, and the last of two equal names win. Values are string, json.Number, bool, nil,
// object or []any.
type object map[string]any

// maxDepth is how deep objects and arrays may be nested.
const maxDepth = 32

var (
	errNoObject  = errors.New("it is no JSON object")
	errText      = errors.New("it is no valid Unicode text")
	errDuplicate = errors.New("a name comes twice in one object")
	errDepth     = errors.New("it is nested too deep")
)

// parseObject reads b, which must be exactly one object. Its errors hold no byte of b.
func parseObject(b []byte) (object, error) {
	if !utf8.Valid(b) || loneSurrogate(b) {
		return nil, errText
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	o, err := parseMembers(d, 1)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNoObject
	}
	return o, nil
}

func parseMembers(d *json.Decoder, depth int) (object, error) {
	o := object{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNoObject
		}
		if _, twice := o[name]; twice {
			return nil, errDuplicate
		}
		if o[name], err = parseValue(d, depth); err != nil {
			return nil, err
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, errNoObject
	}
	return o, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errNoObject
	}
	delim, ok := t.(json.Delim)
	switch {
	case !ok:
		return t, nil
	case depth == maxDepth:
		return nil, errDepth
	case delim == '{':
		return parseMembers(d, depth+1)
	}
	list := []any{}
	for d.More() {
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if t, err := d.Token(); err != nil || t != json.Delim(']') {
		return nil, errNoObject
	}
	return list, nil
}

// loneSurrogate reports whether b escapes half a character, as in "\ud800": encoding/json turns every such half into
// the same U+FFFD, so two different texts would become equal. It may be wrong about text that is no JSON.
func loneSurrogate(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 == len(b) {
			return false
		}
		r, ok := escaped(b[i:])
		b = b[i+2:]
		if !ok || !utf16.IsSurrogate(r) {
			continue
		}
		b = b[4:]
		low, ok := escaped(b)
		if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
			return true
		}
		b = b[6:]
	}
}

// escaped returns the UTF-16 code unit of \uXXXX at the start of b.
func escaped(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	u, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(u), err == nil
}

// maxInteger is the greatest integer that JavaScript, which the platform is written in, counts exactly.
const maxInteger = 1<<53 - 1

// integer reads a JSON number that is written as an integer.
func integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	return i, err == nil && i <= maxInteger && i >= -maxInteger
}

// textBetween reads a string of least to most UTF-16 code units, which is what the platform counts.
func textBetween(v any, least, most int) (string, bool) {
	s, ok := v.(string)
	if !ok || len(s) > 3*most { // the longest UTF-8 of one unit is three bytes
		return "", false
	}
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return s, n >= least && n <= most
}
