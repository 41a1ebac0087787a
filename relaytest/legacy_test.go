package relaytest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/getviewport/relay/relaytest"
)

func TestLegacyTokensAreGoodForWhatTheyAreFor(t *testing.T) {
	relay := relaytest.Start(t)
	relay.SetDaemonKey("acme", "laptop", "the daemon's key")
	for name, c := range map[string]struct {
		token, role, target string
		claims              map[string]string
	}{
		"a daemon": {
			relay.LegacyDaemonToken("acme", "laptop", relaytest.Generation(3)), "workspace-daemon", "laptop",
			map[string]string{"installId": "install-1", "e2eeProfile": "noise-ik"},
		},
		"a client": {
			relay.LegacyClientToken("runtime", "acme", "laptop", relaytest.ClientID("c1"), relaytest.UserID("ann")),
			"client", "laptop",
			map[string]string{
				"scope": "runtime", "clientId": "c1", "userId": "ann", "daemonPublicKey": "the daemon's key",
			},
		},
		"a pairing client": {
			relay.LegacyClientToken("pairing", "acme", "", relaytest.E2EEProfile("noise-ikpsk2")), "client", "",
			map[string]string{"scope": "pairing", "userId": "dev-user", "e2eeProfile": "noise-ikpsk2"},
		},
		"a viewer": {
			relay.LegacyClientToken("session-events", "acme", "laptop", relaytest.SessionChannels("agent-session:s1")),
			"client", "laptop", map[string]string{"scope": "session-events"},
		},
		"a worker": {
			relay.LegacyWorkerToken("acme", "e1"), "worker", "", map[string]string{"managedExecutorId": "e1"},
		},
	} {
		question := map[string]string{"relayToken": c.token, "role": c.role, "workspaceId": "acme"}
		if c.target != "" {
			question["runtimeTargetId"] = c.target
		}
		b, err := json.Marshal(question)
		if err != nil {
			t.Fatal(err)
		}
		post := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := post.Post(relay.PlatformURL+"/api/runtime/internal/relay/validate", "application/json",
			bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			OK     bool
			Claims map[string]any
		}
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || !got.OK {
			t.Errorf("%s: got %d %+v, %v", name, response.StatusCode, got, err)
		}
		_ = response.Body.Close()
		for claim, want := range c.claims {
			if got.Claims[claim] != want {
				t.Errorf("%s: got %s %v, want %s", name, claim, got.Claims[claim], want)
			}
		}
	}
}
