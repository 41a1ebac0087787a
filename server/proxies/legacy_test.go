//go:build unix

package proxies_test

import (
	"context"
	"strings"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/internal/devplatform"
)

func TestTodaysDaemonsAndClientsMeetBehindATerminator(t *testing.T) {
	alone(t)
	each(t, func(t *testing.T, k kind) {
		ctx := patient(t)
		p := terminator(t, k, startRelay(t, "127.0.0.1:0").addr)
		config := func(role string) legacy.Config {
			return legacy.Config{
				URL: "wss://" + p.address, Workspace: k.name + "-legacy", Target: "host", TLS: p.home.trust,
				Token: func(context.Context) (string, error) {
					return platform.MintLegacy(devplatform.Claims{
						Role: role, WorkspaceID: k.name + "-legacy", RuntimeTargetID: "host",
					})
				},
			}
		}
		id, err := legacy.NewIdentity("box")
		if err != nil {
			t.Fatal(err)
		}
		listener, err := legacy.Listen(ctx, legacy.ListenConfig{
			Config: config(devplatform.RoleDaemon), Identity: id, Profile: identity.NoiseIK,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		dialer, err := legacy.Dial(ctx, legacy.DialConfig{
			Config: config(devplatform.RoleClient), Daemon: id.Public(), Profile: identity.NoiseIK,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dialer.Close() }()
		up, err := dialer.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		down, err := listener.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 50 {
			for _, way := range []struct{ from, to *client.Session }{{up, down}, {down, up}} {
				sent := strings.Repeat("é", 1+n*n*50)
				if err := way.from.Send(ctx, []byte(sent)); err != nil {
					t.Fatal(err)
				}
				if got, err := way.to.Recv(ctx); err != nil || string(got) != sent {
					t.Fatalf("got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
				}
			}
		}
	})
}
