package admission

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Limits of what a token may look like.
const (
	// maxToken is the longest token in bytes.
	maxToken = 16 << 10
	// maxKeyID is the longest kid in bytes.
	maxKeyID = 128
)

// Algorithms that tokens may be signed with (RFC 7518, section 3.1; RFC 8037, section 3.1).
const (
	rs256 = "RS256"
	es256 = "ES256"
	eddsa = "EdDSA"
)

// strictBase64 refuses trailing bits that are not zero. It still skips CR and LF, hence the alphabet check before it.
var strictBase64 = base64.RawURLEncoding.Strict()

// header is what counts of a token's header. jku, x5u, x5c and jwk are ignored: keys come from the configured JWKS
// only.
type header struct{ algorithm, keyID string }

// preParse reads what golang-jwt is too lenient about, before golang-jwt sees the token: RFC 7515 forbids duplicate
// names (section 4), characters outside the base64url alphabet (section 2) and unknown critical headers (section
// 4.1.11). What it returns is read from the one and only encoding of the token's header and claims; no signature was
// checked. The token's length was: opaque comes first.
func preParse(token string) (header, object, error) {
	h, payload, err := splitToken(token)
	if err != nil {
		return header{}, nil, err
	}
	claims, err := parseObject(payload)
	if err != nil {
		return header{}, nil, errors.New("the token's claims are malformed: " + err.Error())
	}
	return h, claims, nil
}

// splitToken reads the header of a compact JWS and decodes its payload, whatever that is.
func splitToken(token string) (header, []byte, error) {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return header{}, nil, errors.New("the token has not three parts")
	}
	h, err := segment(parts[0])
	if err != nil {
		return header{}, nil, errors.New("the token's header is malformed: " + err.Error())
	}
	payload, err := decodeBase64(parts[1])
	if err != nil {
		return header{}, nil, errors.New("the token's claims are malformed: " + err.Error())
	}
	if b, err := decodeBase64(parts[2]); err != nil || len(b) == 0 {
		return header{}, nil, errors.New("the token's signature is malformed")
	}
	for _, name := range []string{"crit", "b64", "zip"} {
		if _, there := h[name]; there {
			return header{}, nil, errors.New("the token's header has " + name)
		}
	}
	var out header
	out.algorithm, _ = h["alg"].(string)
	if out.algorithm != rs256 && out.algorithm != es256 && out.algorithm != eddsa {
		return header{}, nil, errors.New("the token's alg is none of RS256, ES256, EdDSA")
	}
	var ok bool
	if out.keyID, ok = keyID(h["kid"]); !ok {
		return header{}, nil, errors.New("the token's kid is not 1 to 128 printable ASCII characters")
	}
	return out, payload, nil
}

// segment decodes a base64url part that holds an object.
func segment(s string) (object, error) {
	b, err := decodeBase64(s)
	if err != nil {
		return nil, err
	}
	return parseObject(b)
}

// decodeBase64 decodes canonical base64url without padding: no other text has the same bytes.
func decodeBase64(s string) ([]byte, error) {
	for i := range len(s) {
		if !letterOrDigit(s[i]) && s[i] != '-' && s[i] != '_' {
			return nil, errors.New("it is not base64url")
		}
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil {
		return nil, errors.New("it is not canonical base64url")
	}
	return b, nil
}

// keyID reads a kid, of a token or of a key.
func keyID(v any) (string, bool) {
	s, ok := v.(string)
	if !ok || s == "" || len(s) > maxKeyID {
		return "", false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return "", false
		}
	}
	return s, true
}

// opaque reports whether a token that only the platform can read may be sent to it (RFC 6750, section 2.1, has the
// same alphabet but for the place of "=").
func opaque(token string) bool {
	if len(token) > maxToken {
		return false
	}
	for i := range len(token) {
		if !letterOrDigit(token[i]) && strings.IndexByte("-._~+/=", token[i]) < 0 {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
