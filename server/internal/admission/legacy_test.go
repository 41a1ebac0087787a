package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
)

// asLegacy is what an upgrade asks for; target "" is none.
func asLegacy(role Role, target, token string) Request {
	return Request{Token: token, Role: role, Workspace: "acme", Target: target}
}

// grantsWhatTheTokenSays makes the platform answer with the token's own claims, changed.
func grantsWhatTheTokenSays(changes values) func(*platform) {
	return func(p *platform) {
		p.validate.set(func(w http.ResponseWriter, r *http.Request) {
			var q question
			var said map[string]json.RawMessage // a JSON null stays one
			err := json.Unmarshal([]byte(p.last.Load().body), &q)
			if err == nil {
				var b []byte
				if b, err = decodeBase64(strings.Split(q.Token, ".")[1]); err == nil {
					err = json.Unmarshal(b, &said)
				}
			}
			if err != nil {
				panic(err)
			}
			claims := values{}
			for name, value := range said {
				claims[name] = value
			}
			body(200, text(values{"ok": true, "claims": changed(claims, changes)}))(w, r)
		})
	}
}

// everyWay are the ways to check a token; in each of them a token means the same.
var everyWay = map[string]func() Config{"keys": keysOnly, "validate": validateOnly, "both": both}

// with are changes to a token's claims, by name and value; nil takes a claim out.
func with(pairs ...any) values {
	v := values{}
	for i := 0; i < len(pairs); i += 2 {
		v[pairs[i].(string)] = pairs[i+1]
	}
	return v
}

// Changes to a good client token that make it another peer's.
var (
	daemonClaims = with("role", "workspace-daemon", "scope", nil)
	workerClaims = with("role", "worker", "scope", nil, "runtimeTargetId", nil, "managedExecutorId", "e1")
)

