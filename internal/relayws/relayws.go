// Package relayws is what both ends of the native protocol over WebSocket have to agree on beside its messages: how it
// is asked for, and how a link's last word is written (docs/protocol.md, WebSocket).
package relayws

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

const (
	// Path is where a relay opens WebSockets.
	Path = "/ws"
	// Subprotocol is what a native endpoint offers and the relay selects.
	Subprotocol = "viewport.relay.v1"
	// CodeEnded is the code of the close frame that says why the relay ends a link.
	CodeEnded = 4000
	// HeaderVersion and HeaderAttempt are headers that an endpoint may send, as gRPC's metadata of these names.
	HeaderVersion = "Viewport-Version"
	HeaderAttempt = "Viewport-Connect-Attempt"
)

// TokenEntry is the entry of Sec-WebSocket-Protocol that carries a token. The relay never selects it.
func TokenEntry(token string) string { return "auth." + token }

// Announcement is the relay's first message, a text: what gRPC has as response headers, by their names.
func Announcement(pairs [][2]string) []byte {
	object := make(map[string]string, len(pairs))
	for _, p := range pairs {
		object[p[0]] = p[1]
	}
	text, _ := json.Marshal(object) // strings only: it can't fail
	return text
}

// ParseAnnouncement reads it.
func ParseAnnouncement(text []byte) (map[string]string, error) {
	var object map[string]string
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, reason.New(reason.FrameInvalid, "the relay's first message is no announcement")
	}
	return object, nil
}

// FormatEnd is the text of the close frame for e: its code, and behind a blank its retry_after in milliseconds, rounded
// up, if it has one. It has at most 123 bytes.
func FormatEnd(e *reason.Error) string {
	text := string(e.Code)
	if e.RetryAfter > 0 {
		text += " " + strconv.FormatInt(int64((e.RetryAfter+time.Millisecond-1)/time.Millisecond), 10)
	}
	return text
}

// ParseEnd reads the text of a close frame of CodeEnded. A text that is none gives INTERNAL, and a code that this
// release does not know comes as it is: it is final.
func ParseEnd(text string) *reason.Error {
	code, retry, retries := strings.Cut(text, " ")
	if code == "" || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return &reason.Error{Code: reason.Internal}
	}
	e := &reason.Error{Code: reason.Code(code)}
	if ms, err := strconv.ParseInt(retry, 10, 32); retries && err == nil && ms > 0 {
		e.RetryAfter = time.Duration(ms) * time.Millisecond
	}
	return e
}
