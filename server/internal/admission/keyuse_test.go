package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// exponentThree is an RSA key whose e is 3.
func exponentThree() signer {
	one, e := big.NewInt(1), big.NewInt(3)
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		q, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		order := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, order)
		if d == nil {
			continue // 3 divides the order
		}
		k := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 3}, D: d, Primes: []*big.Int{p, q},
		}
		k.Precompute()
		return newSigner("weak", jwt.SigningMethodRS256, k, k.Validate())
	}
}

func ofBits(bits int) signer {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	return newSigner("weak", jwt.SigningMethodRS256, k, err)
}

func renamed(s signer) signer {
	s.id = "weak"
	return s
}

func onP384() signer {
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	return newSigner("weak", jwt.SigningMethodES384, k, err)
}

// keyUse is what the platform publishes beside a good key, and a token that is signed with it.
type keyUse struct {
	keys  []any
	token func() string
}

// published is the key with members changed.
func published(s signer, changes values) keyUse {
	return keyUse{[]any{s.with(changes)}, func() string { return s.mint(nil) }}
}

// disguised is a key that is published and used as if it were of algorithm alg.
func disguised(s signer, alg string, changes values) keyUse {
	return keyUse{[]any{s.with(changes)}, func() string {
		return resign(s.method, s.private, text(values{"alg": alg, "kid": s.id}), text(good(nil)))
	}}
}

// publishedSecret is a symmetric key in the public set.
func publishedSecret(alg string) keyUse {
	secret := []byte("a secret that everybody can read")
	jwk := values{"kid": "weak", "kty": "oct", "use": "sig", "alg": alg, "k": b64(secret)}
	return keyUse{[]any{jwk}, func() string {
		return resign(jwt.SigningMethodHS256, secret, text(values{"alg": alg, "kid": "weak"}), text(good(nil)))
	}}
}

// TestATokenOfAKeyThatMustNotBeUsedIsRefused although its signature is genuine: as long as nothing is known of its kid
// with PLATFORM_UNAVAILABLE, and from the next fetch on with TOKEN_INVALID. The other key of the set is used.
func TestATokenOfAKeyThatMustNotBeUsedIsRefused(t *testing.T) {
	two := renamed(rsaTwo())
	const unknown, invalid = reason.PlatformUnavailable, reason.TokenInvalid
	for name, row := range map[string]struct {
		use         keyUse
		first, then reason.Code
	}{
		"a good one": {published(two, nil), "", ""},
		"RSA 1024":   {published(ofBits(1024), nil), unknown, invalid},
		"e 3":        {published(exponentThree(), nil), unknown, invalid},
		"use enc":    {published(two, values{"use": "enc"}), unknown, invalid},
		"use enc, EC": {
			published(renamed(ecOne()), values{"use": "enc", "alg": nil}), unknown, invalid,
		},
		"key_ops encrypt": {published(two, values{"key_ops": []string{"encrypt"}}), unknown, invalid},
		"alg PS256":       {published(two, values{"alg": "PS256"}), unknown, invalid},
		"alg RSA-OAEP":    {published(two, values{"alg": "RSA-OAEP"}), unknown, invalid},
		"private half":    {published(two, values{"d": "AQAB"}), unknown, invalid},
		"P-384":           {published(onP384(), nil), invalid, invalid},
		"P-384 said to be P-256": {
			disguised(onP384(), "ES256", values{"crv": "P-256", "alg": "ES256"}), unknown, invalid,
		},
		"P-256 said to be secp256k1": {published(renamed(ecOne()), values{"crv": "secp256k1"}), unknown, invalid},
		"oct":                        {publishedSecret("HS256"), invalid, invalid},
		"oct said to be RS256":       {publishedSecret("RS256"), unknown, invalid},
		"its kid twice": {
			keyUse{[]any{two.jwk(), renamed(ecOne()).jwk()}, func() string { return two.mint(nil) }}, unknown, invalid,
		},
		"the same key twice": {
			keyUse{[]any{two.jwk(), two.jwk()}, func() string { return two.mint(nil) }}, unknown, invalid,
		},
		"no kid": {published(two, values{"kid": nil}), unknown, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			document := text(values{"keys": append(row.use.keys, rsaOne().jwk())})
			prepare := func(p *platform) { p.jwks.set(body(200, document)) }
			inBubble(t, keysOnly(), prepare, func(t *testing.T, _ *platform, a *Admitter) {
				token := row.use.token()
				_, err := a.Admit(t.Context(), asClient(token))
				if got := code(t, err); got != row.first {
					t.Fatalf("got %q (%v), want %q", got, err, row.first)
				}
				if row.first == unknown {
					pass(reason.Of(err).RetryAfter)
				}
				wantCode(t, a, asClient(token), row.then)
				wantCode(t, a, asClient(rsaOne().mint(nil)), "")
			})
		})
	}
}