// legacyRows are requests, what is changed of a good client token, the reason that the peer gets and, if that is none,
// the target that it is admitted for.
var legacyRows = map[string]legacyRow{
	"a client":                    {RoleClient, "host-1", nil, "", "host-1"},
	"a client that asks for none": {RoleClient, "", nil, "", "host-1"},
	"a client of another target":  {RoleClient, "host-2", nil, reason.TargetMismatch, ""},
	"a client whose target is asked": {
		RoleClient, "host-1", with("runtimeTargetId", nil), reason.TargetMismatch, "",
	},
	"a client without any": {RoleClient, "", with("runtimeTargetId", nil), reason.TargetMismatch, ""},
	"a client whose target is blank": {
		RoleClient, "", with("runtimeTargetId", " \ufeff"), reason.TargetMismatch, "",
	},
	"a target no envelope can have": {
		RoleClient, "", with("runtimeTargetId", "host/1"), reason.TargetMismatch, "",
	},
	"white space around a target":      {RoleClient, "", with("runtimeTargetId", "\ufeffhost-1 "), "", "host-1"},
	"white space around the one asked": {RoleClient, "host-1", with("runtimeTargetId", " host-1\n"), "", "host-1"},

	"no workspace":      {RoleClient, "host-1", with("workspaceId", nil), reason.TokenInvalid, ""},
	"a blank workspace": {RoleClient, "host-1", with("workspaceId", " "), reason.TokenInvalid, ""},
	"another workspace": {
		RoleClient, "host-1", with("workspaceId", "acme2"), reason.WorkspaceMismatch, "",
	},
	"white space around the workspace": {RoleClient, "host-1", with("workspaceId", " acme "), "", "host-1"},

	"no scope":                   {RoleClient, "host-1", with("scope", nil), reason.RoleMismatch, ""},
	"a scope that there is not":  {RoleClient, "host-1", with("scope", "admin"), reason.TokenInvalid, ""},
	"an empty scope":             {RoleClient, "host-1", with("scope", ""), reason.TokenInvalid, ""},
	"pairing":                    {RoleClient, "host-1", with("scope", "pairing"), "", "host-1"},
	"pairing that asks for none": {RoleClient, "", with("scope", "pairing"), "", "host-1"},
	"pairing without a target":   {RoleClient, "", with("scope", "pairing", "runtimeTargetId", nil), "", ""},
	"pairing whose target is asked": {
		RoleClient, "host-1", with("scope", "pairing", "runtimeTargetId", nil), reason.TargetMismatch, "",
	},
	"session-events": {RoleClient, "host-1", with("scope", "session-events"), "", "host-1"},
	"session-events, no target": {
		RoleClient, "", with("scope", "session-events", "runtimeTargetId", nil), reason.TargetMismatch, "",
	},

	"a daemon":                    {RoleDaemon, "host-1", daemonClaims, "", "host-1"},
	"a daemon that asks for none": {RoleDaemon, "", daemonClaims, "", "host-1"},
	"a daemon of another target":  {RoleDaemon, "host-2", daemonClaims, reason.TargetMismatch, ""},
	"a daemon whose target is asked": {
		RoleDaemon, "host-1", with("role", "workspace-daemon", "runtimeTargetId", nil), reason.TargetMismatch, "",
	},
	"a daemon without any": {
		RoleDaemon, "", with("role", "workspace-daemon", "runtimeTargetId", nil), reason.TargetMismatch, "",
	},
	"a daemon with a scope": {RoleDaemon, "host-1", with("role", "workspace-daemon"), "", "host-1"},
	"a pairing daemon, no target": {
		RoleDaemon, "", with("role", "workspace-daemon", "scope", "pairing", "runtimeTargetId", nil),
		reason.TargetMismatch, "",
	},

	"a worker":                       {RoleWorker, "", workerClaims, "", ""},
	"a worker with a target":         {RoleWorker, "", with("role", "worker", "scope", nil), "", "host-1"},
	"a worker whose target is asked": {RoleWorker, "host-1", workerClaims, reason.TargetMismatch, ""},

	"a daemon's token for a client": {
		RoleClient, "host-1", with("role", "workspace-daemon"), reason.RoleMismatch, "",
	},
	"a worker's token for a client": {RoleClient, "host-1", with("role", "worker"), reason.RoleMismatch, ""},
	"a client's token for a daemon": {RoleDaemon, "host-1", nil, reason.RoleMismatch, ""},
	"a client's token for a worker": {RoleWorker, "", nil, reason.RoleMismatch, ""},
	"a role that there is not":      {RoleClient, "host-1", with("role", "owner"), reason.TokenInvalid, ""},
	"expired":                       {RoleClient, "host-1", with("exp", 1000), reason.TokenExpired, ""},
	"claims that nobody knows": {
		RoleClient, "host-1", values{"plan": values{"x": []any{1}}, "Scope": 5}, "", "host-1",
	},
}

type legacyRow struct {
	role    Role
	asks    string
	changes values
	want    reason.Code
	target  string
}

func TestAPeerOfTodaysProtocolIsAdmittedForWhatItsTokenSays(t *testing.T) {
	for way, cfg := range everyWay {
		inBubble(t, cfg(), grantsWhatTheTokenSays(nil), func(t *testing.T, _ *platform, a *Admitter) {
			for name, row := range legacyRows {
				g, err := a.AdmitLegacy(t.Context(), asLegacy(row.role, row.asks, ecOne().mint(row.changes)))
				if got := code(t, err); got != row.want {
					t.Errorf("%s, %s: got %q (%v), want %q", way, name, got, err, row.want)
				}
				if err == nil && (g.Target != row.target || g.Workspace != "acme" || g.Role != row.role) {
					t.Errorf("%s, %s: got %+v, want target %q", way, name, g, row.target)
				}
			}
		})
	}
}

