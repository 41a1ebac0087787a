package admission

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzPreParse: what passes has one encoding only, and golang-jwt reads the same header and claims from it.
func FuzzPreParse(f *testing.F) {
	head := b64([]byte(`{"alg":"EdDSA","kid":"k"}`))
	for _, seed := range []string{
		"", "..", "...", "a.b.c", unsigned("RS256"), unsigned("none"),
		head + "." + b64([]byte(`{"exp":1,"x":[1.5e3,{"a":null}],"\u00e9":"\ud83d\ude00"}`)) + ".AA",
		head + ".e30.AB",
		head + ".e3\n0.AA",
		b64([]byte(`{"alg":"EdDSA","kid":"k","kid":"l"}`)) + ".e30.AA",
		b64([]byte(`{"alg":"EdDSA","kid":"k"} `)) + ".e30.AAAA",
		head + "." + b64([]byte(`{"x":"\ud800"}`)) + ".AAAA",
		head + "." + b64([]byte(`{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`)) + ".AAAA",
	} {
		f.Add(seed)
	}
	f.Fuzz(agreeWithJWT)
}

// FuzzPreParseJSON is the same with the base64 done, which random changes hardly ever leave whole.
func FuzzPreParseJSON(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"alg":"EdDSA","kid":"k"}`, `{"exp":1,"x":[1.5e3,{"a":null}],"aud":["a"],"\u00e9":"\ud83d\ude00"}`},
		{`{"alg":"RS256","kid":"k","jwk":{"kty":"oct"}}`, text(good(nil))},
		{`{"alg":"ES256","kid":"k","crit":[],"b64":false}`, `{"aud":"a","iss":"b","nbf":0}`},
		{`{"alg":"none","alg":"RS256","kid":""}`, `{"role":"client","rol\u0065":"x"}`},
		{`{"\ud800":1}`, `[]`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, head, claims []byte) { agreeWithJWT(t, b64(head)+"."+b64(claims)+".AAAA") })
}

// agreeWithJWT fails if preParse accepts what golang-jwt refuses or reads differently.
func agreeWithJWT(t *testing.T, token string) {
	head, claims, err := preParse(token)
	if err != nil {
		return
	}
	for _, part := range strings.Split(token, ".") {
		b, err := strictBase64.DecodeString(part)
		if err != nil || b64(b) != part {
			t.Errorf("got a part accepted that has another encoding: %q", part)
		}
	}
	parser := jwt.NewParser(jwt.WithJSONNumber(), jwt.WithStrictDecoding())
	theirs := jwt.MapClaims{}
	parsed, _, err := parser.ParseUnverified(token, theirs)
	if err != nil {
		t.Fatalf("golang-jwt: got %v, want it accepted", err)
	}
	if got := (header{parsed.Method.Alg(), parsed.Header["kid"].(string)}); got != head {
		t.Errorf("got header %+v, golang-jwt %v", head, parsed.Header)
	}
	if ours := plain(claims); !reflect.DeepEqual(ours, map[string]any(theirs)) {
		t.Errorf("got claims %v, golang-jwt %v", ours, theirs)
	}
	// What is typed must come out the same as golang-jwt types it, where both accept.
	c, err := readClaims(claims)
	if err != nil {
		return
	}
	if issuer, _ := theirs.GetIssuer(); issuer != c.issuer {
		t.Errorf("got iss %q, golang-jwt %q", c.issuer, issuer)
	}
	audience, _ := theirs.GetAudience()
	if len(audience) != len(c.audience) || len(audience) > 0 && !reflect.DeepEqual(audience, c.audience) {
		t.Errorf("got aud %q, golang-jwt %q", c.audience, audience)
	}
	expires, _ := theirs.GetExpirationTime()
	if (expires == nil) != (c.expires == nil) || expires != nil && !expires.Equal(c.expires.Time) {
		t.Errorf("got exp %v, golang-jwt %v", c.expires, expires)
	}
}

// plain turns objects into the maps that encoding/json makes.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		m := map[string]any{}
		for name, value := range v {
			m[name] = plain(value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	return v
}

// FuzzObject: what passes is what encoding/json reads, and every other reader of JSON must read the same.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":{"b":[{"c":1,"c":1}]}}`, `[]`, `null`, `{"a":1}x`,
		`{"a":"\ud800"}`, `{"a":[1,[2]],"b":tru}`,
		`{"\ud800\udc00":"\\ud800"}`, `{"a":1,}`, `{"a" "b"}`, "{\"a\":\"\xff\"}", ` {"a":-0.0e-1} `, `{`, `{"a":[}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseObject(b)
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		var want map[string]any
		theirs := d.Decode(&want)
		if err != nil {
			if errors.Is(err, errNoObject) && json.Valid(b) && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
				t.Errorf("got %v for an object", err)
			}
			return
		}
		if theirs != nil || !json.Valid(b) || !reflect.DeepEqual(plain(got), any(want)) {
			t.Errorf("got %v, encoding/json %v, %v", got, want, theirs)
		}
	})
}

// FuzzJWKS: no document makes the reader panic, and every key that passes is strong and of its algorithm.
func FuzzJWKS(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"keys":[]}`, document(ecOne(), edOne()), document(rsaOne()),
		`{"keys":[{"kid":"a","kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kid":"a","kty":"oct","k":"AA"},null,5]}`,
		text(values{"keys": []any{ecOne().with(values{"x": "AA"}), edOne().with(values{"key_ops": []string{"verify"}})}}),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := parseKeySet(b)
		if err != nil {
			return
		}
		if len(set) == 0 || len(set) > maxKeys {
			t.Errorf("got %d keys", len(set))
		}
		for id, k := range set {
			if _, ok := keyID(id); !ok {
				t.Errorf("got kid %q", id)
			}
			if fault := weakness(k); fault != "" {
				t.Errorf("got a key that is %s", fault)
			}
			// Whatever the key is, checking a signature with it must end.
			_ = jwt.GetSigningMethod(k.algorithm).Verify("x", make([]byte, 64), k.public)
		}
	})
}

