package devplatform

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
)

// knownClaims are those that today's relays know; one more and they refuse the token.
var knownClaims = []string{
	"aud", "clientId", "daemonIssueGeneration", "daemonPublicKey", "e2eeProfile", "exp", "iat", "installId", "iss",
	"jti",
	"machineId", "managedExecutorId", "nbf", "pairingSecret", "policyMode", "relayWsBaseUrl", "role", "runtimeTargetId",
	"scope", "sessionChannels", "sessionIds", "userId", "ver", "workspaceId",
}

// call posts and returns status and answer.
func call(t *testing.T, s *Server, client *http.Client, path string, body any) (int, map[string]any) {
	t.Helper()
	status, b := ask(t, client, s.URL()+path, body)
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %d %s: %v", path, status, b, err)
	}
	return status, got
}

func p256Key(t *testing.T) string {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())
}

// claimsAreThose fails unless the token has these claims beside iss, aud, jti, iat and exp, is signed with RS256 and
// validates as relays of today want it.
func claimsAreThose(t *testing.T, s *Server, client *http.Client, token any, want map[string]any) {
	t.Helper()
	text, _ := token.(string)
	var header struct{ Alg, Kid string }
	if err := json.Unmarshal(decodePart(t, text, 0), &header); err != nil || header.Alg != RS256 || header.Kid == "" {
		t.Errorf("got header %+v (%v), want RS256 and a kid: today's daemons read RSA keys only", header, err)
	}
	target, _ := want["runtimeTargetId"].(string)
	question := question(text, want["role"].(string), want["workspaceId"].(string), target)
	status, got := validate(t, s, client, question)
	if status != http.StatusOK || !got.OK {
		t.Errorf("validate: got %d %+v", status, got)
	}
	for name := range got.Claims {
		if !slices.Contains(knownClaims, name) {
			t.Errorf("got claim %s, which a relay of today refuses", name)
		}
	}
	if got.Claims["iss"] != "viewport-server" || got.Claims["aud"] != "viewport-relay" || got.Claims["jti"] == "" {
		t.Errorf("got %v", got.Claims)
	}
	maps.DeleteFunc(got.Claims, func(name string, _ any) bool {
		return slices.Contains([]string{"iss", "aud", "jti", "iat", "exp"}, name)
	})
	if fmt.Sprint(got.Claims) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got.Claims, want)
	}
}