func TestARoleMayBeMissingOnlyWhereThePlatformIsToldIt(t *testing.T) {
	for way, want := range map[string]reason.Code{"keys": reason.TokenInvalid, "validate": "", "both": ""} {
		inBubble(t, everyWay[way](), grantsWhatTheTokenSays(nil), func(t *testing.T, _ *platform, a *Admitter) {
			_, err := a.AdmitLegacy(t.Context(), asLegacy(RoleDaemon, "host-1", ecOne().mint(with("role", nil))))
			if got := code(t, err); got != want {
				t.Errorf("%s: got %q (%v), want %q", way, got, err, want)
			}
		})
	}
}

// legacyClaimRows are values of a claim that a token may have and that it may not, for a client of session-events.
var legacyClaimRows = []struct {
	name      string
	good, bad []any
}{
	{
		"clientId", []any{nil, "c", long(128), strings.Repeat("😀", 64)},
		[]any{"", long(129), 5, values{}, strings.Repeat("😀", 65)},
	},
	{"userId", []any{nil, "u", long(128)}, []any{"", long(129), 5}},
	{"installId", []any{nil, "i", long(128)}, []any{"", long(129), 5}},
	{"managedExecutorId", []any{nil, "e", long(128)}, []any{"", long(129), 5}},
	{"policyMode", []any{nil, "p", long(128)}, []any{"", long(129), 5}},
	{"machineId", []any{nil, "m", long(255)}, []any{"", long(256), 5}},
	{"e2eeProfile", []any{nil, "noise-ik", "noise-ikpsk2"}, []any{"", "noise-xx", "Noise-IK", 5}},
	{"daemonIssueGeneration", []any{nil, 0, 7}, []any{-1, 1.5, "7"}},
	{"daemonPublicKey", []any{nil, null, "k", long(512)}, []any{"", long(513), 5}},
	{"pairingSecret", []any{nil, null, "s", long(1024)}, []any{"", long(1025), 5}},
	{"relayWsBaseUrl", []any{nil, null, "wss://x", long(512)}, []any{"", long(513), 5}},
	{
		"sessionIds", []any{nil, []any{}, []any{"s", long(128)}, entries("s", 64)},
		[]any{"s", []any{""}, []any{long(129)}, entries("s", 65), []any{5}},
	},
	{
		"sessionChannels",
		[]any{
			nil, []any{}, []any{"agent-session:s", "agent-session: "}, entries("agent-session:s", 64),
			[]any{"agent-session:" + long(241)}, []any{"agent-session:\t"},
		},
		[]any{
			"agent-session:s", []any{""}, []any{"agent-session:"}, []any{" agent-session:s"}, []any{"session:s"},
			[]any{"agent-session:s\n"}, []any{"agent-session:\u2028s"}, []any{"agent-session:s\u2029"},
			[]any{"agent-session:\rs"}, []any{5}, entries("agent-session:s", 65), []any{"agent-session:" + long(242)},
			[]any{"agent-session:s", null}, values{},
		},
	},
	{"jti", []any{"j", long(255)}, []any{"", long(256), 5}},
	{"ver", []any{nil, 0, -1, 3}, []any{"1", 1.5, null}},
	{"iat", []any{nil, 0}, []any{"1", 1.5}},
	{"nbf", []any{nil, 0}, []any{"1", 1.5}},
}

func long(n int) string { return strings.Repeat("x", n) }

func entries(s string, n int) []any { return slices.Repeat([]any{s}, n) }

func TestTypesAndLengthsOfKnownClaimsAreChecked(t *testing.T) {
	for way, cfg := range everyWay {
		inBubble(t, cfg(), grantsWhatTheTokenSays(nil), func(t *testing.T, _ *platform, a *Admitter) {
			try := func(name string, value any, want reason.Code) {
				t.Helper()
				token := ecOne().mint(with("scope", "session-events", name, value))
				_, err := a.AdmitLegacy(t.Context(), asLegacy(RoleClient, "host-1", token))
				if got := code(t, err); got != want {
					t.Errorf("%s, %s %.60v: got %q (%v), want %q", way, name, value, got, err, want)
				}
			}
			for _, row := range legacyClaimRows {
				for _, value := range row.good {
					try(row.name, value, "")
				}
				for _, value := range row.bad {
					try(row.name, value, reason.TokenInvalid)
				}
				if row.name != "daemonPublicKey" && row.name != "pairingSecret" && row.name != "relayWsBaseUrl" {
					try(row.name, null, reason.TokenInvalid)
				}
			}
		})
	}
}

