package legacywire

import (
	"encoding/json"
	"testing"
)

func TestRepliesAreThoseOfTodayByteForByte(t *testing.T) {
	channel := []byte("agent-session:a\"é\u2028😀\x01")
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"INVALID_FRAME", Status{Code: InvalidFrame, Workspace: "w", Target: "t", Machine: "m", URL: "u"}.Append(nil),
			`{"type":"relay_status","code":"INVALID_FRAME",` +
				`"message":"client frame must be a valid runtime or pairing control frame","workspaceId":"w"}`},
		{"SESSION_EVENTS_SCOPE_ONLY", Status{Code: SessionEventsScopeOnly, Workspace: "w", Target: "t"}.Append(nil),
			`{"type":"relay_status","code":"SESSION_EVENTS_SCOPE_ONLY","message":"session-events scoped clients can only ` +
				`subscribe to authorized session event channels","workspaceId":"w"}`},
		{"RUNTIME_TARGET_REQUIRED", Status{Code: RuntimeTargetRequired, Workspace: "w", Target: "t"}.Append(nil),
			`{"type":"relay_status","code":"RUNTIME_TARGET_REQUIRED",` +
				`"message":"Runtime client must specify a runtime target","workspaceId":"w","retryable":false}`},
		{"DAEMON_UNAVAILABLE", Status{Code: DaemonUnavailable, Workspace: "w", Target: "t", Machine: "m\n"}.Append(nil),
			`{"type":"relay_status","code":"DAEMON_UNAVAILABLE",` +
				`"message":"No machine runtime is connected for this runtime target","workspaceId":"w","retryable":true,` +
				`"runtimeTargetId":"t","machineId":"m\n"}`},
		{"DAEMON_UNAVAILABLE without more", Status{Code: DaemonUnavailable, Workspace: "w"}.Append(nil),
			`{"type":"relay_status","code":"DAEMON_UNAVAILABLE",` +
				`"message":"No machine runtime is connected for this runtime target","workspaceId":"w","retryable":true}`},
		{"RELAY_REDIRECT", Status{Code: RelayRedirect, Workspace: "w", Target: "t", URL: "wss://b/ws"}.Append(nil),
			`{"type":"relay_status","code":"RELAY_REDIRECT","message":"Workspace is assigned to a different relay instance",` +
				`"workspaceId":"w","runtimeTargetId":"t","relayWsBaseUrl":"wss://b/ws"}`},
		{"RELAY_REDIRECT at connect time", Status{Code: RelayRedirect, Workspace: "w", URL: "wss://b/ws"}.Append(nil),
			`{"type":"relay_status","code":"RELAY_REDIRECT","message":"Workspace is assigned to a different relay instance",` +
				`"workspaceId":"w","relayWsBaseUrl":"wss://b/ws"}`},
		{"subscribed", AppendSubscribed(nil, channel, 9007199254740991),
			`{"type":"viewport.session_events.subscribed/v1","channel":"agent-session:a\"é` + "\u2028" + `😀\u0001",` +
				`"afterSequence":9007199254740991,"authoritativeSource":"session_events","websocketRequiredForBackfill":false}`},
		{"unsubscribed", AppendUnsubscribed(nil, []byte("agent-session:a")),
			`{"type":"viewport.session_events.unsubscribed/v1","channel":"agent-session:a"}`},
		{"subscribe denied", AppendDenied(nil, Subscribe, []byte("agent-session:a"), "w"),
			`{"type":"viewport.session_events.subscribe_denied/v1","channel":"agent-session:a",` +
				`"reason":"CHANNEL_NOT_AUTHORIZED","workspaceId":"w"}`},
		{"unsubscribe denied", AppendDenied(nil, Unsubscribe, []byte("agent-session:a"), "w"),
			`{"type":"viewport.session_events.subscribe_denied/v1","channel":"agent-session:a",` +
				`"reason":"CHANNEL_NOT_AUTHORIZED","workspaceId":"w"}`},
		{"presence denied", AppendDenied(nil, ViewerPresence, []byte("agent-session:a"), "w"),
			`{"type":"viewport.session_viewer_presence_denied/v1","channel":"agent-session:a",` +
				`"reason":"CHANNEL_NOT_AUTHORIZED","workspaceId":"w"}`},
		{"a viewer left", AppendViewerLeft(nil, []byte("agent-session:a"), []byte("u1")),
			`{"type":"viewport.session_viewer_presence/v1","channel":"agent-session:a","action":"left","userId":"u1"}`},
		{"a worker's response", AppendWorkerResponse(nil, []byte(" r\xed\xa0\x80"), 200, []Header{
			{"authorization", "no"}, {"content-type", "text/plain"}, {"cookie", "no"}, {"set-cookie", "no"}, {"x", "\xe9\""},
		}, []byte("\ufeffa\xff\"\\/<\x7f")),
			`{"type":"viewport.worker_transport.response/v1","requestId":" r\ud800","status":200,` +
				`"headers":{"content-type":"text/plain","x":"é\""},"body":"a` + "\ufffd" + `\"\\/<` + "\x7f" + `"}`},
		{"an empty response", AppendWorkerResponse(nil, []byte("r"), 204, nil, nil),
			`{"type":"viewport.worker_transport.response/v1","requestId":"r","status":204,"headers":{},"body":""}`},
		{"a path denied", AppendWorkerDenied(nil, []byte("r")),
			`{"type":"viewport.worker_transport.response/v1","requestId":"r","status":403,` +
				`"headers":{"content-type":"application/json"},` +
				`"body":"{\"ok\":false,\"reason\":\"WORKER_TRANSPORT_PATH_DENIED\"}"}`},
		{"no answer of the platform", AppendWorkerFailed([]byte{}, []byte("r")),
			`{"type":"viewport.worker_transport.response/v1","requestId":"r","status":502,` +
				`"headers":{"content-type":"application/json"},` +
				`"body":"{\"ok\":false,\"reason\":\"WORKER_TRANSPORT_FORWARD_FAILED\"}"}`},
	} {
		if string(c.got) != c.want || !json.Valid(c.got) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, c.got, c.want)
		}
	}
}
