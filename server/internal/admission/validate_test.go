package admission

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// opaqueToken is a token that only the platform can read: today's are signed with HS256.
func opaqueToken() string {
	return resign(jwt.SigningMethodHS256, []byte("the platform's secret"), `{"alg":"HS256","typ":"JWT"}`, text(good(nil)))
}

// says is an answer that is the same at any time, grants one to a good token, made when it is asked for.
func says(text string) func() string { return func() string { return text } }

func grants(changes values) func() string { return func() string { return goodAnswer(changes) } }

// okIs grants what a good token asks for, but for its ok.
func okIs(value string) string {
	return strings.Replace(goodAnswer(nil), `"ok":true`, `"ok":`+value, 1)
}

// refusals are answers of the platform, and what they mean for a token.
var refusals = map[string]struct {
	status int
	body   func() string
	want   reason.Code
}{
	"ok":                      {200, grants(nil), ""},
	"ok with 201":             {201, grants(nil), ""},
	"ok false":                {200, says(`{"ok":false}`), reason.TokenInvalid},
	"ok false with claims":    {200, func() string { return okIs(`false`) }, reason.TokenInvalid},
	"ok true with 401":        {401, grants(nil), reason.TokenInvalid},
	"invalid with 401":        {401, says(`{"ok":false,"reason":"TOKEN_INVALID"}`), reason.TokenInvalid},
	"unknown reason":          {403, says(`{"ok":false,"reason":"WHATEVER"}`), reason.TokenInvalid},
	"reason a number":         {403, says(`{"ok":false,"reason":5}`), reason.TokenInvalid},
	"expired":                 {401, says(`{"ok":false,"reason":"TOKEN_EXPIRED"}`), reason.TokenExpired},
	"expired in words":        {401, says(`{"ok":false,"error":"jwt expired"}`), reason.TokenExpired},
	"revoked":                 {403, says(`{"ok":false,"reason":"PAIRING_REVOKED"}`), reason.PairingRevoked},
	"revoked with 200":        {200, says(`{"ok":false,"reason":"credential revoked"}`), reason.PairingRevoked},
	"not revoked":             {403, says(`{"ok":false,"reason":"token not revoked but unknown"}`), reason.TokenInvalid},
	"unexpired":               {403, says(`{"ok":false,"reason":"unexpired_but_bad"}`), reason.TokenInvalid},
	"workspace":               {403, says(`{"ok":false,"reason":"WORKSPACE_MISMATCH"}`), reason.WorkspaceMismatch},
	"target":                  {403, says(`{"ok":false,"reason":"target_mismatch"}`), reason.TargetMismatch},
	"role":                    {403, says(`{"ok":false,"reason":"ROLE_MISMATCH"}`), reason.RoleMismatch},
	"a code of ours only":     {403, says(`{"ok":false,"reason":"REPLACED"}`), reason.TokenInvalid},
	"the relay's key":         {401, says(`{"ok":false,"reason":"INTERNAL_KEY_INVALID"}`), reason.PlatformUnavailable},
	"429":                     {429, says(`{"ok":false,"reason":"slow down"}`), reason.PlatformUnavailable},
	"408":                     {408, says(`{"ok":false}`), reason.PlatformUnavailable},
	"500":                     {500, says(`{"ok":false,"reason":"TOKEN_INVALID"}`), reason.PlatformUnavailable},
	"503 with ok":             {503, grants(nil), reason.PlatformUnavailable},
	"404 of a proxy":          {404, says(`404 page not found`), reason.PlatformUnavailable},
	"401 of a proxy":          {401, says(`{"message":"unauthorised"}`), reason.PlatformUnavailable},
	"304":                     {304, says(""), reason.PlatformUnavailable},
	"204":                     {204, says(""), reason.PlatformUnavailable},
	"HTML":                    {200, says(`<html>`), reason.PlatformUnavailable},
	"null":                    {200, says(`null`), reason.PlatformUnavailable},
	"an array":                {200, says(`[true]`), reason.PlatformUnavailable},
	"ok a string":             {200, func() string { return okIs(`"true"`) }, reason.PlatformUnavailable},
	"ok twice":                {200, func() string { return okIs(`false,"ok":true`) }, reason.PlatformUnavailable},
	"no ok":                   {200, says(`{"claims":{}}`), reason.PlatformUnavailable},
	"no claims":               {200, says(`{"ok":true}`), reason.PlatformUnavailable},
	"claims null":             {200, says(`{"ok":true,"claims":null}`), reason.PlatformUnavailable},
	"257 KiB":                 {200, grants(values{"x": strings.Repeat("x", 256<<10)}), reason.PlatformUnavailable},
	"255 KiB":                 {200, grants(values{"x": strings.Repeat("x", 255<<10)}), ""},
	"claims empty":            {200, says(`{"ok":true,"claims":{}}`), reason.TokenInvalid},
	"unknown members":         {200, func() string { return `{"more":[1],` + goodAnswer(values{"plan": 3})[1:] }, ""},
	"no jti, exp, iss, aud":   {200, grants(values{"jti": nil, "exp": nil, "iss": nil, "aud": nil}), ""},
	"exp past":                {200, func() string { return goodAnswer(values{"exp": at(-30)}) }, reason.TokenExpired},
	"exp a string":            {200, grants(values{"exp": "x"}), reason.TokenInvalid},
	"workspaceId absent":      {200, grants(values{"workspaceId": nil}), reason.TokenInvalid},
	"workspaceId another":     {200, grants(values{"workspaceId": "acme2"}), reason.WorkspaceMismatch},
	"runtimeTargetId absent":  {200, grants(values{"runtimeTargetId": nil}), reason.TargetMismatch},
	"runtimeTargetId another": {200, grants(values{"runtimeTargetId": "host-2"}), reason.TargetMismatch},
	"role absent":             {200, grants(values{"role": nil}), reason.TokenInvalid},
	"role of a daemon":        {200, grants(values{"role": "workspace-daemon"}), reason.RoleMismatch},
	"scope pairing":           {200, grants(values{"scope": "pairing"}), reason.RoleMismatch},
}