func TestALegacyGrantHasWhatTheBridgeNeeds(t *testing.T) {
	claims := values{
		"clientId": "c1", "machineId": "m1", "userId": "ann", "managedExecutorId": "e1", "installId": "i1",
		"daemonIssueGeneration": 7, "e2eeProfile": "noise-ikpsk2", "sessionChannels": []any{"agent-session:s"},
	}
	for way, cfg := range everyWay {
		inBubble(t, cfg(), grantsWhatTheTokenSays(nil), func(t *testing.T, _ *platform, a *Admitter) {
			admitted := func(role Role, changes values) LegacyGrant {
				t.Helper()
				token := ecOne().mint(changed(claims, changes))
				g, err := a.AdmitLegacy(t.Context(), asLegacy(role, "", token))
				if err != nil {
					t.Errorf("%s: %v", way, err)
				}
				if g.ClientID != "c1" || g.MachineID != "m1" || g.InstallID != "i1" || g.Generation != 7 ||
					g.Profile != legacywire.NoiseIKpsk2 || !g.RequirePSK || g.TokenID != "t1" || g.ExpiresAt.IsZero() {
					t.Errorf("%s: got %+v", way, g)
				}
				return g
			}
			for _, scope := range []string{"runtime", "pairing", "session-events"} {
				g := admitted(RoleClient, with("scope", scope))
				if g.Scope != scope || !slices.Equal(g.Channels, []string{"agent-session:s"}) || g.ExecutorID != "" ||
					!g.User.Known() || !g.User.Is([]byte("ann")) || g.User.Is([]byte("bob")) || g.User.Is(nil) ||
					string(g.User.Append([]byte("<"))) != "<ann" {
					t.Errorf("%s, a client: got %+v", way, g)
				}
			}
			for _, g := range []LegacyGrant{
				admitted(RoleDaemon, with("role", "workspace-daemon")), admitted(RoleWorker, with("role", "worker")),
			} {
				if g.Scope != "" || g.Channels != nil || (g.ExecutorID == "e1") != (g.Role == RoleWorker) ||
					g.User.Known() || g.User.Is(nil) || g.User.Is([]byte("ann")) || g.User.Append(nil) != nil {
					t.Errorf("%s, role %d: got %+v", way, g.Role, g)
				}
			}
		})
	}
}

