package admission

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// vectorFiles are copies of two files of github.com/c2sp/wycheproof (testdata/wycheproof/README.md says of which
// version). That module is no requirement of ours: it would oblige everybody who imports the SDK to its Go version,
// and everybody who runs these tests to 109 MB.
var vectorFiles = map[string]struct {
	sum     string // SHA-256, so that nobody edits a vector to please the code
	vectors int
	agreed  int            // valid ones that we accept
	refused map[string]int // valid ones that we refuse, by the reason in differences
}{
	"json_web_signature_test.json": {
		sum:     "8e687a06fe8359f4ec51480f1a9f73c8faebd6f4c01b818b843b44eee54fd5d9",
		vectors: 401,
		agreed:  10,
		refused: map[string]int{
			"alg HS256": 8, "alg RS384": 4, "alg RS512": 4, "alg PS256": 6, "alg PS384": 6, "alg PS512": 4, "alg ES512": 2,
			"alphabet": 2,
		},
	},
	"json_web_key_test.json": {
		sum:     "be983255bce26406f97020ec5458b33930a90d5f868e604fcd569c300aba2862",
		vectors: 26,
		agreed:  1,
		refused: map[string]int{"alg HS256": 2, "alg HS384": 1, "alg HS512": 1},
	},
}

// differences are all the reasons for which we refuse what a vector calls valid, each with what Admit must say then:
// it is the only fault that it may have found. We accept nothing that a vector calls invalid.
//
// Two vectors want a whole set refused that has a symmetric key beside an EC key, or one kid twice. We leave such keys
// out and use the rest, as RFC 7517, section 5, wants; the token of the vector is refused all the same.
//
// The files have no vector of EdDSA.
var differences = map[string]string{
	// Tokens are signed with RS256, ES256 or EdDSA: no secret is shared with the platform, and one algorithm for each
	// type of key is enough.
	"alg": "the token's alg is none of RS256, ES256, EdDSA",
	// RFC 7515, section 2, leaves no room for a "?" inside base64url; these vectors (372, 373) want it skipped.
	"alphabet": "the token is too long, or has characters that no token has",
}

type vectorGroup struct {
	Comment         string
	Public, Private json.RawMessage // a JWK or a set of them; Public is absent for symmetric keys
	Tests           []vector
}

type vector struct {
	ID                   int `json:"tcId"`
	Comment, JWS, Result string
}

func TestTokensAndKeysAreJudgedAsWycheproofDoes(t *testing.T) {
	for name, file := range vectorFiles {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", "wycheproof", name))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != file.sum {
				t.Fatalf("got checksum %s, want %s", got, file.sum)
			}
			var content struct{ TestGroups []vectorGroup }
			if err := json.Unmarshal(b, &content); err != nil {
				t.Fatal(err)
			}
			vectors, agreed, refused := 0, 0, map[string]int{}
			for _, g := range content.TestGroups {
				for _, v := range g.Tests {
					vectors++
					t.Run(fmt.Sprintf("%d %s %s", v.ID, g.Comment, v.Comment), func(t *testing.T) {
						switch verdict := g.judge(t, v); verdict {
						case "":
						case "agreed":
							agreed++
						default:
							refused[verdict]++
						}
					})
				}
			}
			if vectors != file.vectors || agreed != file.agreed || !maps.Equal(refused, file.refused) {
				t.Errorf("got %d vectors, %d valid ones accepted and %v refused, want %d, %d, %v",
					vectors, agreed, refused, file.vectors, file.agreed, file.refused)
			}
		})
	}
}

// judge gives a vector to an Admitter that has fetched the keys of its group over HTTP, one of ours beside them so that
// the set is never without a key. It returns "" for an invalid vector, "agreed" for a valid one that is accepted, and
// else for which of the differences it is not.
func (g vectorGroup) judge(t *testing.T, v vector) (verdict string) {
	t.Helper()
	set := jwks(t, g.Public)
	if g.Public == nil {
		set = jwks(t, g.Private)
	}
	document := text(values{"keys": append(set, edOne().jwk())})
	inBubble(t, keysOnly(), func(p *platform) { p.jwks.set(body(200, document)) },
		func(t *testing.T, p *platform, a *Admitter) {
			// The payload of no vector are claims, so none is admitted.
			_, err := a.Admit(t.Context(), asClient(v.JWS))
			if code(t, err) == reason.PlatformUnavailable { // the kid of a key that is not used; a fetch decides
				pass(reason.Of(err).RetryAfter)
				_, err = a.Admit(t.Context(), asClient(v.JWS))
			}
			if got := code(t, err); got != reason.TokenInvalid && (got != reason.TokenMissing || v.JWS != "") {
				t.Fatalf("got %q (%v), want TOKEN_INVALID", got, err)
			}
			fault := signatureFault(a, v.JWS)
			switch {
			case fault == nil && v.Result != "valid":
				t.Error("got the signature accepted, want it refused")
			case fault == nil:
				verdict = "agreed"
				if want := "the token's claims are malformed"; !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want that only %s", err, want)
				}
				// So with claims for its payload, and all else as it is, it is admitted.
				wantCode(t, a, asClient(g.signed(t, v)), "")
			case v.Result == "valid":
				verdict = g.difference(t, v, set, err)
			}
		})
	return verdict
}

