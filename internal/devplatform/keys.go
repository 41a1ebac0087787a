package devplatform

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithms that tokens can be signed with.
const (
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// key signs with one algorithm.
type key struct {
	id      string
	method  jwt.SigningMethod
	private crypto.Signer
}

// jwk is a public key as RFC 7517 and RFC 8037 write it.
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// newKeys draws a key per algorithm, with ids that no other Server has.
func newKeys() ([]key, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("devplatform: %w", err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devplatform: %w", err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devplatform: %w", err)
	}
	series := strings.ToLower(rand.Text()[:8])
	return []key{
		{"dev-rs256-" + series, jwt.SigningMethodRS256, rsaKey},
		{"dev-es256-" + series, jwt.SigningMethodES256, ecdsaKey},
		{"dev-eddsa-" + series, jwt.SigningMethodEdDSA, edKey},
	}, nil
}

// jwks returns the public halves as the body of a JWKS answer.
func jwks(keys []key) ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	b64 := base64.RawURLEncoding.EncodeToString
	for _, k := range keys {
		public := jwk{Use: "sig", Algorithm: k.method.Alg(), ID: k.id}
		switch p := k.private.Public().(type) {
		case *rsa.PublicKey:
			public.Type, public.N, public.E = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := p.Bytes() // 4 ‖ x ‖ y
			if err != nil {
				return nil, fmt.Errorf("devplatform: %w", err)
			}
			public.Type, public.Curve, public.X, public.Y = "EC", "P-256", b64(point[1:33]), b64(point[33:])
		case ed25519.PublicKey:
			public.Type, public.Curve, public.X = "OKP", "Ed25519", b64(p)
		}
		set.Keys = append(set.Keys, public)
	}
	b, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("devplatform: %w", err)
	}
	return b, nil
}