// TestTokenAndPlatformAddUp: what only one of them says counts, they may not differ about what a link is for, and else
// the stricter counts, or the token.
func TestTokenAndPlatformAddUp(t *testing.T) {
	channels := func(ids ...string) []any {
		list := []any{}
		for _, id := range ids {
			list = append(list, "agent-session:"+id)
		}
		return list
	}
	for name, row := range map[string]struct {
		token, answer values
		want          reason.Code
		is            func(LegacyGrant) bool
	}{
		"target of the platform": {
			with("runtimeTargetId", nil), with("runtimeTargetId", "host-2"), "",
			func(g LegacyGrant) bool { return g.Target == "host-2" },
		},
		"target of the token": {
			nil, with("runtimeTargetId", nil), "",
			func(g LegacyGrant) bool { return g.Target == "host-1" },
		},
		"two targets": {nil, with("runtimeTargetId", "host-2"), reason.TargetMismatch, nil},
		"scope of the platform": {
			with("scope", nil), with("scope", "pairing"), "",
			func(g LegacyGrant) bool { return g.Scope == "pairing" },
		},
		"two scopes":     {nil, with("scope", "pairing"), reason.RoleMismatch, nil},
		"two roles":      {nil, with("role", "worker"), reason.RoleMismatch, nil},
		"two workspaces": {nil, with("workspaceId", "acme2"), reason.WorkspaceMismatch, nil},
		"workspace of one": {
			with("workspaceId", nil), with("workspaceId", "acme"), "",
			func(g LegacyGrant) bool { return g.Workspace == "acme" },
		},
		"workspace of none":  {with("workspaceId", nil), nil, reason.TokenInvalid, nil},
		"expired at one":     {nil, with("exp", 1000), reason.TokenExpired, nil},
		"a bad claim at one": {nil, with("clientId", 5), reason.TokenInvalid, nil},
		"the stronger profile": {
			with("e2eeProfile", "noise-ik"), with("e2eeProfile", "noise-ikpsk2"), "",
			func(g LegacyGrant) bool { return g.Profile == legacywire.NoiseIKpsk2 },
		},
		"the token's, if stronger": {
			with("e2eeProfile", "noise-ikpsk2"), with("e2eeProfile", "noise-ik"), "",
			func(g LegacyGrant) bool { return g.Profile == legacywire.NoiseIKpsk2 && g.RequirePSK },
		},
		"no profile": {
			nil, nil, "",
			func(g LegacyGrant) bool { return g.Profile == legacywire.NoProfile && !g.RequirePSK },
		},
		"client of one": {
			nil, with("clientId", "c2", "machineId", "m2", "userId", "bob"), "",
			func(g LegacyGrant) bool { return g.ClientID == "c2" && g.MachineID == "m2" && g.User.Is([]byte("bob")) },
		},
		"client of the token": {
			with("clientId", "c1", "machineId", "m1", "userId", "ann"),
			with("clientId", "c2", "machineId", "m2", "userId", "bob"), "",
			func(g LegacyGrant) bool { return g.ClientID == "c1" && g.MachineID == "m1" && g.User.Is([]byte("ann")) },
		},
		"channels of one": {
			nil, with("sessionChannels", channels("a")), "",
			func(g LegacyGrant) bool { return len(g.Channels) == 1 },
		},
		"channels of both": {
			with("sessionChannels", channels("a", "b", "c")), with("sessionChannels", channels("c", "x", "a")), "",
			func(g LegacyGrant) bool {
				return slices.Equal(g.Channels, []string{"agent-session:a", "agent-session:c"})
			},
		},
		"no channel any more": {
			with("sessionChannels", channels("a")), with("sessionChannels", channels()), "",
			func(g LegacyGrant) bool { return len(g.Channels) == 0 },
		},
	} {
		inBubble(t, both(), grantsWhatTheTokenSays(row.answer), func(t *testing.T, _ *platform, a *Admitter) {
			g, err := a.AdmitLegacy(t.Context(), asLegacy(RoleClient, "", ecOne().mint(row.token)))
			if got := code(t, err); got != row.want {
				t.Errorf("%s: got %q (%v), want %q", name, got, err, row.want)
			}
			if err == nil && !row.is(g) {
				t.Errorf("%s: got %+v", name, g)
			}
		})
	}
}