// signatureFault checks what of a token is not its claims, as verify does.
func signatureFault(a *Admitter, token string) error {
	head, _, err := splitToken(token)
	if err != nil {
		return err
	}
	k, err := a.verifier.keyOf(head)
	if err != nil {
		return err
	}
	i := strings.LastIndexByte(token, '.')
	signature, err := decodeBase64(token[i+1:])
	if err != nil {
		return err
	}
	return jwt.GetSigningMethod(k.algorithm).Verify(token[:i], signature, k.public)
}

// difference names why a valid vector was refused, and shows that without this rule it would not be.
func (g vectorGroup) difference(t *testing.T, v vector, set []any, err error) string {
	t.Helper()
	name, token := "alg", v.JWS
	if strings.Contains(token, "?") {
		name, token = "alphabet", strings.ReplaceAll(token, "?", "")
	}
	if !strings.Contains(err.Error(), differences[name]) {
		t.Errorf("got %v, want %q", err, differences[name])
	}
	parts := strings.Split(token, ".")
	head, err := segment(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	algorithm, _ := head["alg"].(string)
	signature, err := decodeBase64(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	err = jwt.GetSigningMethod(algorithm).Verify(parts[0]+"."+parts[1], signature, anyPublic(named(t, set, head["kid"])))
	if err != nil {
		t.Errorf("got %v without that rule, want the signature accepted", err)
	}
	if name == "alg" {
		name += " " + algorithm
	}
	return name
}

// signed is a token with the header of v, letter for letter, and claims of ours, signed with the group's private key.
func (g vectorGroup) signed(t *testing.T, v vector) string {
	t.Helper()
	front, _, _ := strings.Cut(v.JWS, ".")
	head, err := decodeBase64(front)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseObject(head)
	if err != nil {
		t.Fatal(err)
	}
	jwk := named(t, jwks(t, g.Private), o["kid"])
	s := signer{method: jwt.GetSigningMethod(o["alg"].(string))}
	switch public := anyPublic(jwk).(type) {
	case *rsa.PublicKey:
		k := &rsa.PrivateKey{
			PublicKey: *public, D: whole(jwk["d"]), Primes: []*big.Int{whole(jwk["p"]), whole(jwk["q"])},
		}
		k.Precompute()
		s.private = k
	case *ecdsa.PublicKey:
		if s.private, err = ecdsa.ParseRawPrivateKey(public.Curve, octets(jwk["d"])); err != nil {
			t.Fatal(err)
		}
	}
	return s.sign(string(head), text(good(nil)))
}

// jwks are the JWKs in b, which is one or a set.
func jwks(t *testing.T, b json.RawMessage) []any {
	t.Helper()
	if b == nil {
		return nil
	}
	o, err := parseObject(b)
	if err != nil {
		t.Fatal(err)
	}
	if list, ok := o["keys"].([]any); ok {
		return list
	}
	return []any{o}
}

// named is the key with this kid.
func named(t *testing.T, set []any, kid any) object {
	t.Helper()
	for _, item := range set {
		if jwk := item.(object); jwk["kid"] == kid {
			return jwk
		}
	}
	t.Fatalf("got no key with kid %v", kid)
	return nil
}

func whole(v any) *big.Int { return new(big.Int).SetBytes(octets(v)) }

// anyPublic is what jwk verifies with, be it too weak or of another algorithm than ours.
func anyPublic(jwk object) crypto.PublicKey {
	switch jwk["kty"] {
	case "RSA":
		return &rsa.PublicKey{N: whole(jwk["n"]), E: int(whole(jwk["e"]).Int64())}
	case "EC":
		curve := map[any]elliptic.Curve{"P-256": elliptic.P256(), "P-521": elliptic.P521()}[jwk["crv"]]
		point := append([]byte{4}, append(octets(jwk["x"]), octets(jwk["y"])...)...)
		p, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			panic(err)
		}
		return p
	}
	return octets(jwk["k"])
}
