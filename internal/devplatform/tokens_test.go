package devplatform

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func daemonClaims() Claims {
	return Claims{
		Role: RoleDaemon, WorkspaceID: "acme", RuntimeTargetID: "host-1", InstallID: "install-1",
		DaemonIssueGeneration: 3, PolicyMode: "crypto_pairing", E2EEProfile: "noise-ikpsk2",
	}
}

func mint(t *testing.T, s *Server, c Claims) string {
	t.Helper()
	token, err := s.Mint(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	part := strings.Split(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// question is the body of a validate call; target "" leaves it out.
func question(token, role, workspace, target string) map[string]string {
	q := map[string]string{"relayToken": token, "role": role, "workspaceId": workspace}
	if target != "" {
		q["runtimeTargetId"] = target
	}
	return q
}

// reply is any answer of validate.
type reply struct {
	OK     bool           `json:"ok"`
	Reason string         `json:"reason"`
	Claims map[string]any `json:"claims"`
}

func validate(t *testing.T, s *Server, client *http.Client, body any, header ...string) (int, reply) {
	t.Helper()
	status, b := ask(t, client, s.ValidateURL(), body, header...)
	var got reply
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return status, got
}

// want fails unless validate answers with status and reason; no reason means yes.
func want(
	t *testing.T, s *Server, client *http.Client, name string, body any, status int, reason string, header ...string,
) {
	t.Helper()
	gotStatus, got := validate(t, s, client, body, header...)
	yes := reason == ""
	if gotStatus != status || got.Reason != reason || got.OK != yes || (got.Claims != nil) != yes {
		t.Errorf("%s: got %d %+v, want %d %q", name, gotStatus, got, status, reason)
	}
}

func TestTokensOfEveryAlgorithmVerifyWithThePublishedKeys(t *testing.T) {
	s, client := start(t, Config{})
	_, b := ask(t, client, s.JWKSURL(), nil)
	if _, other := ask(t, client, s.URL()+"/api/.well-known/jwks.json", nil); string(other) != string(b) {
		t.Errorf("got %s at the other address, want %s", other, b)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(b, &set); err != nil || len(set.Keys) != 3 {
		t.Fatalf("got %s (%v), want three keys", b, err)
	}
	public := map[string]any{}
	for _, k := range set.Keys {
		if k["use"] != "sig" || k["d"] != "" {
			t.Errorf("got %v, want a public key for signatures", k)
		}
		public[k["alg"]+k["kid"]] = parseKey(t, k)
	}
	for _, algorithm := range []string{"", RS256, ES256, EdDSA} {
		c := daemonClaims()
		c.Algorithm = algorithm
		token := mint(t, s, c)
		parsed, err := jwt.Parse(token, func(token *jwt.Token) (any, error) {
			return public[token.Method.Alg()+token.Header["kid"].(string)], nil
		})
		if err != nil || algorithm != "" && parsed.Method.Alg() != algorithm {
			t.Errorf("%s: got %v", algorithm, err)
		}
		want(t, s, client, algorithm, question(token, RoleDaemon, "acme", "host-1"), 200, "")
	}
}

func parseKey(t *testing.T, k map[string]string) any {
	t.Helper()
	number := func(name string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(k[name])
		if err != nil || len(b) == 0 {
			t.Fatalf("%s of %v: %v", name, k, err)
		}
		return b
	}
	switch k["kty"] + k["crv"] {
	case "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number("n")), E: int(new(big.Int).SetBytes(number("e")).Int64())}
	case "ECP-256":
		point := append(append([]byte{4}, number("x")...), number("y")...)
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			t.Fatal(err)
		}
		return key
	case "OKPEd25519":
		return ed25519.PublicKey(number("x"))
	}
	t.Fatalf("got %v, want a known type", k)
	return nil
}

func TestATokenSaysWhatWasWantedAndWhatEveryTokenSays(t *testing.T) {
	s, client := start(t, Config{})
	status, b := ask(t, client, s.URL()+"/dev/tokens", `{"role":"client","workspaceId":"acme",
		"runtimeTargetId":"host-1","daemonIssueGeneration":9007199254740993,"ttlSeconds":60,"userId":"ann",
		"deep":{"a":[1]},"alg":"ES256","jti":null}`)
	var got struct{ Token string }
	if err := json.Unmarshal(b, &got); err != nil || status != http.StatusOK {
		t.Fatalf("got %d %s, want a token", status, b)
	}
	if !strings.Contains(string(decodePart(t, got.Token, 1)), `"daemonIssueGeneration":9007199254740993`) {
		t.Error("a large generation was rounded")
	}
	claims := claimsOf(t, got.Token)
	if exp, iat := claims["exp"].(float64), claims["iat"].(float64); exp-iat != 60 {
		t.Errorf("got %v seconds to live, want 60", exp-iat)
	}
	delete(claims, "exp")
	delete(claims, "iat")
	delete(claims, "daemonIssueGeneration")
	wanted := "map[aud:viewport-relay deep:map[a:[1]] iss:viewport-server role:client " +
		"runtimeTargetId:host-1 scope:runtime userId:ann workspaceId:acme]"
	if fmt.Sprint(claims) != wanted {
		t.Errorf("got %v, want %v", claims, wanted)
	}
	one, two := claimsOf(t, mint(t, s, daemonClaims())), claimsOf(t, mint(t, s, daemonClaims()))
	if one["jti"] == two["jti"] || one["jti"] == "" || one["scope"] != nil {
		t.Errorf("got %v and %v, want a fresh jti each and no scope for a daemon", one, two)
	}
}

func decodePart(t *testing.T, token string, i int) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestValidateReturnsAllClaimsOfAGoodToken(t *testing.T) {
	s, client := start(t, Config{Issuer: "them", Audience: "us"})
	c := daemonClaims()
	c.Extra = map[string]any{"userId": "ann", "unknown": 1}
	token := mint(t, s, c)
	status, got := validate(t, s, client, question(token, RoleDaemon, "acme", "host-1"))
	if status != 200 || !got.OK || fmt.Sprint(got.Claims) != fmt.Sprint(claimsOf(t, token)) {
		t.Errorf("got %d %+v, want the claims of the token", status, got)
	}
	want(t, s, client, "no target asked for", question(token, RoleDaemon, "acme", ""), 200, "")
}

func TestValidateRefusesWhatATokenDoesNotAllow(t *testing.T) {
	s, client := start(t, Config{})
	token := mint(t, s, daemonClaims())
	for _, c := range []struct{ name, role, workspace, target, reason string }{
		{"another role", RoleClient, "acme", "host-1", "ROLE_MISMATCH"},
		{"no role", "", "acme", "host-1", "ROLE_MISMATCH"},
		{"another workspace", RoleDaemon, "other", "host-1", "WORKSPACE_MISMATCH"},
		{"another target", RoleDaemon, "acme", "host-2", "TARGET_MISMATCH"},
	} {
		want(t, s, client, c.name, question(token, c.role, c.workspace, c.target), 403, c.reason)
	}
	c := daemonClaims()
	c.RuntimeTargetID = ""
	without := question(mint(t, s, c), RoleDaemon, "acme", "host-1")
	want(t, s, client, "no target in the token", without, 403, "TARGET_MISMATCH")
	want(t, s, client, "an empty target", map[string]string{
		"relayToken": token, "role": RoleDaemon, "workspaceId": "acme", "runtimeTargetId": "",
	}, 403, "TARGET_MISMATCH")
	for _, body := range []string{
		"", "{", "null", "[]", `{"relayToken":1}`, `{"role":"client","workspaceId":"acme"}`,
		`{"relayToken":"a","role":"client"}`,
	} {
		want(t, s, client, body, body, 400, "REQUEST_INVALID")
	}
}

func TestValidateRefusesTokensThatAreNotGood(t *testing.T) {
	s, client := start(t, Config{})
	other, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Claims)) string {
		c := daemonClaims()
		change(&c)
		return mint(t, s, c)
	}
	good := mint(t, s, daemonClaims())
	part := strings.Split(good, ".")
	changed := strings.Replace(string(decodePart(t, good, 1)), "host-1", "host-2", 1)
	forged := base64.RawURLEncoding.EncodeToString([]byte(changed))
	extra := func(name string, value any) string {
		return with(func(c *Claims) { c.Extra = map[string]any{name: value} })
	}
	for name, c := range map[string]struct{ token, reason string }{
		"nonsense":           {"nonsense", "TOKEN_INVALID"},
		"another platform":   {mint(t, other, daemonClaims()), "TOKEN_INVALID"},
		"a changed claim":    {part[0] + "." + forged + "." + part[2], "TOKEN_INVALID"},
		"no signature":       {part[0] + "." + part[1] + ".", "TOKEN_INVALID"},
		"padding":            {good + "=", "TOKEN_INVALID"},
		"alg none":           {unsigned(part[1]), "TOKEN_INVALID"},
		"algorithm confused": {confused(t, s, part[1]), "TOKEN_INVALID"},
		"another key's id":   {signed(t, s, jwt.SigningMethodES256, 1), "TOKEN_INVALID"},
		"another padding":    {signed(t, s, jwt.SigningMethodPS256, 0), "TOKEN_INVALID"},
		"another issuer":     {extra("iss", "them"), "TOKEN_INVALID"},
		"no issuer":          {extra("iss", nil), "TOKEN_INVALID"},
		"another audience":   {extra("aud", "them"), "TOKEN_INVALID"},
		"no audience":        {extra("aud", nil), "TOKEN_INVALID"},
		"no expiry":          {extra("exp", nil), "TOKEN_INVALID"},
		"not yet":            {extra("nbf", time.Now().Add(time.Hour).Unix()), "TOKEN_INVALID"},
		"expired":            {with(func(c *Claims) { c.TTL = -time.Second }), "TOKEN_EXPIRED"},
		"expired, elsewhere": {with(func(c *Claims) {
			c.TTL, c.Extra = -time.Second, map[string]any{"aud": "them"}
		}), "TOKEN_INVALID"},
	} {
		want(t, s, client, name, question(c.token, RoleDaemon, "acme", "host-1"), 401, c.reason)
	}
	want(t, s, client, "a list of audiences", question(with(func(c *Claims) {
		c.Extra = map[string]any{"aud": []string{"them", "viewport-relay"}}
	}), RoleDaemon, "acme", "host-1"), 200, "")
}

func unsigned(payload string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + payload + "."
}

// confused signs with HS256 and the published RSA key in PEM as the secret (CVE-2015-9235).
func confused(t *testing.T, s *Server, payload string) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.keys[0].private.Public())
	if err != nil {
		t.Fatal(err)
	}
	header := fmt.Sprintf(`{"alg":"HS256","kid":%q}`, s.keys[0].id)
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + payload
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signed signs good claims with a method and a key of the caller's choice, and names the RSA key.
func signed(t *testing.T, s *Server, method jwt.SigningMethod, key int) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claimsOf(t, mint(t, s, daemonClaims()))))
	token.Header["kid"] = s.keys[0].id
	signed, err := token.SignedString(s.keys[key].private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestWhatIsRevokedIsRefusedUntilItIsRestored(t *testing.T) {
	s, client := start(t, Config{})
	token := mint(t, s, daemonClaims())
	other := daemonClaims()
	other.InstallID = "install-2"
	body := question(token, RoleDaemon, "acme", "host-1")
	otherBody := question(mint(t, s, other), RoleDaemon, "acme", "host-1")
	for _, c := range []struct {
		subject string
		others  bool // are refused as well
	}{
		{fmt.Sprintf(`{"jti":%q}`, claimsOf(t, token)["jti"]), false},
		{`{"installId":"install-1"}`, false},
		{`{"workspaceId":"acme"}`, true},
		{`{"jti":"another","installId":"install-1"}`, false},
	} {
		status, b := ask(t, client, s.URL()+"/dev/revoke", c.subject)
		if status != 200 || string(b) != "{\"ok\":true}\n" {
			t.Fatalf("got %d %s, want ok", status, b)
		}
		want(t, s, client, c.subject, body, 403, "PAIRING_REVOKED")
		if c.others {
			want(t, s, client, c.subject+" and others", otherBody, 403, "PAIRING_REVOKED")
		} else {
			want(t, s, client, c.subject+" and others", otherBody, 200, "")
		}
		if status, b := ask(t, client, s.URL()+"/dev/restore", c.subject); status != 200 {
			t.Fatalf("got %d %s, want ok", status, b)
		}
		want(t, s, client, c.subject+" restored", body, 200, "")
	}
	// What is not revoked by its own claim is not by another's.
	s.Revoke(Subject{JTI: "install-1"})
	want(t, s, client, "a jti that looks like an install", body, 200, "")
}

func TestTheInternalKeyIsWantedWhenThereIsOne(t *testing.T) {
	s, client := start(t, Config{InternalKey: "secret"})
	body := question(mint(t, s, daemonClaims()), RoleDaemon, "acme", "host-1")
	want(t, s, client, "none", body, 401, "INTERNAL_KEY_INVALID")
	want(t, s, client, "another", body, 401, "INTERNAL_KEY_INVALID", "x-relay-internal-key", "secreT")
	want(t, s, client, "right", body, 200, "", "x-relay-internal-key", "secret")
}
