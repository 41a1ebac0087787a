package wsconn

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
)

// keyGUID goes into every Sec-WebSocket-Accept (RFC 6455, section 1.3).
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Refusal is why a request is no opening handshake, as HTTP says it.
type Refusal struct {
	// Status is 400, 405 or 426.
	Status int
	// Header is what the answer must have besides: "Allow", "Upgrade", "Sec-WebSocket-Version". It is not to be
	// changed.
	Header map[string]string
	// Text says what is wrong.
	Text string
}

// Error implements error.
func (r *Refusal) Error() string { return "wsconn: " + r.Text }

var (
	notGET     = &Refusal{http.StatusMethodNotAllowed, map[string]string{"Allow": "GET"}, "WebSocket is opened by GET"}
	tooOld     = &Refusal{http.StatusBadRequest, nil, "WebSocket needs HTTP/1.1"}
	noUpgrade  = &Refusal{http.StatusUpgradeRequired, upgradeHeader, "this is for WebSocket: send Upgrade: websocket"}
	notAsked   = &Refusal{http.StatusBadRequest, nil, "the header Connection lacks Upgrade"}
	badVersion = &Refusal{http.StatusUpgradeRequired, upgradeHeader, "Sec-WebSocket-Version has to be 13"}
	badKey     = &Refusal{http.StatusBadRequest, nil, "Sec-WebSocket-Key has to be 16 bytes in base64, once"}
	hasBody    = &Refusal{http.StatusBadRequest, nil, "the request must not have a body"}

	upgradeHeader = map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13, 8"}
)

// Check returns nil for a request that opens a WebSocket. Versions 13 and 8 are the same but for their numbers.
func Check(r *http.Request) *Refusal {
	switch {
	case r.Method != http.MethodGet:
		return notGET
	case !r.ProtoAtLeast(1, 1):
		return tooOld
	case !hasToken(r.Header.Values("Upgrade"), "websocket"):
		return noUpgrade
	case !hasToken(r.Header.Values("Connection"), "upgrade"):
		return notAsked
	case r.ContentLength != 0:
		return hasBody
	}
	if v := r.Header.Values("Sec-WebSocket-Version"); len(v) != 1 || v[0] != "13" && v[0] != "8" {
		return badVersion
	}
	if k := r.Header.Values("Sec-WebSocket-Key"); len(k) != 1 || !validKey(k[0]) {
		return badKey
	}
	return nil
}

func validKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// hasToken reports whether one of the elements of a list header is token, in whatever case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for e := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(e, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// AppendAccept appends the answer to a request with this Sec-WebSocket-Key, which Check has found good. protocol is the
// subprotocol to select, one that the request offers; empty: none.
func AppendAccept(dst []byte, key, protocol string) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	dst = append(append(append(dst, "Sec-WebSocket-Accept: "...), acceptOf(key)...), "\r\n"...)
	if protocol != "" {
		dst = append(append(append(dst, "Sec-WebSocket-Protocol: "...), protocol...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}