func TestALegacyDaemonGetsATokenAndItsClientsItsKey(t *testing.T) {
	s, client := start(t, Config{})
	key := p256Key(t)
	status, daemon := call(t, s, client, "/api/runtime/workspaces/acme/daemon-key",
		map[string]any{"credential": "issue-token", "daemonPublicKey": key, "runtimeTargetId": "host-1"})
	if status != http.StatusOK || daemon["ok"] != true || daemon["runtimeTargetId"] != "host-1" {
		t.Errorf("daemon-key: got %d %v", status, daemon)
	}
	status, issued := call(t, s, client, "/api/runtime/relay-token", map[string]any{
		"role": "workspace-daemon", "workspaceId": "acme", "runtimeTargetId": "host-1", "credential": "issue-token"})
	if status != http.StatusOK || issued["ok"] != true {
		t.Errorf("relay-token: got %d %v", status, issued)
	}
	claimsAreThose(t, s, client, issued["relayToken"], map[string]any{
		"role": "workspace-daemon", "workspaceId": "acme", "runtimeTargetId": "host-1", "e2eeProfile": "noise-ik",
		"installId": daemon["installId"], "daemonIssueGeneration": 1,
	})

	wanted := map[string]any{"runtime_target_id": "host-1", "clientId": "c1", "userId": "ann"}
	for target, key := range map[string]any{"host-1": key, "host-2": nil} {
		wanted["runtime_target_id"] = target
		status, issued := call(t, s, client, "/api/workspaces/acme/relay-token", wanted)
		if status != http.StatusOK {
			t.Errorf("a client's token: got %d %v", status, issued)
		}
		want := map[string]any{
			"role": "client", "workspaceId": "acme", "runtimeTargetId": target, "e2eeProfile": "noise-ik",
			"scope": "runtime", "clientId": "c1", "userId": "ann", "daemonPublicKey": key,
		}
		if key == nil {
			delete(want, "daemonPublicKey")
		}
		claimsAreThose(t, s, client, issued["token"], want)
	}
	if got, want := s.Calls(), (Calls{DaemonKeys: 1, RelayTokens: 3, Validate: 3, ValidateAtOnce: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestADaemonThatKnowsNoTargetIsGivenItsOwn(t *testing.T) {
	s, client := start(t, Config{})
	get := func(credential string) (any, any) {
		status, got := call(t, s, client, "/api/runtime/workspaces/acme/daemon-key",
			map[string]any{"credential": credential, "daemonPublicKey": p256Key(t)})
		if status != http.StatusOK || got["runtimeTargetId"] == "" || got["installId"] == "" {
			t.Errorf("got %d %v", status, got)
		}
		return got["runtimeTargetId"], got["installId"]
	}
	target, install := get("one")
	if again, same := get("one"); again != target || same != install {
		t.Errorf("got %v of %v, then %v of %v for the same credential", target, install, again, same)
	}
	if other, another := get("two"); other == target || another == install {
		t.Error("got the same for another credential")
	}
}

func TestAClientOfAnyScopeGetsAToken(t *testing.T) {
	s, client := start(t, Config{})
	for scope, more := range map[string]map[string]any{
		"pairing":        {},
		"session-events": {"runtimeTargetId": "host-1", "sessionChannels": []any{"agent-session:s1"}},
	} {
		wanted := map[string]any{"scope": scope, "clientId": "c1", "e2eeProfile": "noise-ikpsk2", "ttlSeconds": 60}
		maps.Copy(wanted, more)
		status, issued := call(t, s, client, "/api/workspaces/acme/relay-token", wanted)
		if status != http.StatusOK {
			t.Errorf("%s: got %d %v", scope, status, issued)
		}
		delete(wanted, "ttlSeconds")
		maps.Copy(wanted, map[string]any{"role": "client", "workspaceId": "acme", "userId": "dev-user"})
		claimsAreThose(t, s, client, issued["token"], wanted)
	}
}

func TestAWorkerGetsAToken(t *testing.T) {
	s, client := start(t, Config{})
	path := "/api/runtime/workspaces/acme/managed-executors/e1/relay-token"
	status, issued := call(t, s, client, path, map[string]any{"credential": "lease", "ttl_seconds": 3600})
	if _, told := issued["claims"].(map[string]any); status != http.StatusOK || issued["ok"] != true || !told {
		t.Errorf("got %d %v", status, issued)
	}
	claimsAreThose(t, s, client, issued["relayToken"],
		map[string]any{"role": "worker", "workspaceId": "acme", "managedExecutorId": "e1"})
	claims := claimsOf(t, issued["relayToken"].(string))
	if exp, iat := claims["exp"].(float64), claims["iat"].(float64); exp-iat != 3600 {
		t.Errorf("got %v seconds to live, want 3600", exp-iat)
	}
}

func TestMintLegacyFillsInWhatThePlatformAlwaysSays(t *testing.T) {
	s, client := start(t, Config{})
	mint := func(c Claims) string {
		t.Helper()
		token, err := s.MintLegacy(c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	s.SetDaemonKey("acme", "host-1", "key")
	claimsAreThose(t, s, client, mint(Claims{Role: RoleDaemon, WorkspaceID: "acme", RuntimeTargetID: "host-1"}),
		map[string]any{
			"role": RoleDaemon, "workspaceId": "acme", "runtimeTargetId": "host-1", "e2eeProfile": "noise-ik",
			"installId": "install-1", "daemonIssueGeneration": 1,
		})
	claimsAreThose(t, s, client, mint(Claims{
		Role: RoleClient, WorkspaceID: "acme", RuntimeTargetID: "host-1", ClientID: "c1", UserID: "ann",
		MachineID: "m1", SessionChannels: []string{"agent-session:s"}, Extra: map[string]any{"e2eeProfile": nil},
	}), map[string]any{
		"role": RoleClient, "workspaceId": "acme", "runtimeTargetId": "host-1", "scope": "runtime", "clientId": "c1",
		"userId": "ann", "machineId": "m1", "sessionChannels": []any{"agent-session:s"}, "daemonPublicKey": "key",
	})
	claimsAreThose(t, s, client, mint(Claims{Role: RoleWorker, WorkspaceID: "acme", ManagedExecutorID: "e1"}),
		map[string]any{"role": RoleWorker, "workspaceId": "acme", "managedExecutorId": "e1"})
	one := claimsOf(t, mint(Claims{Role: RoleClient}))
	two := claimsOf(t, mint(Claims{Role: RoleClient}))
	if one["clientId"] == two["clientId"] {
		t.Errorf("got client id %v twice", one["clientId"])
	}
}

func TestCallsOfLegacyPeersThatAreNoneAreRefused(t *testing.T) {
	s, client := start(t, Config{})
	const (
		keys, tokens = "/api/runtime/workspaces/acme/daemon-key", "/api/runtime/relay-token"
		executor     = "/api/runtime/workspaces/acme/managed-executors/e1"
	)
	for _, row := range []struct {
		path, body string
		status     int
		reason     string
	}{
		{keys, `{`, 400, "REQUEST_INVALID"},
		{keys, `{"credential":"c"}`, 400, "REQUEST_INVALID"},
		{keys, `{"credential":"c","daemonPublicKey":"BAAA"}`, 400, "REQUEST_INVALID"},
		{keys, `{"daemonPublicKey":"` + p256Key(t) + `"}`, 401, "CREDENTIAL_MISSING"},
		{tokens, `[]`, 400, "REQUEST_INVALID"},
		{tokens, `null`, 400, "REQUEST_INVALID"},
		{tokens, `{"role":"workspace-daemon"}`, 401, "CREDENTIAL_MISSING"},
		{tokens, `{"role":"client","credential":"c"}`, 400, "REQUEST_INVALID"},
		{tokens, `{"role":"workspace-daemon","credential":"c","ttlSeconds":"1"}`, 400, "REQUEST_INVALID"},
		{"/api/workspaces/acme/relay-token", `x`, 400, "REQUEST_INVALID"},
		{executor + "/relay-token", `{}`, 401, "CREDENTIAL_MISSING"},
		{executor + "/relay-token", `{"credential":"c","ttl_seconds":0}`, 400, "REQUEST_INVALID"},
		{executor + "/status/99", ``, 400, "REQUEST_INVALID"},
		{executor + "/status/ok", ``, 400, "REQUEST_INVALID"},
		{executor + "/big/-1", ``, 400, "REQUEST_INVALID"},
	} {
		if status, got := call(t, s, client, row.path, row.body); status != row.status || got["reason"] != row.reason {
			t.Errorf("%s %s: got %d %v, want %d %s", row.path, row.body, status, got, row.status, row.reason)
		}
	}
	for _, path := range []string{
		keys, tokens, "/api/workspaces/acme/relay-token", executor + "/relay-token",
	} {
		status, _ := ask(t, client, s.URL()+path, `{"credential":"c"}`, "origin", "https://example.com")
		if status != http.StatusForbidden {
			t.Errorf("%s for a web page: got %d, want 403", path, status)
		}
		s.SetFault(Issue, Fail)
		if status, _ := ask(t, client, s.URL()+path, `{"credential":"c"}`); status != http.StatusInternalServerError {
			t.Errorf("%s with a fault: got %d, want 500", path, status)
		}
		s.SetFault(Issue, NoFault)
	}
}
