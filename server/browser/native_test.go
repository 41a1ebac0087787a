//go:build unix

package browser_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func TestAPageSpeaksTheNativeProtocol(t *testing.T) {
	t.Parallel()
	relay := start(t)
	got := visit(t, "native.html", map[string]call{
		"settings": func(json.RawMessage) (any, error) {
			return map[string]string{
				"url": endpoint(relay), "token": relay.Token(identity.Client, workspace, target),
				"workspace": workspace, "target": target,
			}, nil
		},
	})

	want(t, got, "selected", "viewport.relay.v1")
	want(t, got, "selectedBehindToken", "viewport.relay.v1")
	want(t, got, "refusedWithoutToken", true)
	announced, _ := got["announced"].(map[string]any)
	want(t, announced, "viewport-protocol", "1")
	for _, name := range []string{
		"viewport-relay-id", "viewport-session-window", "viewport-max-envelope", "viewport-max-message", "viewport-heartbeat",
	} {
		if value, _ := announced[name].(string); value == "" {
			t.Errorf("%s is not announced", name)
		}
	}

	text, _ := got["answer"].(string)
	message, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var batch relayv1.EnvelopeBatch
	if err := proto.Unmarshal(message, &batch); err != nil || len(batch.GetEnvelopes()) != 1 {
		t.Fatalf("got %v, %v, want one envelope", &batch, err)
	}
	e := batch.GetEnvelopes()[0]
	if e.GetType() != relayv1.FrameType_FRAME_TYPE_STATUS || e.GetStatus().GetCode() != "PEER_UNAVAILABLE" {
		t.Errorf("got %v, want the status PEER_UNAVAILABLE", e)
	}
	want(t, got, "end", map[string]any{"code": 4000, "reason": "FRAME_INVALID", "clean": true})
}
