package server_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

func TestAnAdmittedPeerIsToldTheLimitsInItsResponseHeaders(t *testing.T) {
	r := start(t, func(c *server.Config) {
		c.RelayID, c.Limits.SessionWindow, c.Limits.MaxEnvelope, c.Limits.MaxMessage = "relay-1", 200_000, 70_000, 20_000
	})
	for name, e := range map[string]endpoint{"daemon": {workspace: "told", daemon: true}, "client": {workspace: "told"}} {
		header := r.connect(e).header
		for key, want := range map[string]string{
			"viewport-protocol": "1", "viewport-relay-id": "relay-1", "viewport-session-window": "200000",
			"viewport-max-envelope": "70000", "viewport-max-message": "20000", "viewport-heartbeat": "20000",
		} {
			if got := header.Get(key); len(got) != 1 || got[0] != want {
				t.Errorf("%s: header %s: got %q, want %q", name, key, got, want)
			}
		}
	}
	defaults := start(t).connect(endpoint{workspace: "told"}).header
	for key, want := range map[string]int{
		"viewport-session-window": 1048576, "viewport-max-envelope": 2097152, "viewport-max-message": 524288,
	} {
		if got := defaults.Get(key); len(got) != 1 || got[0] != strconv.Itoa(want) {
			t.Errorf("default of %s: got %q, want %d", key, got, want)
		}
	}
}

func TestARefusalSaysWhyInItsErrorInfo(t *testing.T) {
	byKeys := func(c *server.Config) { c.JWKSURL, c.ValidateURL = platform.JWKSURL(), "" }
	for name, relay := range map[string]*relay{
		"validate": start(t), "keys": start(t, byKeys),
		"both": start(t, func(c *server.Config) { c.JWKSURL = platform.JWKSURL() }),
	} {
		// The first token starts or meets the fetch of the keys; nothing is known against it meanwhile.
		relay.admit(endpoint{workspace: "ready"})
		t.Run(name, func(t *testing.T) { testRefusals(t, relay) })
	}
}

// admit connects as e, coming back as long as the relay says that the platform can't be asked now.
func (r *relay) admit(e endpoint) {
	r.t.Helper()
	for {
		p := r.request(e)
		header, err := p.stream.Header()
		if err == nil && len(header.Get("viewport-protocol")) > 0 {
			p.cancel()
			return
		}
		if retry := p.wantEnd(codes.Unavailable, "PLATFORM_UNAVAILABLE"); retry.GetRetryDelay().AsDuration() <= 0 {
			r.t.Fatalf("got no retry_after")
		}
	}
}

