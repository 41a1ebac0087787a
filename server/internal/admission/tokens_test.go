package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// resign signs like s with another algorithm and key.
func resign(method jwt.SigningMethod, private any, header, claims string) string {
	head := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, err := method.Sign(head, private)
	if err != nil {
		panic(err)
	}
	return head + "." + b64(sig)
}

// withHeader is a good token of s with the header changed.
func (s signer) withHeader(changes values) string {
	h := changed(values{"alg": s.method.Alg(), "kid": s.id}, changes)
	return s.sign(text(h), text(good(nil)))
}

// rawClaims is a token of rsaOne whose claims are good ones with text put in front.
func rawClaims(front string) string {
	return rsaOne().sign(rsaOne().header(), "{"+front+","+text(good(nil))[1:])
}

// unsigned has the header's alg and some signature.
func unsigned(alg string) string {
	return b64([]byte(text(values{"alg": alg, "kid": "rsa-1"}))) + "." + b64([]byte(text(good(nil)))) + ".AAAA"
}

// at is the time now and a number of seconds.
func at(seconds int64) int64 { return time.Now().Unix() + seconds }

// edit changes the three parts of a good token.
func edit(f func(parts []string)) string {
	parts := strings.Split(rsaOne().mint(nil), ".")
	f(parts)
	return strings.Join(parts, ".")
}

// nonCanonical sets a bit of the last character that decoding ignores.
func nonCanonical(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%4 == 0 {
		panic("this text has no spare bits")
	}
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + alphabet[last|1:last|1+1]
}

// spareBits are good claims whose base64 has spare bits.
func spareBits() string {
	claims := text(good(nil))
	for len(claims)%3 != 1 {
		claims = " " + claims
	}
	return claims
}