func TestThePlatformIsAskedForALegacyPeerAsTodaysRelaysAsk(t *testing.T) {
	inBubble(t, both(), grantsWhatTheTokenSays(nil), func(t *testing.T, p *platform, a *Admitter) {
		for _, row := range []struct {
			role    Role
			target  string
			changes values
			tail    string
		}{
			{RoleWorker, "", workerClaims, `"role":"worker","workspaceId":"acme"}`},
			{RoleDaemon, "", daemonClaims, `"role":"workspace-daemon","workspaceId":"acme"}`},
			{RoleClient, "host-1", nil, `"role":"client","workspaceId":"acme","runtimeTargetId":"host-1"}`},
		} {
			r := asLegacy(row.role, row.target, ecOne().mint(row.changes))
			want := asked{"POST", "internal", "application/json", `{"relayToken":"` + r.Token + `",` + row.tail}
			if _, err := a.AdmitLegacy(t.Context(), r); err != nil {
				t.Error(err)
			}
			if got := *p.last.Load(); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if v := a.Recheck(t.Context(), r); v != Good {
				t.Errorf("the re-check: got %v, want good", v)
			}
			if got := *p.last.Load(); got != want {
				t.Errorf("the re-check: got %+v, want %+v", got, want)
			}
		}
		if n := p.asks.Load(); n != 6 {
			t.Errorf("got %d validate calls, want one for each admission and each re-check", n)
		}
		p.validate.set(body(403, `{"ok":false,"reason":"PAIRING_REVOKED"}`))
		if v := a.Recheck(t.Context(), asLegacy(RoleWorker, "", ecOne().mint(workerClaims))); v != Revoked {
			t.Errorf("got %v, want revoked", v)
		}
	})
}

func TestALegacyPeerHearsWhatThePlatformSays(t *testing.T) {
	for name, row := range refusals {
		want := row.want
		switch name { // what today's protocol has another rule for
		case "role absent", "scope pairing":
			want = ""
		}
		inBubble(t, validateOnly(), func(p *platform) {
			p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(row.status, row.body())(w, r) })
		}, func(t *testing.T, _ *platform, a *Admitter) {
			_, err := a.AdmitLegacy(t.Context(), asLegacy(RoleClient, "host-1", opaqueToken()))
			if got := code(t, err); got != want {
				t.Errorf("%s: got %q (%v), want %q", name, got, err, want)
			}
		})
	}
}

func TestAnOutageIsNeverALegacyPeersFault(t *testing.T) {
	for name, break_ := range map[string]func(*platform){
		"down": func(p *platform) { p.refuse.Store(true) },
		"hang": func(p *platform) { p.validate.set(faults["hang"]) },
		"cut":  func(p *platform) { p.validate.set(faults["cut"]) },
	} {
		inBubble(t, validateOnly(), break_, func(t *testing.T, _ *platform, a *Admitter) {
			_, err := a.AdmitLegacy(t.Context(), asLegacy(RoleDaemon, "host-1", opaqueToken()))
			got := code(t, err)
			if info, _ := reason.Lookup(got); got != reason.PlatformUnavailable || info.HTTP != 503 {
				t.Errorf("%s: got %q (%v), want PLATFORM_UNAVAILABLE with 503", name, got, err)
			}
		})
	}
}

func TestALegacyTokenThatIsNotGenuineNeverReachesThePlatform(t *testing.T) {
	inBubble(t, both(), nil, func(t *testing.T, p *platform, a *Admitter) {
		for _, token := range []string{
			"", "short token", opaqueToken(), unsigned("RS256"), rsaTwo().mint(nil),
			rsaOne().mint(with("exp", at(-60))),
			ecOne().mint(with("workspaceId", "acme2")), ecOne().mint(workerClaims), ecOne().mint(with("jti", nil)),
			ecOne().mint(with("runtimeTargetId", "host-2")), ecOne().mint(with("userId", 5)),
		} {
			if _, err := a.AdmitLegacy(t.Context(), asLegacy(RoleClient, "host-1", token)); err == nil {
				t.Error("got admitted, want a refusal")
			}
		}
		for _, r := range []Request{
			{Token: ecOne().mint(nil), Role: RoleClient, Target: "host-1"},
			{Token: ecOne().mint(nil), Role: RoleClient, Workspace: "acme", Target: "host/1"},
			{Token: ecOne().mint(nil), Role: RoleWorker + 1, Workspace: "acme", Target: "host-1"},
			{Token: ecOne().mint(nil), Workspace: "acme", Target: "host-1"},
		} {
			if _, err := a.AdmitLegacy(t.Context(), r); err == nil {
				t.Errorf("got %+v admitted, want a refusal", r.Role)
			}
		}
		if n := p.asks.Load(); n != 0 {
			t.Errorf("got %d validate calls, want none", n)
		}
	})
}

