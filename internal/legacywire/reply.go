package legacywire

import (
	"bytes"
	"strconv"
)

// StatusCode says what a relay_status is about.
type StatusCode string

// The codes of relay_status.
const (
	InvalidFrame           StatusCode = "INVALID_FRAME"
	SessionEventsScopeOnly StatusCode = "SESSION_EVENTS_SCOPE_ONLY"
	RuntimeTargetRequired  StatusCode = "RUNTIME_TARGET_REQUIRED"
	DaemonUnavailable      StatusCode = "DAEMON_UNAVAILABLE"
	RelayRedirect          StatusCode = "RELAY_REDIRECT"
)

var statusMessages = map[StatusCode]string{
	InvalidFrame:           "client frame must be a valid runtime or pairing control frame",
	SessionEventsScopeOnly: "session-events scoped clients can only subscribe to authorized session event channels",
	RuntimeTargetRequired:  "Runtime client must specify a runtime target",
	DaemonUnavailable:      "No machine runtime is connected for this runtime target",
	RelayRedirect:          "Workspace is assigned to a different relay instance",
}

// Status is a relay_status.
type Status struct {
	Code      StatusCode
	Workspace string
	// Target is left out if empty. It goes with DaemonUnavailable and RelayRedirect only.
	Target string
	// Machine is the claim machineId of the client's token, left out if empty. It goes with DaemonUnavailable only.
	Machine string
	// URL is the other relay's. It goes with RelayRedirect, which a daemon obeys until it restarts.
	URL string
}

// Append appends the text of s.
func (s Status) Append(dst []byte) []byte {
	dst = appendMember(append(dst, `{"type":"relay_status","code":`...), "", string(s.Code))
	dst = appendMember(dst, `,"message":`, statusMessages[s.Code])
	dst = appendMember(dst, `,"workspaceId":`, s.Workspace)
	switch s.Code {
	case RuntimeTargetRequired:
		dst = append(dst, `,"retryable":false`...)
	case DaemonUnavailable:
		dst = append(dst, `,"retryable":true`...)
		dst = appendOptional(dst, `,"runtimeTargetId":`, s.Target)
		dst = appendOptional(dst, `,"machineId":`, s.Machine)
	case RelayRedirect:
		dst = appendOptional(dst, `,"runtimeTargetId":`, s.Target)
		dst = appendMember(dst, `,"relayWsBaseUrl":`, s.URL)
	}
	return append(dst, '}')
}

// AppendSubscribed appends the answer to a Subscribe of an authorised channel, which is given trimmed.
func AppendSubscribed(dst, channel []byte, afterSequence int64) []byte {
	dst = appendMember(dst, `{"type":"viewport.session_events.subscribed/v1","channel":`, channel)
	dst = strconv.AppendInt(append(dst, `,"afterSequence":`...), afterSequence, 10)
	return append(dst, `,"authoritativeSource":"session_events","websocketRequiredForBackfill":false}`...)
}

// AppendUnsubscribed appends the answer to an Unsubscribe of an authorised channel, which is given trimmed.
func AppendUnsubscribed(dst, channel []byte) []byte {
	return append(appendMember(dst, `{"type":"viewport.session_events.unsubscribed/v1","channel":`, channel), '}')
}

// AppendDenied appends the answer to a session-events frame of this kind whose channel, which is given trimmed, the
// client is not authorised for.
func AppendDenied(dst []byte, k Kind, channel []byte, workspace string) []byte {
	start := `{"type":"viewport.session_events.subscribe_denied/v1","channel":`
	if k == ViewerPresence {
		start = `{"type":"viewport.session_viewer_presence_denied/v1","channel":`
	}
	dst = append(appendMember(dst, start, channel), `,"reason":"CHANNEL_NOT_AUTHORIZED"`...)
	return append(appendMember(dst, `,"workspaceId":`, workspace), '}')
}

// AppendViewerLeft appends the ViewerPresence that tells a channel, given trimmed, that a viewer's link is gone.
// Today's relays send none.
func AppendViewerLeft(dst, channel, userID []byte) []byte {
	dst = appendMember(dst, `{"type":"viewport.session_viewer_presence/v1","channel":`, channel)
	return append(appendMember(dst, `,"action":"left","userId":`, userID), '}')
}

// AppendWorkerResponse appends the platform's answer to a WorkerRequest, with the request's id as it was received.
// Headers are given with lower-case names, one for each name, in order; those that a worker must not see are left out.
func AppendWorkerResponse(dst, requestID []byte, status int, headers []Header, body []byte) []byte {
	dst = appendMember(dst, `{"type":"viewport.worker_transport.response/v1","requestId":`, requestID)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(status), 10)
	dst = append(dst, `,"headers":{`...)
	first := true
	for _, h := range headers {
		switch h.Name {
		case "authorization", "set-cookie", "cookie":
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendMember(appendMember(dst, "", h.Name), ":", fromLatin1(h.Value))
	}
	body = bytes.TrimPrefix(Text(body), []byte("\ufeff")) // as fetch decodes it
	return append(appendMember(dst, `},"body":`, body), '}')
}

// AppendWorkerDenied appends the answer to a WorkerRequest for a path that is not the executor's own.
func AppendWorkerDenied(dst, requestID []byte) []byte {
	return appendWorkerRefusal(dst, requestID, 403, `{"ok":false,"reason":"WORKER_TRANSPORT_PATH_DENIED"}`)
}

// AppendWorkerFailed appends the answer to a WorkerRequest that the platform did not answer.
func AppendWorkerFailed(dst, requestID []byte) []byte {
	return appendWorkerRefusal(dst, requestID, 502, `{"ok":false,"reason":"WORKER_TRANSPORT_FORWARD_FAILED"}`)
}

func appendWorkerRefusal(dst, requestID []byte, status int, body string) []byte {
	headers := [...]Header{{"content-type", "application/json"}}
	return AppendWorkerResponse(dst, requestID, status, headers[:], []byte(body))
}

func appendMember[T string | []byte](dst []byte, name string, value T) []byte {
	return appendString(append(dst, name...), value)
}

func appendOptional(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendMember(dst, name, value)
}

// fromLatin1 returns the text of a header's value.
func fromLatin1(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			runes := make([]rune, len(s))
			for j := range runes {
				runes[j] = rune(s[j])
			}
			return string(runes)
		}
	}
	return s
}
