package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// keyRows are JWKs, and whether tokens may be verified with them.
var keyRows = map[string]struct {
	jwk func() map[string]any
	ok  bool
}{
	"RSA":                {func() map[string]any { return rsaOne().jwk() }, true},
	"P-256":              {func() map[string]any { return ecOne().jwk() }, true},
	"Ed25519":            {func() map[string]any { return edOne().jwk() }, true},
	"no use, no alg":     {func() map[string]any { return rsaOne().with(map[string]any{"use": nil, "alg": nil}) }, true},
	"x5c, x5u ignored":   {func() map[string]any { return rsaOne().with(map[string]any{"x5c": []string{"A"}, "x5u": "http://x"}) }, true},
	"key_ops verify":     {func() map[string]any { return rsaOne().with(map[string]any{"key_ops": []string{"verify"}}) }, true},
	"key_ops sign":       {func() map[string]any { return rsaOne().with(map[string]any{"key_ops": []string{"sign"}}) }, false},
	"key_ops empty":      {func() map[string]any { return rsaOne().with(map[string]any{"key_ops": []string{}}) }, false},
	"key_ops a string":   {func() map[string]any { return rsaOne().with(map[string]any{"key_ops": "verify"}) }, false},
	"use enc":            {func() map[string]any { return rsaOne().with(map[string]any{"use": "enc"}) }, false},
	"use a number":       {func() map[string]any { return rsaOne().with(map[string]any{"use": 1}) }, false},
	"alg RS512":          {func() map[string]any { return rsaOne().with(map[string]any{"alg": "RS512"}) }, false},
	"alg PS256":          {func() map[string]any { return rsaOne().with(map[string]any{"alg": "PS256"}) }, false},
	"alg of another kty": {func() map[string]any { return rsaOne().with(map[string]any{"alg": "ES256"}) }, false},
	"alg null":           {func() map[string]any { return map[string]any{"kid": "x", "kty": "unknown", "alg": ""} }, false},
	"kty unknown":        {func() map[string]any { return rsaOne().with(map[string]any{"kty": "PQC", "alg": nil}) }, false},
	"kty absent":         {func() map[string]any { return rsaOne().with(map[string]any{"kty": nil}) }, false},
	"kid absent":         {func() map[string]any { return rsaOne().with(map[string]any{"kid": nil}) }, false},
	"kid of 129 bytes":   {func() map[string]any { return rsaOne().with(map[string]any{"kid": strings.Repeat("k", 129)}) }, false},
	"oct": {func() map[string]any {
		return map[string]any{"kid": "x", "kty": "oct", "alg": "HS256", "k": b64(make([]byte, 32))}
	}, false},
	"oct said to be RS256": {func() map[string]any {
		return map[string]any{"kid": "x", "kty": "oct", "alg": "RS256", "k": b64(make([]byte, 32))}
	}, false},
	"private half":  {func() map[string]any { return rsaOne().with(map[string]any{"d": "AQAB"}) }, false},
	"RSA 1024":      {func() map[string]any { return rsaOne().with(map[string]any{"n": b64(oddNumber(1024))}) }, false},
	"RSA 2047":      {func() map[string]any { return rsaOne().with(map[string]any{"n": b64(oddNumber(2047))}) }, false},
	"RSA 8192":      {func() map[string]any { return rsaOne().with(map[string]any{"n": b64(oddNumber(8192))}) }, true},
	"RSA 8200":      {func() map[string]any { return rsaOne().with(map[string]any{"n": b64(oddNumber(8200))}) }, false},
	"RSA even":      {func() map[string]any { return rsaOne().with(map[string]any{"n": b64(append(oddNumber(2048), 0))}) }, false},
	"e 3":           {func() map[string]any { return rsaOne().with(map[string]any{"e": "Aw"}) }, false},
	"e 1":           {func() map[string]any { return rsaOne().with(map[string]any{"e": "AQ"}) }, false},
	"e 65536":       {func() map[string]any { return rsaOne().with(map[string]any{"e": "AQAA"}) }, false},
	"e 65539":       {func() map[string]any { return rsaOne().with(map[string]any{"e": "AQAD"}) }, true},
	"e of 5 bytes":  {func() map[string]any { return rsaOne().with(map[string]any{"e": "AQAAAAE"}) }, false},
	"e absent":      {func() map[string]any { return rsaOne().with(map[string]any{"e": nil}) }, false},
	"e a number":    {func() map[string]any { return rsaOne().with(map[string]any{"e": 65537}) }, false},
	"n with zeros":  {func() map[string]any { return rsaOne().with(map[string]any{"n": "AA" + rsaOne().jwk()["n"].(string)}) }, false},
	"n padded":      {func() map[string]any { return rsaOne().with(map[string]any{"n": rsaOne().jwk()["n"].(string) + "=="}) }, false},
	"n in standard": {func() map[string]any { return rsaOne().with(map[string]any{"n": standard(rsaOne())}) }, false},
	"P-384": {func() map[string]any {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		return newSigner("x", jwt.SigningMethodES384, k, err).jwk()
	}, false},
	"P-384 as P-256": {func() map[string]any {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		s := newSigner("x", jwt.SigningMethodES384, k, err)
		return s.with(map[string]any{"crv": "P-256", "alg": "ES256"})
	}, false},
	"secp256k1":     {func() map[string]any { return ecOne().with(map[string]any{"crv": "secp256k1"}) }, false},
	"off the curve": {func() map[string]any { return ecOne().with(map[string]any{"x": ecOne().jwk()["y"]}) }, false},
	"at infinity": {func() map[string]any {
		return ecOne().with(map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})
	}, false},
	"x of 31 bytes":  {func() map[string]any { return ecOne().with(map[string]any{"x": b64(make([]byte, 31))}) }, false},
	"y absent":       {func() map[string]any { return ecOne().with(map[string]any{"y": nil}) }, false},
	"Ed25519, 31":    {func() map[string]any { return edOne().with(map[string]any{"x": b64(make([]byte, 31))}) }, false},
	"X25519":         {func() map[string]any { return edOne().with(map[string]any{"crv": "X25519"}) }, false},
	"Ed448":          {func() map[string]any { return edOne().with(map[string]any{"crv": "Ed448"}) }, false},
	"EC as OKP":      {func() map[string]any { return ecOne().with(map[string]any{"kty": "OKP", "alg": nil}) }, false},
	"nothing at all": {func() map[string]any { return map[string]any{} }, false},
}

