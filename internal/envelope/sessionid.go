package envelope

import (
	"crypto/sha256"
	"encoding/base32"
)

const (
	sessionAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	sessionIDLen    = 26 // base32 of 16 bytes without padding
)

// base32 in lower case without padding (RFC 4648, section 6).
var sessionEncoding = base32.NewEncoding(sessionAlphabet).WithPadding(base32.NoPadding)

// SessionID is the id of the native session that belongs to bindKey: base32 of the first 16 bytes of its SHA-256.
func SessionID(bindKey []byte) string {
	id := sessionID(bindKey)
	return string(id[:])
}

// ValidSessionID reports whether b has the form of a native session id: 26 bytes of [a-z2-7] whose two spare bits are
// zero, so that a session has exactly one id.
func ValidSessionID(b []byte) bool {
	if len(b) != sessionIDLen {
		return false
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	switch b[sessionIDLen-1] {
	case 'a', 'e', 'i', 'm', 'q', 'u', 'y', '4':
		return true
	}
	return false
}

// OwnsSession reports whether bindKey is 16 bytes and session is its id. It does not allocate.
func OwnsSession(bindKey, session []byte) bool {
	id := sessionID(bindKey)
	return len(bindKey) == bindKeyLen && string(id[:]) == string(session)
}

func sessionID(bindKey []byte) (id [sessionIDLen]byte) {
	sum := sha256.Sum256(bindKey)
	sessionEncoding.Encode(id[:], sum[:16])
	return id
}