func TestNativeAdmissionIsAsStrictAsEver(t *testing.T) {
	for way, cfg := range everyWay {
		inBubble(t, cfg(), grantsWhatTheTokenSays(nil), func(t *testing.T, _ *platform, a *Admitter) {
			for name, row := range map[string]struct {
				r       Request
				changes values
				want    reason.Code
			}{
				"a worker":        {asLegacy(RoleWorker, "host-1", ""), with("role", "worker"), reason.Internal},
				"no target asked": {asLegacy(RoleClient, "", ""), nil, reason.TargetMismatch},
				"no target claimed": {
					asLegacy(RoleClient, "host-1", ""), with("runtimeTargetId", nil), reason.TargetMismatch,
				},
				"a blank around one": {
					asLegacy(RoleClient, "host-1", ""), with("runtimeTargetId", "host-1 "), reason.TargetMismatch,
				},
				"no role": {asLegacy(RoleClient, "host-1", ""), with("role", nil), reason.TokenInvalid},
				"scope pairing": {
					asLegacy(RoleClient, "host-1", ""), with("scope", "pairing"), reason.RoleMismatch,
				},
				"no scope": {asLegacy(RoleClient, "host-1", ""), with("scope", nil), ""},
			} {
				row.r.Token = ecOne().mint(row.changes)
				_, err := a.Admit(t.Context(), row.r)
				if got := code(t, err); got != row.want {
					t.Errorf("%s, %s: got %q (%v), want %q", way, name, got, err, row.want)
				}
			}
		})
	}
}

// TestThePersonOfALegacyGrantShowsNowhere: whatever is done with a LegacyGrant but asking its User, and whatever goes
// wrong, says nothing of the person or the token.
func TestThePersonOfALegacyGrantShowsNowhere(t *testing.T) {
	people := values{
		"sub": "MARK-sub", "userId": "MARK-user", "name": "MARK-name", "email": "MARK@example.com",
		"pairingSecret": "MARK-secret", "daemonPublicKey": "MARK-key", "sessionIds": []string{"MARK-session"},
	}
	var log bytes.Buffer
	cfg := both()
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	inBubble(t, cfg, grantsWhatTheTokenSays(nil), func(t *testing.T, _ *platform, a *Admitter) {
		g, err := a.AdmitLegacy(t.Context(), asLegacy(RoleClient, "host-1", ecOne().mint(people)))
		if err != nil || !g.User.Is([]byte("MARK-user")) {
			t.Fatalf("got %+v, %v", g, err)
		}
		type keeper struct{ inner LegacyGrant }
		for _, v := range []any{g, &g, g.User, &g.User, keeper{g}, &keeper{g}, []any{g}, map[string]User{"a": g.User}} {
			marshalled, err := json.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
			all := fmt.Sprintf("%v %+v %#v %s %q %x %d %s", v, v, v, v, v, v, v, marshalled)
			if strings.Contains(all, "MARK") || strings.Contains(all, "4d41524b") {
				t.Errorf("got a mark in: %s", all)
			}
		}
		for _, bad := range []values{
			with("userId", []any{"MARK"}), with("clientId", with("MARK", "MARK")), with("scope", "MARK"),
			with("role", "MARK"),
			with("sessionChannels", []any{"MARK"}), with("runtimeTargetId", "MARK"), with("workspaceId", "MARK"),
		} {
			_, err := a.AdmitLegacy(t.Context(), asLegacy(RoleClient, "host-1", ecOne().mint(changed(people, bad))))
			if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, reason.Of(err)), "MARK") {
				t.Errorf("got %v", err)
			}
		}
	})
	if strings.Contains(log.String(), "MARK") || strings.Contains(log.String(), "eyJ") {
		t.Errorf("got a mark or a token in the log:\n%s", &log)
	}
}