// hostile are tokens with the reason that each gets from a relay that has the platform's keys; "" is admitted. They
// are made inside the test, for they hold the time.
var hostile = map[string]tokenRow{
	"RS256": {func() string { return rsaOne().mint(nil) }, ""},
	"ES256": {func() string { return ecOne().mint(nil) }, ""},
	"EdDSA": {func() string { return edOne().mint(nil) }, ""},

	// Algorithms.
	"alg empty":                  {func() string { return unsigned("") }, reason.TokenInvalid},
	"alg RS256, empty signature": {func() string { return edit(func(p []string) { p[2] = "" }) }, reason.TokenInvalid},
	"alg rs256": {func() string {
		return rsaOne().withHeader(values{"alg": "rs256"})
	}, reason.TokenInvalid},
	"alg absent": {func() string {
		return rsaOne().withHeader(values{"alg": nil})
	}, reason.TokenInvalid},
	"alg a number": {func() string {
		return rsaOne().withHeader(values{"alg": 256})
	}, reason.TokenInvalid},
	"alg an array": {func() string {
		return rsaOne().withHeader(values{"alg": []string{"RS256"}})
	}, reason.TokenInvalid},
	"Alg instead of alg": {
		func() string { return rsaOne().withHeader(values{"alg": nil, "Alg": "RS256"}) }, reason.TokenInvalid,
	},
	"PS256 with the right key": {func() string {
		return resign(jwt.SigningMethodPS256, rsaOne().private, `{"alg":"PS256","kid":"rsa-1"}`, text(good(nil)))
	}, reason.TokenInvalid},
	"PS256 said to be RS256": {func() string {
		return resign(jwt.SigningMethodPS256, rsaOne().private, rsaOne().header(), text(good(nil)))
	}, reason.TokenInvalid},
	"RS512 with the right key": {func() string {
		return resign(jwt.SigningMethodRS512, rsaOne().private, `{"alg":"RS512","kid":"rsa-1"}`, text(good(nil)))
	}, reason.TokenInvalid},
	"RS256 with the kid of an EC key": {func() string {
		return rsaOne().withHeader(values{"kid": "ec-1"})
	}, reason.TokenInvalid},
	"ES256 with the kid of an RSA key": {func() string {
		return ecOne().withHeader(values{"kid": "rsa-1"})
	}, reason.TokenInvalid},
	"EdDSA with the kid of an EC key": {func() string {
		return edOne().withHeader(values{"kid": "ec-1"})
	}, reason.TokenInvalid},
	"ES384 said to be ES256": {func() string {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return resign(jwt.SigningMethodES384, k, ecOne().header(), text(good(nil)))
	}, reason.TokenInvalid},
	"another key under this kid": {func() string {
		return rsaTwo().withHeader(values{"kid": "rsa-1"})
	}, reason.TokenInvalid},

	// Key ids.
	"kid unknown": {func() string {
		return rsaOne().withHeader(values{"kid": "nobody"})
	}, reason.PlatformUnavailable},
	"kid in other case": {func() string {
		return rsaOne().withHeader(values{"kid": "RSA-1"})
	}, reason.PlatformUnavailable},
	"kid a path": {func() string {
		return rsaOne().withHeader(values{"kid": "../../dev/null"})
	}, reason.PlatformUnavailable},
	"kid absent": {func() string { return rsaOne().withHeader(values{"kid": nil}) }, reason.TokenInvalid},
	"kid empty":  {func() string { return rsaOne().withHeader(values{"kid": ""}) }, reason.TokenInvalid},
	"kid null": {func() string {
		return rsaOne().sign(`{"alg":"RS256","kid":null}`, text(good(nil)))
	}, reason.TokenInvalid},
	"kid with NUL":  {func() string { return rsaOne().withHeader(values{"kid": "rsa-1\x00"}) }, reason.TokenInvalid},
	"kid not ASCII": {func() string { return rsaOne().withHeader(values{"kid": "rsa‑1"}) }, reason.TokenInvalid},
	"kid of 129 bytes": {func() string {
		return rsaOne().withHeader(values{"kid": strings.Repeat("k", 129)})
	}, reason.TokenInvalid},
	"kid of 10 KB": {func() string {
		return rsaOne().withHeader(values{"kid": strings.Repeat("k", 10000)})
	}, reason.TokenInvalid},
	"kid a number": {func() string { return rsaOne().withHeader(values{"kid": 1}) }, reason.TokenInvalid},

	// Header members.
	"jku ignored": {func() string { return rsaOne().withHeader(values{"jku": "http://platform/evil"}) }, ""},
	"x5u ignored": {func() string { return rsaOne().withHeader(values{"x5u": "http://platform/evil"}) }, ""},
	"x5c ignored": {func() string { return rsaOne().withHeader(values{"x5c": []string{"AAAA"}}) }, ""},
	"own jwk does not verify": {
		func() string { return rsaTwo().withHeader(values{"kid": "rsa-1", "jwk": rsaTwo().jwk()}) }, reason.TokenInvalid,
	},
	"own jku does not verify": {func() string {
		return rsaTwo().withHeader(values{"kid": "rsa-1", "jku": "http://platform/evil"})
	}, reason.TokenInvalid},
	"crit":       {func() string { return rsaOne().withHeader(values{"crit": []string{"exp"}}) }, reason.TokenInvalid},
	"crit empty": {func() string { return rsaOne().withHeader(values{"crit": []string{}}) }, reason.TokenInvalid},
	"crit null": {func() string {
		return rsaOne().sign(`{"alg":"RS256","kid":"rsa-1","crit":null}`, text(good(nil)))
	}, reason.TokenInvalid},
	"b64 false": {func() string { return rsaOne().withHeader(values{"b64": false}) }, reason.TokenInvalid},
	"zip":       {func() string { return rsaOne().withHeader(values{"zip": "DEF"}) }, reason.TokenInvalid},
	"alg twice": {func() string {
		return rsaOne().sign(`{"alg":"none","alg":"RS256","kid":"rsa-1"}`, text(good(nil)))
	}, reason.TokenInvalid},
	"kid twice": {func() string {
		return rsaOne().sign(`{"alg":"RS256","kid":"a","kid":"rsa-1"}`, text(good(nil)))
	}, reason.TokenInvalid},
	"alg twice, once escaped": {
		func() string {
			return rsaOne().sign(`{"\u0061lg":"none","alg":"RS256","kid":"rsa-1"}`, text(good(nil)))
		}, reason.TokenInvalid,
	},
	"header an array": {func() string {
		return rsaOne().sign(`["RS256","rsa-1"]`, text(good(nil)))
	}, reason.TokenInvalid},
	"header null": {func() string { return rsaOne().sign(`null`, text(good(nil))) }, reason.TokenInvalid},
	"header with more after it": {
		func() string { return rsaOne().sign(rsaOne().header()+"{}", text(good(nil))) }, reason.TokenInvalid,
	},

	// The text.
	"empty":    {func() string { return "" }, reason.TokenMissing},
	"one part": {func() string { return "abc" }, reason.TokenInvalid},
	"two parts": {func() string {
		return edit(func(p []string) { p[1], p[2] = p[1]+p[2], "" })
	}, reason.TokenInvalid},
	"four parts":       {func() string { return rsaOne().mint(nil) + ".AAAA" }, reason.TokenInvalid},
	"a dot at the end": {func() string { return rsaOne().mint(nil) + "." }, reason.TokenInvalid},
	"five parts (JWE)": {func() string { return "eyJhbGciOiJSU0EtT0FFUCJ9.AAAA.AAAA.AAAA.AAAA" }, reason.TokenInvalid},
	"a million dots":   {func() string { return strings.Repeat(".", 1_000_000) }, reason.TokenInvalid},
	"16 KiB of dots":   {func() string { return strings.Repeat(".", 16<<10) }, reason.TokenInvalid},
	"above 16 KiB": {func() string {
		return rsaOne().mint(values{"x": strings.Repeat("x", 12<<10)})
	}, reason.TokenInvalid},
	"below 16 KiB":    {func() string { return rsaOne().mint(values{"x": strings.Repeat("x", 11<<10)}) }, ""},
	"a space before":  {func() string { return " " + rsaOne().mint(nil) }, reason.TokenInvalid},
	"a newline after": {func() string { return rsaOne().mint(nil) + "\n" }, reason.TokenInvalid},
	"newline inside": {func() string {
		return edit(func(p []string) { p[1] = p[1][:8] + "\n" + p[1][8:] })
	}, reason.TokenInvalid},
	"CR inside": {func() string {
		return edit(func(p []string) { p[2] = p[2][:8] + "\r" + p[2][8:] })
	}, reason.TokenInvalid},
	"NUL inside": {func() string {
		return edit(func(p []string) { p[2] = p[2][:8] + "\x00" + p[2][8:] })
	}, reason.TokenInvalid},
	"padding": {func() string { return edit(func(p []string) { p[2] += "==" }) }, reason.TokenInvalid},
	"standard base64": {func() string {
		return edit(func(p []string) { p[2] = "+/" + p[2][2:] })
	}, reason.TokenInvalid},
	"spare bits in the signature": {func() string {
		return edit(func(p []string) { p[2] = nonCanonical(p[2]) })
	}, reason.TokenInvalid},
	"spare bits in the claims": {func() string {
		parts := strings.Split(rsaOne().sign(rsaOne().header(), spareBits()), ".")
		parts[1] = nonCanonical(parts[1])
		return resignText(parts[0] + "." + parts[1])
	}, reason.TokenInvalid},
	"the signature cut": {func() string {
		return edit(func(p []string) { p[2] = p[2][:len(p[2])-4] })
	}, reason.TokenInvalid},
	"the signature longer": {func() string {
		return edit(func(p []string) { p[2] = "AAAA" + p[2] })
	}, reason.TokenInvalid},
	"claims of another token": {func() string {
		return edit(func(p []string) { p[1] = b64([]byte(text(good(values{"jti": "t2"})))) })
	}, reason.TokenInvalid},
	"ES256 with r and s zero": {func() string {
		parts := strings.Split(ecOne().mint(nil), ".")
		return parts[0] + "." + parts[1] + "." + b64(make([]byte, 64))
	}, reason.TokenInvalid},
	"ES256 as ASN.1": {func() string {
		parts := strings.Split(ecOne().mint(nil), ".")
		return parts[0] + "." + parts[1] + "." + b64([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	}, reason.TokenInvalid},
	// The other signature of the same token is as good; that is why nothing is kept by a token's bytes.
	"ES256 with s negated": {func() string { return negateS(ecOne().mint(nil)) }, ""},

	// JSON of the claims.
	"claim twice": {func() string { return rawClaims(`"role":"workspace-daemon"`) }, reason.TokenInvalid},
	"claim twice, escaped": {func() string {
		return rawClaims(`"rol\u0065":"workspace-daemon"`)
	}, reason.TokenInvalid},
	"claim in other case": {func() string { return rawClaims(`"Role":"workspace-daemon","EXP":1`) }, ""},
	"twice in a claim":    {func() string { return rawClaims(`"x":{"a":{"b":1,"b":2}}`) }, reason.TokenInvalid},
	"twice in an array":   {func() string { return rawClaims(`"x":[[{"b":1,"b":2}]]`) }, reason.TokenInvalid},
	"invalid UTF-8":       {func() string { return rawClaims("\"x\":\"\xff\"") }, reason.TokenInvalid},
	"overlong UTF-8":      {func() string { return rawClaims("\"x\":\"\xc0\xaf\"") }, reason.TokenInvalid},
	"half a character":    {func() string { return rawClaims(`"x":"\ud800"`) }, reason.TokenInvalid},
	"low half first":      {func() string { return rawClaims(`"x":"\udc00\ud800"`) }, reason.TokenInvalid},
	"a whole character":   {func() string { return rawClaims(`"x":"\ud83d\ude00\\ud800"`) }, ""},
	"byte order mark": {func() string {
		return rsaOne().sign(rsaOne().header(), "\ufeff"+text(good(nil)))
	}, reason.TokenInvalid},
	"comment":           {func() string { return rawClaims(`/* */"x":1`) }, reason.TokenInvalid},
	"NaN":               {func() string { return rawClaims(`"x":NaN`) }, reason.TokenInvalid},
	"control character": {func() string { return rawClaims("\"x\":\"\x01\"") }, reason.TokenInvalid},
	"nested 2,000 deep": {func() string {
		return rawClaims(`"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000))
	}, reason.TokenInvalid},
	"claims an array": {func() string { return rsaOne().sign(rsaOne().header(), "[]") }, reason.TokenInvalid},
	"claims null":     {func() string { return rsaOne().sign(rsaOne().header(), "null") }, reason.TokenInvalid},
	"claims empty":    {func() string { return rsaOne().sign(rsaOne().header(), "{}") }, reason.TokenInvalid},
	"two objects": {func() string {
		return rsaOne().sign(rsaOne().header(), text(good(nil))+"{}")
	}, reason.TokenInvalid},
	"a number of 5,000 digits": {func() string { return rawClaims(`"x":` + strings.Repeat("9", 5000)) }, ""},
}

// resignText signs exactly this header and these claims.
func resignText(head string) string {
	sig, err := rsaOne().method.Sign(head, rsaOne().private)
	if err != nil {
		panic(err)
	}
	return head + "." + b64(sig)
}

// negateS makes the other valid ES256 signature.
func negateS(token string) string {
	i := strings.LastIndexByte(token, '.')
	sig, err := decodeBase64(token[i+1:])
	if err != nil {
		panic(err)
	}
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return token[:i+1] + b64(sig)
}

// TestHostileTokens: every row of the table gets its reason, and no token, whatever it says, makes the relay call
// another address than the two that it was given.
func TestHostileTokens(t *testing.T) {
	rows := hostileTokens(t)
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
				token := row.token()
				_, err := a.Admit(t.Context(), asClient(token))
				if got := code(t, err); got != row.want {
					t.Errorf("got %q (%v), want %q", got, err, row.want)
				}
				for _, part := range strings.Split(token, ".") {
					if err != nil && len(part) >= 8 && strings.Contains(err.Error(), part) {
						t.Errorf("the error quotes the token: %v", err)
					}
				}
				synctest.Wait()
				if n := p.elsewhere.Load(); n != 0 {
					t.Errorf("got %d requests to other addresses, want none", n)
				}
			})
		})
	}
	if len(rows) < 60 {
		t.Errorf("got %d rows, want at least 60", len(rows))
	}
}

// null and raw are JSON as it stands; a nil in values would take the member out.
var null = raw("null")

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// claimRows are changes to the claims of a good client token.
var claimRows = map[string]struct {
	changes func() values
	want    reason.Code
}{
	"exp absent":           {func() values { return values{"exp": nil} }, reason.TokenInvalid},
	"exp a string":         {func() values { return values{"exp": fmt.Sprint(at(60))} }, reason.TokenInvalid},
	"exp a fraction":       {func() values { return values{"exp": 4102444800.5} }, reason.TokenInvalid},
	"exp negative":         {func() values { return values{"exp": -1} }, reason.TokenInvalid},
	"exp above 2^53":       {func() values { return values{"exp": uint64(1 << 60)} }, reason.TokenInvalid},
	"exp 2^53-1":           {func() values { return values{"exp": maxInteger} }, ""},
	"exp true":             {func() values { return values{"exp": true} }, reason.TokenInvalid},
	"exp zero":             {func() values { return values{"exp": 0} }, reason.TokenExpired},
	"exp 29 s ago":         {func() values { return values{"exp": at(-29)} }, ""},
	"exp 30 s ago":         {func() values { return values{"exp": at(-30)} }, reason.TokenExpired},
	"nbf in 30 s":          {func() values { return values{"nbf": at(30)} }, ""},
	"nbf in 31 s":          {func() values { return values{"nbf": at(31)} }, reason.TokenInvalid},
	"nbf a string":         {func() values { return values{"nbf": "0"} }, reason.TokenInvalid},
	"iat in 30 s":          {func() values { return values{"iat": at(30)} }, ""},
	"iat in 31 s":          {func() values { return values{"iat": at(31)} }, reason.TokenInvalid},
	"iat absent":           {func() values { return values{"iat": nil} }, ""},
	"iss of somebody else": {func() values { return values{"iss": "viewport-server2"} }, reason.TokenInvalid},
	"iss in other case":    {func() values { return values{"iss": "Viewport-Server"} }, reason.TokenInvalid},
	"iss with a slash":     {func() values { return values{"iss": "viewport-server/"} }, reason.TokenInvalid},
	"iss absent":           {func() values { return values{"iss": nil} }, reason.TokenInvalid},
	"iss an array":         {func() values { return values{"iss": []string{"viewport-server"}} }, reason.TokenInvalid},
	"aud of somebody else": {func() values { return values{"aud": "viewport-api"} }, reason.TokenInvalid},
	"aud absent":           {func() values { return values{"aud": nil} }, reason.TokenInvalid},
	"aud an array":         {func() values { return values{"aud": []string{"x", "viewport-relay"}} }, ""},
	"aud an array without": {func() values { return values{"aud": []string{"x", "y"}} }, reason.TokenInvalid},
	"aud empty array":      {func() values { return values{"aud": []string{}} }, reason.TokenInvalid},
	"aud mixed array":      {func() values { return values{"aud": []any{"viewport-relay", 1}} }, reason.TokenInvalid},
	"aud an object":        {func() values { return values{"aud": values{"viewport-relay": 1}} }, reason.TokenInvalid},
	"aud with a space":     {func() values { return values{"aud": "x viewport-relay"} }, reason.TokenInvalid},
	"expired, aud too": {
		func() values { return values{"exp": at(-60), "aud": "x"} }, reason.TokenInvalid,
	},
	"exp null":             {func() values { return values{"exp": null} }, reason.TokenInvalid},
	"exp an array":         {func() values { return values{"exp": []int64{at(60)}} }, reason.TokenInvalid},
	"exp with .0":          {func() values { return values{"exp": raw("4102444800.0")} }, reason.TokenInvalid},
	"exp with an exponent": {func() values { return values{"exp": raw("4e9")} }, reason.TokenInvalid},
	"exp 1e999":            {func() values { return values{"exp": raw("1e999")} }, reason.TokenInvalid},
	"exp minus zero":       {func() values { return values{"exp": raw("-0")} }, reason.TokenExpired},
	"exp of 400 digits":    {func() values { return values{"exp": raw(strings.Repeat("9", 400))} }, reason.TokenInvalid},
	"exp in milliseconds":  {func() values { return values{"exp": at(600) * 1000} }, ""},
	"exp now":              {func() values { return values{"exp": at(0)} }, ""},
	"Exp instead of exp":   {func() values { return values{"exp": nil, "Exp": at(60)} }, reason.TokenInvalid},
	"nbf null":             {func() values { return values{"nbf": null} }, reason.TokenInvalid},
	"nbf a fraction":       {func() values { return values{"nbf": raw("0.5")} }, reason.TokenInvalid},
	"nbf negative":         {func() values { return values{"nbf": -1} }, reason.TokenInvalid},
	"nbf 2^53-1":           {func() values { return values{"nbf": maxInteger} }, reason.TokenInvalid},
	"nbf after exp":        {func() values { return values{"nbf": at(20), "exp": at(10)} }, ""},
	"iat null":             {func() values { return values{"iat": null} }, reason.TokenInvalid},
	"iat a string":         {func() values { return values{"iat": "0"} }, reason.TokenInvalid},
	"iat a fraction":       {func() values { return values{"iat": raw("0.5")} }, reason.TokenInvalid},
	"iat negative":         {func() values { return values{"iat": -1} }, reason.TokenInvalid},
	"iat zero":             {func() values { return values{"iat": 0} }, ""},
	"iss null":             {func() values { return values{"iss": null} }, reason.TokenInvalid},
	"iss empty":            {func() values { return values{"iss": ""} }, reason.TokenInvalid},
	"iss with NUL":         {func() values { return values{"iss": "viewport-server\x00"} }, reason.TokenInvalid},
	"iss as a URL":         {func() values { return values{"iss": "https://viewport-server"} }, reason.TokenInvalid},
	"iss look-alike":       {func() values { return values{"iss": "vіewport-server"} }, reason.TokenInvalid},
	"aud null":             {func() values { return values{"aud": null} }, reason.TokenInvalid},
	"aud empty":            {func() values { return values{"aud": ""} }, reason.TokenInvalid},
	"aud in other case":    {func() values { return values{"aud": "Viewport-Relay"} }, reason.TokenInvalid},
	"aud a prefix":         {func() values { return values{"aud": "viewport-relay/x"} }, reason.TokenInvalid},
	"aud nested":           {func() values { return values{"aud": []any{[]any{"viewport-relay"}}} }, reason.TokenInvalid},
	"aud with null":        {func() values { return values{"aud": []any{"viewport-relay", null}} }, reason.TokenInvalid},
	"aud of 1,000": {func() values {
		return values{"aud": append(slices.Repeat([]string{"a"}, 1000), "viewport-relay")}
	}, ""},
	"role null":              {func() values { return values{"role": null} }, reason.TokenInvalid},
	"role empty":             {func() values { return values{"role": ""} }, reason.TokenInvalid},
	"role of two":            {func() values { return values{"role": "client workspace-daemon"} }, reason.RoleMismatch},
	"scope null":             {func() values { return values{"scope": null} }, reason.TokenInvalid},
	"scope in other case":    {func() values { return values{"scope": "Runtime"} }, reason.RoleMismatch},
	"scope a space":          {func() values { return values{"scope": " "} }, reason.RoleMismatch},
	"jti absent":             {func() values { return values{"jti": nil} }, reason.TokenInvalid},
	"jti empty":              {func() values { return values{"jti": ""} }, reason.TokenInvalid},
	"jti a number":           {func() values { return values{"jti": 7} }, reason.TokenInvalid},
	"jti of 255":             {func() values { return values{"jti": strings.Repeat("ü", 255)} }, ""},
	"jti of 256":             {func() values { return values{"jti": strings.Repeat("j", 256)} }, reason.TokenInvalid},
	"jti of 128 pairs":       {func() values { return values{"jti": strings.Repeat("😀", 128)} }, reason.TokenInvalid},
	"workspaceId absent":     {func() values { return values{"workspaceId": nil} }, reason.TokenInvalid},
	"workspaceId null":       {func() values { return values{"workspaceId": null} }, reason.TokenInvalid},
	"workspaceId another":    {func() values { return values{"workspaceId": "acme2"} }, reason.WorkspaceMismatch},
	"workspaceId other case": {func() values { return values{"workspaceId": "Acme"} }, reason.WorkspaceMismatch},
	"workspaceId look-alike": {func() values { return values{"workspaceId": "аcme"} }, reason.WorkspaceMismatch},
	"workspaceId with space": {func() values { return values{"workspaceId": "acme "} }, reason.WorkspaceMismatch},
	"workspaceId and target": {func() values {
		return values{"workspaceId": "acme:host-1"}
	}, reason.WorkspaceMismatch},
	"workspaceId of 129": {func() values {
		return values{"workspaceId": strings.Repeat("a", 129)}
	}, reason.TokenInvalid},
	"runtimeTargetId absent":   {func() values { return values{"runtimeTargetId": nil} }, reason.TargetMismatch},
	"runtimeTargetId another":  {func() values { return values{"runtimeTargetId": "host-2"} }, reason.TargetMismatch},
	"runtimeTargetId a number": {func() values { return values{"runtimeTargetId": 1} }, reason.TokenInvalid},
	"role absent":              {func() values { return values{"role": nil} }, reason.TokenInvalid},
	"role of a daemon":         {func() values { return values{"role": "workspace-daemon"} }, reason.RoleMismatch},
	"role of a worker":         {func() values { return values{"role": "worker"} }, reason.RoleMismatch},
	"role in other case":       {func() values { return values{"role": "Client"} }, reason.RoleMismatch},
	"role an array":            {func() values { return values{"role": []string{"client"}} }, reason.TokenInvalid},
	"scope absent":             {func() values { return values{"scope": nil} }, ""},
	"scope empty":              {func() values { return values{"scope": ""} }, ""},
	"scope pairing":            {func() values { return values{"scope": "pairing"} }, reason.RoleMismatch},
	"scope session-events":     {func() values { return values{"scope": "session-events"} }, reason.RoleMismatch},
	"scope of two":             {func() values { return values{"scope": "runtime pairing"} }, reason.RoleMismatch},
	"scope an array":           {func() values { return values{"scope": []string{"runtime"}} }, reason.TokenInvalid},
	"e2eeProfile unknown":      {func() values { return values{"e2eeProfile": "noise-xx"} }, reason.TokenInvalid},
	"e2eeProfile true":         {func() values { return values{"e2eeProfile": true} }, reason.TokenInvalid},
	"policyMode a number":      {func() values { return values{"policyMode": 1} }, reason.TokenInvalid},
	"policyMode another":       {func() values { return values{"policyMode": "relaxed"} }, ""},
	"installId of 129": {func() values {
		return values{"installId": strings.Repeat("i", 129)}
	}, reason.TokenInvalid},
	"generation negative":   {func() values { return values{"daemonIssueGeneration": -1} }, reason.TokenInvalid},
	"generation a fraction": {func() values { return values{"daemonIssueGeneration": 1.5} }, reason.TokenInvalid},
	"generation a string":   {func() values { return values{"daemonIssueGeneration": "1"} }, reason.TokenInvalid},
	"unknown claims": {
		func() values {
			return values{"tier": values{"a": []any{1, nil}}, "sessionIds": 5}
		}, "",
	},
}

func TestClaimsOfASignedTokenGetTheirReason(t *testing.T) {
	for name, row := range claimRows {
		t.Run(name, func(t *testing.T) {
			inBubble(t, keysOnly(), nil, func(t *testing.T, _ *platform, a *Admitter) {
				wantCode(t, a, asClient(rsaOne().mint(row.changes())), row.want)
			})
		})
	}
}

// TestATokenOpensALinkOfItsOwnRoleOnly: the scope is for clients.
func TestATokenOpensALinkOfItsOwnRoleOnly(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, _ *platform, a *Admitter) {
		for role, want := range map[string]reason.Code{
			"workspace-daemon": "", "client": reason.RoleMismatch, "daemon": reason.RoleMismatch,
			"Workspace-Daemon": reason.RoleMismatch, "workspace-daemon ": reason.RoleMismatch, "admin": reason.RoleMismatch,
		} {
			for _, scope := range []any{nil, "runtime", "pairing"} {
				wantCode(t, a, asDaemon(rsaOne().mint(values{"role": role, "scope": scope})), want)
			}
		}
		wantCode(t, a, asClient(rsaOne().mint(values{"role": "workspace-daemon", "scope": nil})), reason.RoleMismatch)
	})
}

// TestTheOtherSignatureOfAnES256TokenMakesNoOtherToken: whoever sees a token can make a second text of it that
// verifies as well. It gives the same Grant, whose only name for the token is its jti, and the platform is asked
// about each text, the first one again too: nothing is remembered by the bytes of a token.
func TestTheOtherSignatureOfAnES256TokenMakesNoOtherToken(t *testing.T) {
	answer := func(p *platform) {
		p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(200, goodAnswer(nil))(w, r) })
	}
	inBubble(t, both(), answer, func(t *testing.T, p *platform, a *Admitter) {
		token := ecOne().mint(nil)
		other := negateS(token)
		if token == other {
			t.Fatal("got the same text twice")
		}
		first, err := a.Admit(t.Context(), asClient(token))
		if err != nil {
			t.Fatal(err)
		}
		if first.TokenID != "t1" {
			t.Errorf("got token id %q, want the jti", first.TokenID)
		}
		for i, again := range []string{other, token, other} {
			grant, err := a.Admit(t.Context(), asClient(again))
			if err != nil || grant != first {
				t.Errorf("got %+v, %v, want %+v", grant, err, first)
			}
			if n := p.asks.Load(); n != int64(i+2) {
				t.Errorf("got %d validate calls, want %d", n, i+2)
			}
		}
		p.validate.set(body(403, `{"ok":false,"reason":"PAIRING_REVOKED"}`))
		wantCode(t, a, asClient(token), reason.PairingRevoked)
		wantCode(t, a, asClient(other), reason.PairingRevoked)
	})
}

// TestAGrantSaysWhatTheTokenSays, and nothing more.
func TestAGrantSaysWhatTheTokenSays(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, _ *platform, a *Admitter) {
		daemon := ecOne().mint(values{
			"role": "workspace-daemon", "scope": nil, "installId": "i1", "daemonIssueGeneration": 7,
			"policyMode": "crypto_pairing",
		})
		got, err := a.Admit(t.Context(), asDaemon(daemon))
		want := Grant{
			Workspace: "acme", Target: "host-1", Role: RoleDaemon, InstallID: "i1", Generation: 7, RequirePSK: true,
			TokenID: "t1", ExpiresAt: time.Unix(at(600), 0),
		}
		if err != nil || got != want {
			t.Errorf("daemon: got %+v, %v, want %+v", got, err, want)
		}
		got, err = a.Admit(t.Context(), asClient(edOne().mint(values{"e2eeProfile": "noise-ikpsk2", "scope": nil})))
		want = Grant{
			Workspace: "acme", Target: "host-1", Role: RoleClient, Scope: "runtime", RequirePSK: true,
			TokenID: "t1", ExpiresAt: time.Unix(at(600), 0),
		}
		if err != nil || got != want {
			t.Errorf("client: got %+v, %v, want %+v", got, err, want)
		}
		got, err = a.Admit(t.Context(), asClient(edOne().mint(values{"e2eeProfile": "noise-ik"})))
		if err != nil || got.RequirePSK {
			t.Errorf("noise-ik: got RequirePSK %v, %v, want false", got.RequirePSK, err)
		}
	})
}

func TestALinkThatNamesNoWorkspaceOrTargetIsRefused(t *testing.T) {
	inBubble(t, validateOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		for _, id := range []string{"", strings.Repeat("a", 129), "a/b", "a b", "a\x00", "аcme"} {
			r := asClient(rsaOne().mint(values{"workspaceId": "x", "runtimeTargetId": "x"}))
			r.Workspace = id
			wantCode(t, a, r, reason.WorkspaceMismatch)
			r.Workspace, r.Target = "x", id
			wantCode(t, a, r, reason.TargetMismatch)
		}
		if n := p.asks.Load(); n != 0 {
			t.Errorf("got %d validate calls, want none", n)
		}
	})
}
