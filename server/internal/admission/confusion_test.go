package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// tokenRow is a token and the reason that it gets; "" is admitted.
type tokenRow struct {
	token func() string
	want  reason.Code
}

// noneRows are unsigned tokens that say so in each mixture of upper and lower case and with what a lenient reader
// trims, without a signature and with something in its place.
func noneRows() map[string]tokenRow {
	spellings := []string{
		" none", "none ", "\tnone", "none\n", "none\x00", "\u200bnone", "non\u0435", "null", "unsecured", "0",
	}
	for i := range 16 {
		b := []byte("none")
		for j := range b {
			if i>>j&1 == 1 {
				b[j] -= 'a' - 'A'
			}
		}
		spellings = append(spellings, string(b))
	}
	rows := map[string]tokenRow{}
	for _, alg := range spellings {
		signed := func() string { return unsigned(alg) }
		rows[fmt.Sprintf("alg %q, a signature", alg)] = tokenRow{signed, reason.TokenInvalid}
		bare := func() string { return strings.TrimSuffix(unsigned(alg), "AAAA") }
		rows[fmt.Sprintf("alg %q, none", alg)] = tokenRow{bare, reason.TokenInvalid}
	}
	return rows
}

// secrets are the forms in which an attacker may take a published key for an HMAC secret.
func secrets(s signer) map[string][]byte {
	public := s.private.Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	out := map[string][]byte{
		"PEM": asPEM, "PEM without its last newline": asPEM[:len(asPEM)-1], "DER": der, "base64 of DER": []byte(b64(der)),
		"JWK": []byte(text(s.jwk())), "kid": []byte(s.id), "nothing": {},
		"key set": []byte(document(rsaOne(), ecOne(), edOne())),
	}
	if p, ok := public.(*rsa.PublicKey); ok {
		out["PKCS #1 DER"] = x509.MarshalPKCS1PublicKey(p)
		out["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(p)})
	}
	for _, member := range []string{"n", "x", "y"} {
		if v, ok := s.jwk()[member].(string); ok {
			out["text of "+member], out["bytes of "+member] = []byte(v), octets(v)
		}
	}
	return out
}

// secretRows are tokens whose HMAC has a published key for its secret, said to be that or of the key's algorithm.
func secretRows() map[string]tokenRow {
	rows := map[string]tokenRow{}
	for _, s := range []signer{rsaOne(), ecOne(), edOne()} {
		for form, secret := range secrets(s) {
			for _, method := range []*jwt.SigningMethodHMAC{
				jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512,
			} {
				for _, said := range []string{method.Alg(), s.method.Alg()} {
					token := func() string {
						return resign(method, secret, text(values{"alg": said, "kid": s.id}), text(good(nil)))
					}
					name := fmt.Sprintf("%s with the %s of %s, said to be %s", method.Alg(), form, s.id, said)
					rows[name] = tokenRow{token, reason.TokenInvalid}
				}
			}
		}
	}
	return rows
}

// onCurve is a token of a new key on another curve, under the kid of the platform's.
func onCurve(method jwt.SigningMethod, curve elliptic.Curve, said string) func() string {
	return func() string {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		return resign(method, k, text(values{"alg": said, "kid": "ec-1"}), text(good(nil)))
	}
}

// ofLength is a good token of so many bytes.
func ofLength(n int) func() string {
	return func() string {
		length, signature := base64.RawURLEncoding.EncodedLen, len(b64(make([]byte, 256)))
		for spaces := range 3 { // not every length can be had by the claims alone
			head := "{" + strings.Repeat(" ", spaces) + rsaOne().header()[1:]
			empty := len(text(good(values{"x": ""})))
			for filler := range n {
				claims := empty + filler
				if length(len(head))+1+length(claims)+1+signature == n {
					return rsaOne().sign(head, text(good(values{"x": strings.Repeat("x", filler)})))
				}
			}
		}
		panic("no token has this length")
	}
}

// confused are the rest of the hostile tokens: all but those that are most like a good one.
var confused = map[string]tokenRow{
	"RS256 said to be PS256": {func() string {
		return resign(jwt.SigningMethodRS256, rsaOne().private, `{"alg":"PS256","kid":"rsa-1"}`, text(good(nil)))
	}, reason.TokenInvalid},
	"RS384 said to be RS256": {func() string {
		return resign(jwt.SigningMethodRS384, rsaOne().private, rsaOne().header(), text(good(nil)))
	}, reason.TokenInvalid},
	"RSA with the kid of an Ed25519 key": {func() string {
		return rsaOne().withHeader(values{"kid": "ed-1"})
	}, reason.TokenInvalid},
	"alg EdDSA with the kid and key of RSA": {func() string {
		return resign(jwt.SigningMethodRS256, rsaOne().private, `{"alg":"EdDSA","kid":"rsa-1"}`, text(good(nil)))
	}, reason.TokenInvalid},
	"alg Ed25519 (RFC 9864)": {func() string { return edOne().withHeader(values{"alg": "Ed25519"}) }, reason.TokenInvalid},
	"alg ES256K":             {func() string { return ecOne().withHeader(values{"alg": "ES256K"}) }, reason.TokenInvalid},
	"ES384":                  {onCurve(jwt.SigningMethodES384, elliptic.P384(), "ES384"), reason.TokenInvalid},
	"ES512":                  {onCurve(jwt.SigningMethodES512, elliptic.P521(), "ES512"), reason.TokenInvalid},
	"ES512 said to be ES256": {onCurve(jwt.SigningMethodES512, elliptic.P521(), "ES256"), reason.TokenInvalid},
	"ES256 of another key":   {onCurve(jwt.SigningMethodES256, elliptic.P256(), "ES256"), reason.TokenInvalid},

	"kid a URL": {func() string {
		return rsaOne().withHeader(values{"kid": "http://platform/evil"})
	}, reason.PlatformUnavailable},
	"kid an absolute path": {func() string {
		return rsaOne().withHeader(values{"kid": "/proc/self/environ"})
	}, reason.PlatformUnavailable},
	"kid for a database": {func() string {
		return rsaOne().withHeader(values{"kid": "' UNION SELECT 'rsa-1"})
	}, reason.PlatformUnavailable},
	"kid a path with NUL": {func() string {
		return rsaOne().withHeader(values{"kid": "../../dev/null\x00rsa-1"})
	}, reason.TokenInvalid},
	"kid an array":  {func() string { return rsaOne().withHeader(values{"kid": []string{"rsa-1"}}) }, reason.TokenInvalid},
	"kid an object": {func() string { return rsaOne().withHeader(values{"kid": values{"a": 1}}) }, reason.TokenInvalid},
	"kid with a space after it": {func() string {
		return rsaOne().withHeader(values{"kid": "rsa-1 "})
	}, reason.PlatformUnavailable},

	"jwk ignored": {func() string { return rsaOne().withHeader(values{"jwk": rsaTwo().jwk()}) }, ""},
	"own jwk under an unknown kid": {func() string {
		return rsaTwo().withHeader(values{"jwk": rsaTwo().jwk()})
	}, reason.PlatformUnavailable},
	"own jwk without a kid": {func() string {
		return rsaTwo().withHeader(values{"kid": nil, "jwk": rsaTwo().jwk()})
	}, reason.TokenInvalid},
	"b64 true": {func() string { return rsaOne().withHeader(values{"b64": true}) }, reason.TokenInvalid},
	"b64 critical (RFC 7797)": {func() string {
		return rsaOne().withHeader(values{"b64": false, "crit": []string{"b64"}})
	}, reason.TokenInvalid},
	"zip of nothing": {func() string { return rsaOne().withHeader(values{"zip": ""}) }, reason.TokenInvalid},
	"header member twice that means nothing": {func() string {
		return rsaOne().sign(`{"alg":"RS256","kid":"rsa-1","x":1,"x":1}`, text(good(nil)))
	}, reason.TokenInvalid},
	"header with invalid UTF-8": {func() string {
		return rsaOne().sign("{\"alg\":\"RS256\",\"kid\":\"rsa-1\",\"x\":\"\xff\"}", text(good(nil)))
	}, reason.TokenInvalid},
	"header with space in its JSON": {func() string {
		return rsaOne().sign("\n{ \"alg\" : \"RS256\" ,\r\n\t\"kid\":\"rsa-1\"} ", text(good(nil)))
	}, ""},
	"claim name with invalid UTF-8": {func() string { return rawClaims("\"rol\xe9\":1") }, reason.TokenInvalid},

	"16 KiB exactly":    {ofLength(maxToken), ""},
	"16 KiB and a byte": {ofLength(maxToken + 1), reason.TokenInvalid},
	"64 KiB":            {ofLength(64 << 10), reason.TokenInvalid},
	"a MiB of letters":  {func() string { return strings.Repeat("a", 1<<20) }, reason.TokenInvalid},
	"16 KiB in two dots": {func() string {
		return strings.Repeat("a", 8190) + ".." + strings.Repeat("a", 8190)
	}, reason.TokenInvalid},
	"dots after the token": {func() string { return rsaOne().mint(nil) + strings.Repeat(".", 1000) }, reason.TokenInvalid},
	"a tab inside": {func() string {
		return edit(func(p []string) { p[0] = p[0][:4] + "\t" + p[0][4:] })
	}, reason.TokenInvalid},
	"a space inside": {func() string {
		return edit(func(p []string) { p[1] = p[1][:4] + " " + p[1][4:] })
	}, reason.TokenInvalid},
	"newline inside the header": {func() string {
		return edit(func(p []string) { p[0] = p[0][:4] + "\n" + p[0][4:] })
	}, reason.TokenInvalid},
	"newline inside the signature": {func() string {
		return edit(func(p []string) { p[2] = p[2][:4] + "\r\n" + p[2][4:] })
	}, reason.TokenInvalid},
	"newline signed": {func() string {
		p := strings.Split(rsaOne().mint(nil), ".")
		return resignText(p[0] + "." + p[1][:8] + "\n" + p[1][8:])
	}, reason.TokenInvalid},
	"padding of the claims, signed": {func() string {
		p := strings.Split(rsaOne().sign(rsaOne().header(), spareBits()), ".")
		return resignText(p[0] + "." + p[1] + "==")
	}, reason.TokenInvalid},
	"padding of the header, signed": {func() string {
		return resignText(b64([]byte(`{"alg":"RS256","kid":"rsa-1"}`)) + "=." + b64([]byte(text(good(nil)))))
	}, reason.TokenInvalid},
	"spare bits in the header, signed": {func() string {
		return resignText(nonCanonical(b64([]byte(`{"alg":"RS256","kid":"rsa-1"}`))) + "." + b64([]byte(text(good(nil)))))
	}, reason.TokenInvalid},
	"a character too much for base64, signed": {func() string {
		p := strings.Split(rsaOne().mint(nil), ".")
		return resignText(p[0] + "." + p[1] + strings.Repeat("A", 5-len(p[1])%4))
	}, reason.TokenInvalid},
	"the word Bearer before": {func() string { return "Bearer " + rsaOne().mint(nil) }, reason.TokenInvalid},
	"two tokens":             {func() string { return rsaOne().mint(nil) + "," + rsaOne().mint(nil) }, reason.TokenInvalid},
	"JSON serialization": {func() string {
		p := strings.Split(rsaOne().mint(nil), ".")
		return text(values{"protected": p[0], "payload": p[1], "signature": p[2]})
	}, reason.TokenInvalid},

	"ES256 with r and s swapped": {func() string {
		return editSignature(ecOne(), func(b []byte) []byte {
			return append(b[32:], b[:32]...)
		})
	}, reason.TokenInvalid},
	"ES256 with a zero byte in front": {func() string {
		return editSignature(ecOne(), func(b []byte) []byte {
			return append([]byte{0}, b...)
		})
	}, reason.TokenInvalid},
	"ES256 with a zero byte in front of both": {func() string {
		return editSignature(ecOne(), func(b []byte) []byte {
			return append(append([]byte{0}, b[:32]...), append([]byte{0}, b[32:]...)...)
		})
	}, reason.TokenInvalid},
	"EdDSA with the group order added to S": {func() string { return editSignature(edOne(), addOrder) }, reason.TokenInvalid},
	"RS256 with a zero byte in front": {func() string {
		return editSignature(rsaOne(), func(b []byte) []byte {
			return append([]byte{0}, b...)
		})
	}, reason.TokenInvalid},
}

// editSignature changes the signature of a good token.
func editSignature(s signer, f func([]byte) []byte) string {
	token := s.mint(nil)
	i := strings.LastIndexByte(token, '.')
	return token[:i+1] + b64(f(octets(token[i+1:])))
}

// addOrder makes another S that lenient readers of Ed25519 take for the same (RFC 8032, section 8.4).
func addOrder(b []byte) []byte {
	order := [32]byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10,
	}
	carry := 0
	for i := range order {
		carry += int(b[32+i]) + int(order[i])
		b[32+i] = byte(carry)
		carry >>= 8
	}
	return b
}

// TestAKeyIsForItsOwnAlgorithmOnly: no signature is tried with a key of another algorithm than the token's.
func TestAKeyIsForItsOwnAlgorithmOnly(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, _ *platform, a *Admitter) {
		signers := []signer{rsaOne(), ecOne(), edOne()}
		for _, s := range signers {
			for _, other := range signers {
				_, err := a.verifier.keyOf(header{s.method.Alg(), other.id})
				if got, want := err == nil, s.id == other.id; got != want {
					t.Errorf("%s with %s: got accepted %v, want %v", s.method.Alg(), other.id, got, want)
				}
			}
		}
	})
}

// hostileTokens are all rows of all tables.
func hostileTokens(t *testing.T) map[string]tokenRow {
	t.Helper()
	all, n := map[string]tokenRow{}, 0
	for _, rows := range []map[string]tokenRow{hostile, confused, noneRows(), secretRows()} {
		n += len(rows)
		maps.Copy(all, rows)
	}
	if len(all) != n {
		t.Errorf("got %d names for %d rows", len(all), n)
	}
	return all
}
