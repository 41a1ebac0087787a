//go:build unix

package browser_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/relaytest"
)

const channel = "agent-session:s1"

func TestViewersHearOfEachOtherAndOfTheDaemonsEvents(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	relay := start(t)
	event := `{"schema":"viewport.session_event_relay_frame/v1","channel":"` + channel + `","event":{"sequence":8}}`

	dialer := wsconn.Dialer{Header: http.Header{
		"Authorization": {"Bearer " + relay.LegacyDaemonToken(workspace, target)},
	}}
	daemon, _, err := dialer.Dial(ctx, "ws://"+relay.Addr+"/ws?role=workspace-daemon&workspaceId="+workspace+
		"&runtimeTargetId="+target, wsconn.Config{Client: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Abort()
		_ = daemon.Close()
	})

	token := func(person string) string {
		return relay.LegacyClientToken("session-events", workspace, target, relaytest.UserID(person),
			relaytest.SessionChannels(channel))
	}
	got := visit(t, "viewers.html", map[string]call{
		"settings": func(json.RawMessage) (any, error) {
			return map[string]string{"url": endpoint(relay), "ann": token("ann"), "bob": token("bob")}, nil
		},
		"event": func(json.RawMessage) (any, error) {
			return nil, daemon.Send(daemon.AppendMessage(nil, wsconn.Text, []byte(event)))
		},
	})

	want(t, got, "subscribed", map[string]any{
		"type": "viewport.session_events.subscribed/v1", "channel": channel, "afterSequence": 7,
		"authoritativeSource": "session_events", "websocketRequiredForBackfill": false,
	})
	want(t, got, "joined", true)
	want(t, got, "denied", map[string]any{
		"type": "viewport.session_viewer_presence_denied/v1", "channel": channel, "reason": "CHANNEL_NOT_AUTHORIZED",
		"workspaceId": workspace,
	})
	want(t, got, "event", event)
	want(t, got, "eventAtBob", event)
	want(t, got, "otherChannel", map[string]any{
		"type": "viewport.session_events.subscribe_denied/v1", "channel": "agent-session:other",
		"reason": "CHANNEL_NOT_AUTHORIZED", "workspaceId": workspace,
	})
	want(t, got, "left", map[string]any{
		"type": "viewport.session_viewer_presence/v1", "channel": channel, "action": "left", "userId": "bob",
	})
}
