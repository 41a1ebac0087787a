package legacywire

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxWorkerPath is far above what a worker asks for, and below what servers take as a request line.
	maxWorkerPath = 8 << 10
	// maxEncodings is how often a path may be percent-encoded; more has no use but to hide something.
	maxEncodings = 3
)

// WorkerPathAllowed reports whether a worker that is admitted for these ids may ask the platform for path: it is the
// executor's own path or below it, is written in its normal form and stays below in whatever way a server reads it.
// So it can be sent as it is, which it has to be, because the worker signed it.
//
// Refused is what a URL parser would change or drop (dot segments, "#", blanks, an empty query), and besides what
// parsers disagree about: encoded separators and dots that make a dot segment, and path parameters on one.
func WorkerPathAllowed(path, workspace, executor string) bool {
	ws, ok1 := encodeURIComponent(workspace)
	ex, ok2 := encodeURIComponent(executor)
	if !ok1 || !ok2 || ws == "" || ex == "" || len(path) > maxWorkerPath {
		return false
	}
	own := workerPathPrefix + ws + "/managed-executors/" + ex
	rest, ok := strings.CutPrefix(path, own)
	if !ok || rest != "" && rest[0] != '/' {
		return false
	}
	path, query, hasQuery := strings.Cut(path, "?")
	return normalPath(path) && (!hasQuery || normalQuery(query))
}

// normalPath reports whether no URL parser changes path, and no server finds another one in it.
func normalPath(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
				return false
			}
		case isAlphanumeric(c) || strings.IndexByte("-._~!$&'()*+,;=:@/[]", c) >= 0:
		default:
			return false
		}
	}
	for range maxEncodings {
		if hasDotSegment(path) {
			return false
		}
		decoded := percentDecode(path, false)
		if decoded == path {
			return true
		}
		path = decoded
	}
	return false
}

// hasDotSegment reports whether a server may see "." or ".." as a segment of path, or a character that ends it.
func hasDotSegment(path string) bool {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return true
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment, _, _ = strings.Cut(segment, ";"); segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// normalQuery reports whether no URL parser changes the query of an http URL.
func normalQuery(query string) bool {
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '#' || c == '<' || c == '>' || c == '\'' {
			return false
		}
	}
	return query != ""
}

// encodeURIComponent is JavaScript's. It returns false where that throws.
func encodeURIComponent(s string) (string, bool) {
	const hex = "0123456789ABCDEF"
	if !utf8.ValidString(s) {
		return "", false
	}
	out := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		if c := s[i]; isAlphanumeric(c) || strings.IndexByte("-_.!~*'()", c) >= 0 {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out), true
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// percentDecode decodes what is percent-encoded in s, once, and leaves what is malformed as it is. In a form a plus is
// a space.
func percentDecode(s string, form bool) string {
	if !strings.ContainsRune(s, '%') && !(form && strings.ContainsRune(s, '+')) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		case s[i] == '+' && form:
			out = append(out, ' ')
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}