// FuzzLegacyClaims: claims that pass are within the limits that today's relays have, checked here another way, and what
// is granted by them is what they say.
func FuzzLegacyClaims(f *testing.F) {
	for _, row := range legacyClaimRows {
		for _, v := range append(row.good, row.bad...) {
			f.Add([]byte(text(good(values{row.name: v}))))
		}
	}
	f.Add([]byte(`{"workspaceId":" a ","runtimeTargetId":"\ufeff","scope":"pairing","role":"worker","userId":"\ud83d\ude00"}`))
	channel := regexp.MustCompile(`^agent-session:[^\n\r\x{2028}\x{2029}]+$`)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseObject(b)
		if err != nil {
			return
		}
		c, err := readLegacyClaims(o)
		if err != nil {
			return
		}
		if _, err := readClaims(o); err != nil {
			t.Errorf("got claims accepted that a re-check would not: %v", err)
		}
		var theirs struct {
			ClientID, MachineID, UserID, ManagedExecutorID, E2EEProfile *string
			SessionChannels, SessionIDs                                 []string
		}
		exact := map[string]json.RawMessage{} // encoding/json would match names in any case
		if err := json.Unmarshal(b, &exact); err != nil {
			t.Fatal(err)
		}
		for name, to := range map[string]any{
			"clientId": &theirs.ClientID, "machineId": &theirs.MachineID, "userId": &theirs.UserID,
			"managedExecutorId": &theirs.ManagedExecutorID, "e2eeProfile": &theirs.E2EEProfile,
			"sessionChannels": &theirs.SessionChannels, "sessionIds": &theirs.SessionIDs,
		} {
			if v, there := exact[name]; there {
				if err := json.Unmarshal(v, to); err != nil {
					t.Fatalf("%s: got it accepted, encoding/json: %v", name, err)
				}
			}
		}
		for _, claim := range []struct {
			theirs *string
			ours   string
			most   int
		}{
			{theirs.ClientID, c.legacy.client, 128}, {theirs.MachineID, c.legacy.machine, 255},
			{theirs.UserID, c.legacy.user, 128}, {theirs.ManagedExecutorID, c.legacy.executor, 128},
			{theirs.E2EEProfile, [...]string{"", "noise-ik", "noise-ikpsk2"}[c.legacy.profile], 128},
		} {
			if claim.theirs == nil && claim.ours == "" {
				continue
			}
			if claim.theirs == nil || *claim.theirs != claim.ours || claim.ours == "" ||
				len(utf16.Encode([]rune(claim.ours))) > claim.most {
				t.Errorf("got %q accepted", claim.ours)
			}
		}
		if len(theirs.SessionChannels) > 64 || len(theirs.SessionIDs) > 64 ||
			!slices.Equal(theirs.SessionChannels, c.legacy.channels) {
			t.Errorf("got channels %q, encoding/json %q", c.legacy.channels, theirs.SessionChannels)
		}
		for _, s := range c.legacy.channels {
			if !channel.MatchString(s) || len(utf16.Encode([]rune(s))) > 255 {
				t.Errorf("got %q accepted as a channel", s)
			}
		}
	})
}
