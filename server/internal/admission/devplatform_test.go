package admission

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
)

// TestTodaysPeersAreAdmittedByTheDevelopmentPlatform in every way that tokens can be checked, over real HTTP, until it
// revokes them.
func TestTodaysPeersAreAdmittedByTheDevelopmentPlatform(t *testing.T) {
	platform, err := devplatform.New(devplatform.Config{InternalKey: "internal"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = platform.Start(ln)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = platform.Close() }()
	platform.SetDaemonKey("acme", "host-1", "a daemon's key")
	jwks, validate := platform.JWKSURL(), platform.ValidateURL()
	for way, cfg := range map[string]Config{
		"keys": {JWKSURL: jwks}, "validate": {ValidateURL: validate, InternalKey: "internal"},
		"both": {JWKSURL: jwks, ValidateURL: validate, InternalKey: "internal"},
	} {
		t.Run(way, func(t *testing.T) {
			a, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- a.Run(ctx) }()
			defer func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			for cfg.JWKSURL != "" && a.Stats().Keys == 0 && t.Context().Err() == nil {
				runtime.Gosched()
			}
			for _, c := range []struct {
				role   Role
				asks   string
				claims devplatform.Claims
			}{
				{RoleDaemon, "host-1", devplatform.Claims{Role: devplatform.RoleDaemon, RuntimeTargetID: "host-1"}},
				{RoleClient, "host-1", devplatform.Claims{Role: devplatform.RoleClient, RuntimeTargetID: "host-1"}},
				{RoleClient, "", devplatform.Claims{Role: devplatform.RoleClient, Scope: "pairing"}},
				{RoleClient, "", devplatform.Claims{
					Role: devplatform.RoleClient, RuntimeTargetID: "host-1", Scope: "session-events",
					SessionChannels: []string{"agent-session:s"},
				}},
				{RoleWorker, "", devplatform.Claims{Role: devplatform.RoleWorker, ManagedExecutorID: "e1"}},
			} {
				c.claims.WorkspaceID = "acme"
				token, err := platform.MintLegacy(c.claims)
				if err != nil {
					t.Fatal(err)
				}
				r := asLegacy(c.role, c.asks, token)
				g, err := a.AdmitLegacy(t.Context(), r)
				if err != nil {
					t.Errorf("%+v: %v", c.claims, err)
				}
				isClient, isWorker := g.Role == RoleClient, g.Role == RoleWorker
				if g.Role != c.role || g.Target != c.claims.RuntimeTargetID || g.ExecutorID != c.claims.ManagedExecutorID ||
					len(g.Channels) != len(c.claims.SessionChannels) || isClient != g.User.Is([]byte("dev-user")) ||
					isWorker != (g.Profile == legacywire.NoProfile) {
					t.Errorf("got %+v of %+v", g, c.claims)
				}
				if cfg.ValidateURL == "" {
					continue
				}
				if v := a.Recheck(t.Context(), r); v != Good {
					t.Errorf("a re-check: got %v, want good", v)
				}
				platform.Revoke(devplatform.Subject{JTI: g.TokenID})
				if v := a.Recheck(t.Context(), r); v != Revoked {
					t.Errorf("a re-check after it was revoked: got %v, want revoked", v)
				}
				if _, err := a.AdmitLegacy(t.Context(), r); code(t, err) != reason.PairingRevoked {
					t.Errorf("after it was revoked: got %v", err)
				}
			}
		})
	}
}
