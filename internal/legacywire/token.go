package legacywire

import (
	"strings"

	"github.com/getviewport/relay/internal/reason"
)

const (
	minToken, maxToken = 10, 4096 // bytes; a real token is ASCII
	authPrefix         = "auth."
)

// Token returns the token of an upgrade from the first source that has one of 10 to 4,096 characters, in this order:
// the request's first Authorization header, its subprotocols, and, only if queryAllowed, its query. Without one the
// answer is 401; so it is for a token that is only in the query where that is not allowed.
func Token(authorization string, o Offer, q Query, queryAllowed bool) (string, error) {
	if token := bearer(authorization); isToken(token) {
		return token, nil
	}
	switch {
	case o.token != "":
		return o.token, nil
	case queryAllowed && isToken(q.token):
		return q.token, nil
	}
	return "", errNoToken
}

var errNoToken = reason.New(reason.TokenMissing,
	"the upgrade has no token in Authorization or Sec-WebSocket-Protocol; the query counts in mode dev only")

func isToken(s string) bool { return len(s) >= minToken && len(s) <= maxToken }

// bearer returns the token of an Authorization header, "" if it has none.
func bearer(authorization string) string {
	const scheme = "bearer"
	if len(authorization) <= len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return ""
	}
	rest := authorization[len(scheme):]
	if !isSpace(rune(rest[0])) {
		return ""
	}
	return trimLatin1(rest)
}

// trimLatin1 is JavaScript's trim for a header, each byte of which is a character.
func trimLatin1(s string) string {
	for s != "" && isSpace(rune(s[0])) {
		s = s[1:]
	}
	for s != "" && isSpace(rune(s[len(s)-1])) {
		s = s[:len(s)-1]
	}
	return s
}

// Offer is what the Sec-WebSocket-Protocol headers of an upgrade offer.
type Offer struct {
	// Select is the subprotocol to answer with, empty if none was offered: a browser gives up when it offered some and
	// gets none. It is the first that doesn't start with "auth.".
	Select string
	// SelectsToken: only entries with "auth." were offered, so Select, the first of them, may hold the token. It goes
	// back to whoever sent it, and nowhere else: never log an answer's Sec-WebSocket-Protocol.
	SelectsToken bool

	token string
}

// ParseOffer reads the Sec-WebSocket-Protocol headers of an upgrade. If they are not a list of different names (RFC
// 6455, section 4.1), which is answered with 400, the Offer still has the token that today's relays find in them: they
// answer 401 before 400.
func ParseOffer(lines []string) (Offer, error) {
	var o Offer
	if len(lines) == 0 {
		return o, nil
	}
	seen := make(map[string]bool)
	var err error
	for name := range strings.SplitSeq(strings.Join(lines, ", "), ",") {
		trimmed := trimLatin1(name)
		token, isAuth := strings.CutPrefix(trimmed, authPrefix)
		if isAuth && o.token == "" && isToken(token) {
			o.token = token
		}
		if !isHTTPToken(strings.Trim(name, "\t ")) || seen[trimmed] {
			err = errOffer
		}
		seen[trimmed] = true
		if o.Select == "" || o.SelectsToken && !isAuth {
			o.Select, o.SelectsToken = trimmed, isAuth
		}
	}
	if err != nil {
		return Offer{token: o.token}, err
	}
	return o, nil
}

var errOffer = reason.New(reason.FrameInvalid, "Sec-WebSocket-Protocol is not a list of different subprotocols")

// isHTTPToken reports whether s is a token of RFC 9110, section 5.6.2.
func isHTTPToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
