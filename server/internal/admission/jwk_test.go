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
	jwk func() values
	ok  bool
}{
	"RSA":            {func() values { return rsaOne().jwk() }, true},
	"P-256":          {func() values { return ecOne().jwk() }, true},
	"Ed25519":        {func() values { return edOne().jwk() }, true},
	"no use, no alg": {func() values { return rsaOne().with(values{"use": nil, "alg": nil}) }, true},
	"x5c, x5u ignored": {func() values {
		return rsaOne().with(values{"x5c": []string{"A"}, "x5u": "http://x"})
	}, true},
	"key_ops verify":     {func() values { return rsaOne().with(values{"key_ops": []string{"verify"}}) }, true},
	"key_ops sign":       {func() values { return rsaOne().with(values{"key_ops": []string{"sign"}}) }, false},
	"key_ops empty":      {func() values { return rsaOne().with(values{"key_ops": []string{}}) }, false},
	"key_ops a string":   {func() values { return rsaOne().with(values{"key_ops": "verify"}) }, false},
	"use enc":            {func() values { return rsaOne().with(values{"use": "enc"}) }, false},
	"use a number":       {func() values { return rsaOne().with(values{"use": 1}) }, false},
	"alg RS512":          {func() values { return rsaOne().with(values{"alg": "RS512"}) }, false},
	"alg PS256":          {func() values { return rsaOne().with(values{"alg": "PS256"}) }, false},
	"alg of another kty": {func() values { return rsaOne().with(values{"alg": "ES256"}) }, false},
	"alg null":           {func() values { return values{"kid": "x", "kty": "unknown", "alg": ""} }, false},
	"kty unknown":        {func() values { return rsaOne().with(values{"kty": "PQC", "alg": nil}) }, false},
	"kty absent":         {func() values { return rsaOne().with(values{"kty": nil}) }, false},
	"kid absent":         {func() values { return rsaOne().with(values{"kid": nil}) }, false},
	"kid of 129 bytes":   {func() values { return rsaOne().with(values{"kid": strings.Repeat("k", 129)}) }, false},
	"oct": {func() values {
		return values{"kid": "x", "kty": "oct", "alg": "HS256", "k": b64(make([]byte, 32))}
	}, false},
	"oct said to be RS256": {func() values {
		return values{"kid": "x", "kty": "oct", "alg": "RS256", "k": b64(make([]byte, 32))}
	}, false},
	"private half": {func() values { return rsaOne().with(values{"d": "AQAB"}) }, false},
	"RSA 1024":     {func() values { return rsaOne().with(values{"n": b64(oddNumber(1024))}) }, false},
	"RSA 2047":     {func() values { return rsaOne().with(values{"n": b64(oddNumber(2047))}) }, false},
	"RSA 8192":     {func() values { return rsaOne().with(values{"n": b64(oddNumber(8192))}) }, true},
	"RSA 8200":     {func() values { return rsaOne().with(values{"n": b64(oddNumber(8200))}) }, false},
	"RSA even":     {func() values { return rsaOne().with(values{"n": b64(append(oddNumber(2048), 0))}) }, false},
	"e 3":          {func() values { return rsaOne().with(values{"e": "Aw"}) }, false},
	"e 1":          {func() values { return rsaOne().with(values{"e": "AQ"}) }, false},
	"e 65536":      {func() values { return rsaOne().with(values{"e": "AQAA"}) }, false},
	"e 65538":      {func() values { return rsaOne().with(values{"e": "AQAC"}) }, false},
	"e 65539":      {func() values { return rsaOne().with(values{"e": "AQAD"}) }, true},
	"e of 5 bytes": {func() values { return rsaOne().with(values{"e": "AQAAAAE"}) }, false},
	"e absent":     {func() values { return rsaOne().with(values{"e": nil}) }, false},
	"e a number":   {func() values { return rsaOne().with(values{"e": 65537}) }, false},
	"n with zeros": {func() values {
		return rsaOne().with(values{"n": b64(append([]byte{0}, oddNumber(2048)...))})
	}, false},
	"n padded":      {func() values { return rsaOne().with(values{"n": rsaOne().jwk()["n"].(string) + "=="}) }, false},
	"n in standard": {func() values { return rsaOne().with(values{"n": standard(rsaOne())}) }, false},
	"P-384": {func() values {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		return newSigner("x", jwt.SigningMethodES384, k, err).jwk()
	}, false},
	"P-384 as P-256": {func() values {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		s := newSigner("x", jwt.SigningMethodES384, k, err)
		return s.with(values{"crv": "P-256", "alg": "ES256"})
	}, false},
	"secp256k1":     {func() values { return ecOne().with(values{"crv": "secp256k1"}) }, false},
	"off the curve": {func() values { return ecOne().with(values{"x": ecOne().jwk()["y"]}) }, false},
	"at infinity": {func() values {
		return ecOne().with(values{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})
	}, false},
	"x of 31 bytes":  {func() values { return ecOne().with(values{"x": b64(make([]byte, 31))}) }, false},
	"y absent":       {func() values { return ecOne().with(values{"y": nil}) }, false},
	"Ed25519, 31":    {func() values { return edOne().with(values{"x": b64(make([]byte, 31))}) }, false},
	"X25519":         {func() values { return edOne().with(values{"crv": "X25519"}) }, false},
	"Ed448":          {func() values { return edOne().with(values{"crv": "Ed448"}) }, false},
	"EC as OKP":      {func() values { return ecOne().with(values{"kty": "OKP", "alg": nil}) }, false},
	"nothing at all": {func() values { return values{} }, false},
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
			set, err := parseKeySet([]byte(text(values{"keys": []any{row.jwk(), rsaTwo().jwk(), 5, nil, []any{}}})))
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
	for name, second := range map[string]values{
		"the same key":    rsaOne().jwk(),
		"another RSA key": rsaTwo().with(values{"kid": "rsa-1"}),
		"an EC key":       ecOne().with(values{"kid": "rsa-1"}),
		"use enc":         rsaTwo().with(values{"kid": "rsa-1", "use": "enc"}),
		"oct":             {"kid": "rsa-1", "kty": "oct", "k": "AAAA"},
	} {
		for _, keys := range [][]any{
			{rsaOne().jwk(), second, edOne().jwk()},
			{second, rsaOne().jwk(), edOne().jwk()},
			{second, rsaOne().jwk(), second, edOne().jwk()},
		} {
			set, err := parseKeySet([]byte(text(values{"keys": keys})))
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
		keys = append(keys, edOne().with(values{"kid": fmt.Sprint(i)}))
	}
	set, err := parseKeySet([]byte(text(values{"keys": keys})))
	if err != nil || len(set) != maxKeys {
		t.Errorf("got %d keys, %v, want %d", len(set), err, maxKeys)
	}
	if _, err = parseKeySet([]byte(text(values{"keys": append(keys, values{})}))); err == nil {
		t.Error("65 keys: got no error")
	}
}