func TestThePlatformsAnswerDecides(t *testing.T) {
	for name, row := range refusals {
		t.Run(name, func(t *testing.T) {
			answer := func(p *platform) {
				p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(row.status, row.body())(w, r) })
			}
			inBubble(t, validateOnly(), answer, func(t *testing.T, p *platform, a *Admitter) {
				wantCode(t, a, asClient(opaqueToken()), row.want)
				if n := p.asks.Load(); n != 1 {
					t.Errorf("got %d validate calls, want 1", n)
				}
				if n := a.Stats().ValidationFailures; (n == 1) != (row.want == reason.PlatformUnavailable) {
					t.Errorf("got %d failures counted", n)
				}
			})
			// With keys beside, a good token meets the same answers.
			inBubble(t, both(), answer, func(t *testing.T, _ *platform, a *Admitter) {
				wantCode(t, a, asClient(rsaOne().mint(nil)), row.want)
			})
		})
	}
}

func TestThePlatformIsAskedInTheFormThatItKnows(t *testing.T) {
	inBubble(t, both(), func(p *platform) {
		p.validate.set(func(w http.ResponseWriter, r *http.Request) {
			body(200, goodAnswer(values{"role": "workspace-daemon"}))(w, r)
		})
	}, func(t *testing.T, p *platform, a *Admitter) {
		token := rsaOne().mint(values{"role": "workspace-daemon"})
		wantCode(t, a, asDaemon(token), "")
		want := asked{"POST", "internal", "application/json", fmt.Sprintf(
			`{"relayToken":"%s","role":"workspace-daemon","workspaceId":"acme","runtimeTargetId":"host-1"}`, token)}
		if got := *p.last.Load(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestATokenThatIsNotGenuineNeverReachesThePlatform(t *testing.T) {
	inBubble(t, both(), nil, func(t *testing.T, p *platform, a *Admitter) {
		for _, token := range []string{
			opaqueToken(), unsigned("RS256"), rsaTwo().mint(nil), rsaOne().mint(values{"exp": at(-60)}),
			rsaOne().mint(values{"workspaceId": "acme2"}), rsaOne().mint(values{"role": "worker"}),
		} {
			if _, err := a.Admit(t.Context(), asClient(token)); err == nil {
				t.Error("got admitted, want a refusal")
			}
		}
		if n := p.asks.Load(); n != 0 {
			t.Errorf("got %d validate calls, want none", n)
		}
	})
	inBubble(t, validateOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		for _, token := range []string{"a b", "a\n", "ä", `a"b`, "a,b", strings.Repeat("a", maxToken+1)} {
			wantCode(t, a, asClient(token), reason.TokenInvalid)
		}
		if n := p.asks.Load(); n != 0 {
			t.Errorf("got %d validate calls, want none", n)
		}
		wantCode(t, a, asClient("-._~+/="+strings.Repeat("a", maxToken-7)), reason.TokenInvalid)
		if n := p.asks.Load(); n != 1 {
			t.Errorf("got %d validate calls, want 1", n)
		}
	})
}

func TestWithBothTheStricterCounts(t *testing.T) {
	answer := values{"e2eeProfile": "noise-ikpsk2", "jti": "other", "installId": "i2", "daemonIssueGeneration": 9}
	inBubble(t, both(), func(p *platform) {
		p.validate.set(func(w http.ResponseWriter, r *http.Request) {
			body(200, goodAnswer(changed(answer, values{"exp": at(60)})))(w, r)
		})
	}, func(t *testing.T, _ *platform, a *Admitter) {
		got, err := a.Admit(t.Context(), asClient(rsaOne().mint(values{"installId": "i1"})))
		want := Grant{
			Workspace: "acme", Target: "host-1", Role: RoleClient, Scope: "runtime", InstallID: "i1", Generation: 9,
			RequirePSK: true, TokenID: "t1", ExpiresAt: time.Unix(at(60), 0),
		}
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestAValidateCallEndsInTimeAsAWhole(t *testing.T) {
	for _, name := range []string{"hang", "drip", "endless", "cut", "redirect"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, validateOnly(), func(p *platform) { p.validate.set(faults[name]) },
				func(t *testing.T, p *platform, a *Admitter) {
					began := time.Now()
					wantCode(t, a, asClient(opaqueToken()), reason.PlatformUnavailable)
					if took := time.Since(began); took > 2*time.Second {
						t.Errorf("got an answer after %v, want at most 2s", took)
					}
					if p.asks.Load() != 1 || p.elsewhere.Load() != 0 {
						t.Errorf("got %d calls and %d redirects followed, want 1 and 0", p.asks.Load(), p.elsewhere.Load())
					}
				})
		})
	}
	inBubble(t, validateOnly(), func(p *platform) { p.refuse.Store(true) }, func(t *testing.T, p *platform, a *Admitter) {
		wantCode(t, a, asClient(opaqueToken()), reason.PlatformUnavailable)
	})
}

func TestACallerThatGivesUpWaitsNoLonger(t *testing.T) {
	cfg := validateOnly()
	cfg.ValidateConcurrency = 1
	inBubble(t, cfg, func(p *platform) { p.validate.set(faults["hang"]) }, func(t *testing.T, p *platform, a *Admitter) {
		ctx, giveUp := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		began := time.Now()
		for range 2 { // one in the call, one waiting for its turn
			callers.Go(func() {
				_, err := a.Admit(ctx, asClient(opaqueToken()))
				if got := code(t, err); got != reason.PlatformUnavailable || time.Since(began) != 0 {
					t.Errorf("got %q after %v, want PLATFORM_UNAVAILABLE at once", got, time.Since(began))
				}
			})
		}
		synctest.Wait()
		if s := a.Stats(); s.InFlight != 1 || s.Waiting != 1 {
			t.Errorf("got %d in flight and %d waiting, want 1 and 1", s.InFlight, s.Waiting)
		}
		giveUp()
		callers.Wait()
		if s := a.Stats(); s.InFlight != 0 || s.Waiting != 0 || s.Validations != 1 || s.ValidationFailures != 0 {
			t.Errorf("got %+v, want nothing left, one call and no failure of the platform", s)
		}
	})
}

func TestCallsAtOnceAreBoundedAndSoAreThoseThatWait(t *testing.T) {
	cfg := validateOnly()
	cfg.ValidateConcurrency = 4
	inBubble(t, cfg, func(p *platform) { p.validate.set(faults["hang"]) }, func(t *testing.T, p *platform, a *Admitter) {
		const callers, room = 100, 4 * (1 + waitingPerSlot)
		codes := make(chan reason.Code, callers)
		began := time.Now()
		var running sync.WaitGroup
		for range callers {
			running.Go(func() {
				_, err := a.Admit(t.Context(), asClient(opaqueToken()))
				codes <- code(t, err)
			})
		}
		synctest.Wait()
		if s := a.Stats(); s.InFlight != 4 || s.Waiting != room-4 || p.asks.Load() != 4 {
			t.Errorf("got %d in flight, %d waiting and %d calls, want 4, %d and 4", s.InFlight, s.Waiting, p.asks.Load(), room-4)
		}
		running.Wait()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("got the last answer after %v, want 2s: waiting counts", took)
		}
		close(codes)
		count := map[reason.Code]int{}
		for c := range codes {
			count[c]++
		}
		if count[reason.Capacity] != callers-room || count[reason.PlatformUnavailable] != room {
			t.Errorf("got %v, want %d CAPACITY and %d PLATFORM_UNAVAILABLE", count, callers-room, room)
		}
	})
}

func TestAnOutageIsLoggedOnceAndSoIsItsEnd(t *testing.T) {
	var log bytes.Buffer
	cfg := both()
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	inBubble(t, cfg, func(p *platform) { p.validate.set(faults["hang"]) }, func(t *testing.T, p *platform, a *Admitter) {
		for range 3 {
			wantCode(t, a, asClient(rsaOne().mint(nil)), reason.PlatformUnavailable)
		}
		p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(200, goodAnswer(nil))(w, r) })
		for range 3 {
			wantCode(t, a, asClient(rsaOne().mint(nil)), "")
		}
	})
	for _, line := range []string{"can't validate tokens", "validates tokens again", "keys fetched"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("got %d lines %q, want 1 in:\n%s", n, line, &log)
		}
	}
}