func testRefusals(t *testing.T, r *relay) {
	client := devplatform.Claims{Role: devplatform.RoleClient, WorkspaceID: "w", RuntimeTargetID: target}
	daemon := devplatform.Claims{Role: devplatform.RoleDaemon, WorkspaceID: "w", RuntimeTargetID: target}
	with := func(c devplatform.Claims, change func(*devplatform.Claims)) string {
		change(&c)
		return token(t, c)
	}
	bearer := func(s string) []string { return []string{"authorization", "Bearer " + s} }
	good := token(t, client)
	other := "A"
	if good[len(good)-6] == 'A' {
		other = "B"
	}
	place := []string{"viewport-workspace-id", "w", "viewport-runtime-target-id", target}
	for name, c := range map[string]struct {
		daemon bool
		auth   []string
		place  []string
		code   codes.Code
		reason string
	}{
		"no token":       {code: codes.Unauthenticated, reason: "TOKEN_MISSING"},
		"an empty token": {auth: bearer(""), code: codes.Unauthenticated, reason: "TOKEN_MISSING"},
		"another scheme": {
			auth: []string{"authorization", "Basic " + good},
			code: codes.Unauthenticated, reason: "TOKEN_MISSING",
		},
		"two tokens": {
			auth: append(bearer(good), bearer(good)...),
			code: codes.Unauthenticated, reason: "TOKEN_MISSING",
		},
		"not a token": {auth: bearer("a.b.c"), code: codes.Unauthenticated, reason: "TOKEN_INVALID"},
		"a broken signature": {
			auth: bearer(good[:len(good)-6] + other + good[len(good)-5:]),
			code: codes.Unauthenticated, reason: "TOKEN_INVALID",
		},
		"a token of long ago": {
			auth: bearer(with(client, func(c *devplatform.Claims) { c.TTL = -time.Hour })),
			code: codes.Unauthenticated, reason: "TOKEN_EXPIRED",
		},
		"another workspace": {
			auth: bearer(with(client, func(c *devplatform.Claims) { c.WorkspaceID = "v" })),
			code: codes.PermissionDenied, reason: "WORKSPACE_MISMATCH",
		},
		"another target": {
			auth: bearer(with(client, func(c *devplatform.Claims) { c.RuntimeTargetID = "host-2" })),
			code: codes.PermissionDenied, reason: "TARGET_MISMATCH",
		},
		"a client's, as daemon": {
			daemon: true, auth: bearer(good),
			code: codes.PermissionDenied, reason: "ROLE_MISMATCH",
		},
		"a daemon's, as client": {
			auth: bearer(token(t, daemon)),
			code: codes.PermissionDenied, reason: "ROLE_MISMATCH",
		},
		"a worker's, as client": {
			auth: bearer(with(client, func(c *devplatform.Claims) { c.Role = devplatform.RoleWorker })),
			code: codes.PermissionDenied, reason: "ROLE_MISMATCH",
		},
		"two workspaces": {
			auth: bearer(good), place: append([]string{"viewport-workspace-id", "v"}, place...),
			code: codes.PermissionDenied, reason: "WORKSPACE_MISMATCH",
		},
		"the same workspace twice": {
			auth: bearer(good), place: append([]string{"viewport-workspace-id", "w"}, place...),
			code: codes.PermissionDenied, reason: "WORKSPACE_MISMATCH",
		},
		"two targets": {
			auth: bearer(good), place: append([]string{"viewport-runtime-target-id", target}, place...),
			code: codes.PermissionDenied, reason: "TARGET_MISMATCH",
		},
		"no workspace": {
			auth: bearer(good), place: place[2:],
			code: codes.PermissionDenied, reason: "WORKSPACE_MISMATCH",
		},
		"no target": {auth: bearer(good), place: place[:2], code: codes.PermissionDenied, reason: "TARGET_MISMATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.place == nil {
				c.place = place
			}
			p := r.open(c.daemon, metadata.Pairs(append(c.auth, c.place...)...))
			p.t = t
			p.wantEnd(c.code, c.reason)
			for _, value := range append(c.auth, "Bearer "+good) {
				secret, ok := strings.CutPrefix(value, "Bearer ")
				if ok && secret != "" && strings.Contains(r.log.String(), secret) {
					t.Errorf("a token is in the log")
				}
			}
		})
	}
}

func TestAPlatformOutageIsNoBadTokenAndSaysWhenToComeBack(t *testing.T) {
	platform := ownPlatform(t)
	r := start(t, func(c *server.Config) { c.ValidateURL = platform.ValidateURL() })
	minted, err := platform.Mint(devplatform.Claims{Role: devplatform.RoleClient, WorkspaceID: "w", RuntimeTargetID: target})
	if err != nil {
		t.Fatal(err)
	}
	md := metadata.Pairs("authorization", "Bearer "+minted, "viewport-workspace-id", "w", "viewport-runtime-target-id", target)
	platform.SetFault(devplatform.Validate, devplatform.Fail)
	retry := r.open(false, md).wantEnd(codes.Unavailable, "PLATFORM_UNAVAILABLE")
	if retry.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("got no retry_after")
	}
	platform.SetFault(devplatform.Validate, devplatform.NoFault)
	r.open(false, md).admitted()
}