// oddNumber has exactly so many bits.
func oddNumber(bits int) []byte {
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	return n.Bytes()
}

// standard is n in the alphabet of RFC 4648, section 4, without padding.
func standard(s signer) string {
	n := s.private.Public().(*rsa.PublicKey).N.Bytes()
	n = append([]byte{0xfb, 0xff}, n[2:]...) // "+/" is in it
	return base64.RawStdEncoding.EncodeToString(n)
}

func TestOnlyStrongPublicSigningKeysAreUsed(t *testing.T) {
	for name, row := range keyRows {
		t.Run(name, func(t *testing.T) {
			// Another key in the set shows that a bad one is left out and the rest is used.
			set, err := parseKeySet([]byte(text(map[string]any{"keys": []any{row.jwk(), rsaTwo().jwk(), 5, nil, []any{}}})))
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := set["rsa-2"]; !ok {
				t.Error("got a set without the other key")
			}
			if got := len(set) == 2; got != row.ok {
				t.Errorf("got used %v, want %v", got, row.ok)
			}
		})
	}
}

func TestAKidThatTwoKeysCarryIsNoKid(t *testing.T) {
	for name, second := range map[string]map[string]any{
		"the same key":    rsaOne().jwk(),
		"another RSA key": rsaTwo().with(map[string]any{"kid": "rsa-1"}),
		"an EC key":       ecOne().with(map[string]any{"kid": "rsa-1"}),
		"use enc":         rsaTwo().with(map[string]any{"kid": "rsa-1", "use": "enc"}),
		"oct":             {"kid": "rsa-1", "kty": "oct", "k": "AAAA"},
	} {
		for _, keys := range [][]any{
			{rsaOne().jwk(), second, edOne().jwk()},
			{second, rsaOne().jwk(), edOne().jwk()},
			{second, rsaOne().jwk(), second, edOne().jwk()},
		} {
			set, err := parseKeySet([]byte(text(map[string]any{"keys": keys})))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(slices.Collect(maps.Keys(set))), "[ed-1]"; got != want {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
	}
}

func TestASetOfSixtyFourKeysIsRead(t *testing.T) {
	keys := []any{}
	for i := range maxKeys {
		keys = append(keys, edOne().with(map[string]any{"kid": fmt.Sprint(i)}))
	}
	set, err := parseKeySet([]byte(text(map[string]any{"keys": keys})))
	if err != nil || len(set) != maxKeys {
		t.Errorf("got %d keys, %v, want %d", len(set), err, maxKeys)
	}
	if _, err = parseKeySet([]byte(text(map[string]any{"keys": append(keys, map[string]any{})}))); err == nil {
		t.Error("65 keys: got no error")
	}
}