// TestNothingAboutPeopleIsKept: what a token and the platform say about people is in no Grant, error or log line, and
// neither is a byte of the token or a secret of the relay.
func TestNothingAboutPeopleIsKept(t *testing.T) {
	people := values{
		"sub": "MARK-sub", "userId": "MARK-user", "clientId": "MARK-client", "name": "MARK-name", "email": "MARK@example.com",
		"machineId": "MARK-machine", "pairingSecret": "MARK-secret", "daemonPublicKey": "MARK-key",
		"sessionIds": []string{"MARK-session"}, "MARK-claim": values{"x": "MARK-x"},
	}
	var log bytes.Buffer
	cfg := both()
	cfg.InternalKey = "MARK-internal"
	cfg.ValidateURL += "?MARK-query"
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	bodies := []func() string{
		func() string { return goodAnswer(people) },
		func() string { return goodAnswer(changed(people, values{"workspaceId": "MARK-workspace"})) },
		func() string { return goodAnswer(changed(people, values{"exp": "MARK-exp"})) },
		func() string { return text(values{"ok": false, "reason": "MARK-reason of MARK-user expired"}) },
		func() string { return text(values{"ok": "MARK-ok"}) },
		func() string { return "MARK-garbage" },
	}
	inBubble(t, cfg, nil, func(t *testing.T, p *platform, a *Admitter) {
		check := func(what string) {
			if strings.Contains(what, "MARK") {
				t.Errorf("got a mark in: %s", what)
			}
		}
		try := func(r Request) {
			g, err := a.Admit(t.Context(), r)
			check(fmt.Sprintf("%+v %#v", g, g))
			if err != nil {
				check(fmt.Sprintf("%v %+v", err, reason.Of(err)))
			}
		}
		for _, b := range bodies {
			p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(200, b())(w, r) })
			try(asClient(rsaOne().mint(people)))
		}
		p.validate.set(faults["redirect"])
		try(asClient(rsaOne().mint(people)))
		p.refuse.Store(true)
		try(asClient(rsaOne().mint(people)))
		for _, bad := range []values{
			{"workspaceId": "MARK"}, {"runtimeTargetId": "MARK"}, {"role": "MARK"}, {"scope": "MARK"}, {"iss": "MARK"},
			{"aud": []string{"MARK"}}, {"jti": []string{"MARK"}}, {"exp": "MARK"}, {"e2eeProfile": "MARK"}, {"installId": 1},
		} {
			try(asClient(rsaOne().mint(changed(people, bad))))
		}
		try(asClient("MARK.MARK.MARK"))
		try(asClient("MARK MARK"))
		try(asClient(rsaOne().withHeader(values{"kid": "MARK"})))
		try(asClient(rsaOne().withHeader(values{"alg": "MARK", "crit": "MARK"})))
		r := asClient("MARK")
		r.Workspace = "MARK/"
		try(r)
		check(fmt.Sprintf("%+v", a.Stats()))
	})
	if strings.Contains(log.String(), "MARK") || strings.Contains(log.String(), "eyJ") {
		t.Errorf("got a mark or a token in the log:\n%s", &log)
	}
	if log.Len() == 0 {
		t.Error("got an empty log, want the outage in it")
	}
}
