//go:build unix

package browser_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/relaytest"
)

const (
	workspace = "acme"
	target    = "laptop"
)

// endpoint is the address of a relay for a client's page.
func endpoint(relay *relaytest.Relay) string {
	return "ws://" + relay.Addr + "/ws?role=client&workspaceId=" + workspace + "&runtimeTargetId=" + target
}

// daemon is a daemon of today's protocol that answers each message with itself; "send 250" with "ok" and the numbers
// from 1 to 250.
type daemon struct {
	listener *legacy.Listener
	serving  sync.WaitGroup
}

func listen(ctx context.Context, config legacy.ListenConfig) (*daemon, error) {
	l, err := legacy.Listen(ctx, config)
	if err != nil {
		return nil, err
	}
	d := &daemon{listener: l}
	d.serving.Go(func() {
		for {
			session, err := l.Accept(ctx)
			if err != nil {
				return
			}
			d.serving.Go(func() { serve(ctx, session) })
		}
	})
	return d, nil
}

func (d *daemon) leave() error {
	err := d.listener.Close()
	d.serving.Wait()
	return err
}

// serve ends with its session: a page that is missing an answer is the failure that is seen.
func serve(ctx context.Context, session *client.Session) {
	for {
		msg, err := session.Recv(ctx)
		if err != nil {
			return
		}
		text, count := string(msg), 0
		if n, ok := strings.CutPrefix(text, "send "); ok {
			text = "ok"
			count, _ = strconv.Atoi(n)
		}
		for i := 0; i <= count && err == nil; i++ {
			err = session.Send(ctx, []byte(text))
			text = strconv.Itoa(i + 1)
		}
	}
}

func TestAPageAndADaemonOfTodayExchangeMessages(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	relay := start(t)
	id, err := legacy.NewIdentity("box")
	if err != nil {
		t.Fatal(err)
	}
	psk := [32]byte{1, 2, 3}
	config := legacy.ListenConfig{
		Config: legacy.Config{
			URL: "ws://" + relay.Addr, Workspace: workspace, Target: target,
			Token: client.StaticToken(relay.LegacyDaemonToken(workspace, target)),
		},
		Identity: id, Profile: identity.NoiseIK,
		PSK: func(_ context.Context, id string) (identity.Secret, error) {
			if id != "tablet" {
				return identity.Secret{}, nil
			}
			return identity.NewSecret(psk), nil
		},
	}
	var d *daemon
	leave := sync.OnceValue(func() error {
		if d == nil {
			return nil
		}
		return d.leave()
	})
	t.Cleanup(func() { _ = leave() })

	got := visit(t, "legacy.html", map[string]call{
		"settings": func(json.RawMessage) (any, error) {
			return map[string]string{
				"url": endpoint(relay), "daemonKey": id.Public(),
				"token":    relay.LegacyClientToken("runtime", workspace, target),
				"pskToken": relay.LegacyClientToken("runtime", workspace, target, relaytest.E2EEProfile("noise-ikpsk2")),
				"psk":      base64.RawURLEncoding.EncodeToString(psk[:]),
			}, nil
		},
		"daemon": func(json.RawMessage) (any, error) {
			var err error
			d, err = listen(ctx, config)
			return nil, err
		},
		"daemonLeaves": func(json.RawMessage) (any, error) { return nil, leave() },
		"relayEnds": func(json.RawMessage) (any, error) {
			relay.Stop()
			return nil, nil
		},
	})

	want(t, got, "selected", "viewport.v1")
	want(t, got, "extensions", "")
	want(t, got, "unavailable", fmt.Sprintf(`{"type":"relay_status","code":"DAEMON_UNAVAILABLE",`+
		`"message":"No machine runtime is connected for this runtime target","workspaceId":"%s","retryable":true,`+
		`"runtimeTargetId":"%s"}`, workspace, target))
	want(t, got, "invalid", fmt.Sprintf(`{"type":"relay_status","code":"INVALID_FRAME",`+
		`"message":"client frame must be a valid runtime or pairing control frame","workspaceId":"%s"}`, workspace))
	want(t, got, "epoch", 1)
	want(t, got, "echo", "grüß dich, 🌍")
	want(t, got, "longIntact", true)
	want(t, got, "asked", "ok")
	numbers := make([]int, 250)
	for i := range numbers {
		numbers[i] = i + 1
	}
	want(t, got, "received", numbers)
	want(t, got, "rekeyed", map[string]any{"epoch": 2, "otherId": true})
	want(t, got, "afterwards", "with the new key")
	want(t, got, "selectsToken", true)
	want(t, got, "paired", "with a pre-shared key")
	want(t, got, "weaker", map[string]any{"code": 4008, "reason": "client frame profile mismatch", "clean": true})
	want(t, got, "refused", map[string]bool{"otherToken": true, "noToken": true, "inURL": true, "otherTarget": true})
	want(t, got, "gone", "DAEMON_UNAVAILABLE")
	want(t, got, "end", map[string]any{"code": 1001, "reason": "relay shutting down", "clean": true})
}
