package admission

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"math"
	"math/big"
	"slices"
)

// Limits of a key set.
const (
	// maxKeys is the most keys in a set, unusable ones included.
	maxKeys = 64
	// maxModulus bounds what one RSA verification costs, in bits; minModulus is RFC 7518, section 3.3.
	maxModulus, minModulus = 8192, 2048
	// minExponent is the least public exponent of NIST SP 800-89, section 5.3.3.
	minExponent = 65537
)

// key is a public key and the one algorithm that it is for: the token's header never chooses.
type key struct {
	algorithm string
	public    any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// keySet is a parsed JWKS, by kid. It never changes.
type keySet map[string]key

// parseKeySet reads a JWKS document (RFC 7517). Keys that can't be used are left out, as section 5 wants; so is every
// kid that two keys of the set carry, whatever their kind: which of the two is meant can't be told. A set without a
// usable key is an error, for it is more often an accident than a wish, and would lock everybody out.
func parseKeySet(b []byte) (keySet, error) {
	document, err := parseObject(b)
	if err != nil {
		return nil, errors.New("the key set is malformed: " + err.Error())
	}
	list, ok := document["keys"].([]any)
	if !ok {
		return nil, errors.New("the key set has no array keys")
	}
	if len(list) > maxKeys {
		return nil, errors.New("the key set has more than 64 keys")
	}
	set, seen := keySet{}, map[string]bool{}
	for _, item := range list {
		jwk, _ := item.(object)
		id, ok := keyID(jwk["kid"])
		if !ok {
			continue
		}
		if seen[id] {
			delete(set, id)
			continue
		}
		seen[id] = true
		if k, ok := parseKey(jwk); ok {
			set[id] = k
		}
	}
	if len(set) == 0 {
		return nil, errors.New("the key set has no key that can be used")
	}
	return set, nil
}

// parseKey reads a key that may verify tokens.
func parseKey(jwk object) (key, bool) {
	if use, there := jwk["use"]; there && use != "sig" {
		return key{}, false
	}
	if operations, there := jwk["key_ops"]; there {
		if list, ok := operations.([]any); !ok || !slices.Contains(list, any("verify")) {
			return key{}, false
		}
	}
	// Who publishes the private half too has lost the key.
	if _, there := jwk["d"]; there {
		return key{}, false
	}
	var k key
	switch jwk["kty"] {
	case "RSA":
		if p := rsaKey(jwk); p != nil {
			k = key{rs256, p}
		}
	case "EC":
		if p := ecKey(jwk); p != nil {
			k = key{es256, p}
		}
	case "OKP":
		if p := edKey(jwk); p != nil {
			k = key{eddsa, p}
		}
	}
	if algorithm, there := jwk["alg"]; there && algorithm != k.algorithm {
		return key{}, false
	}
	return k, k.public != nil
}

// rsaKey reads n and e (RFC 7518, section 6.3.1).
func rsaKey(jwk object) *rsa.PublicKey {
	n, e := number(jwk["n"]), number(jwk["e"])
	if n == nil || n.BitLen() < minModulus || n.Bit(0) == 0 || smellsOfROCA(n) {
		return nil
	}
	// crypto/rsa takes exponents of at most 31 bits.
	if e == nil || !e.IsInt64() || e.Int64() < minExponent || e.Int64() > math.MaxInt32 || e.Bit(0) == 0 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}

// smellsOfROCA reports whether a modulus has the form that a faulty key generator of Infineon gave it (CVE-2017-15361):
// such keys can be factored. Modulo each small prime it is a power of 65537; one good modulus of 200 million is
// so by chance.
func smellsOfROCA(n *big.Int) bool {
	for _, p := range [...]uint64{
		3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
		113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
	} {
		rest := new(big.Int).Mod(n, new(big.Int).SetUint64(p)).Uint64()
		power := uint64(1)
		for range p {
			if power == rest {
				break
			}
			power = power * 65537 % p
		}
		if power != rest {
			return false
		}
	}
	return true
}

// number reads a Base64urlUInt of at most maxModulus bits: big-endian in as few bytes as possible.
func number(v any) *big.Int {
	b := octets(v)
	if len(b) == 0 || len(b) > maxModulus/8 || b[0] == 0 {
		return nil
	}
	return new(big.Int).SetBytes(b)
}

// ecKey reads a point of P-256 (RFC 7518, section 6.2.1); one that is not on the curve is refused.
func ecKey(jwk object) *ecdsa.PublicKey {
	x, y := octets(jwk["x"]), octets(jwk["y"])
	if jwk["crv"] != "P-256" || len(x) != 32 || len(y) != 32 {
		return nil
	}
	p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil
	}
	return p
}

// edKey reads an Ed25519 key (RFC 8037, section 2).
func edKey(jwk object) ed25519.PublicKey {
	x := octets(jwk["x"])
	if jwk["crv"] != "Ed25519" || len(x) != ed25519.PublicKeySize {
		return nil
	}
	return x
}

func octets(v any) []byte {
	s, _ := v.(string)
	b, err := decodeBase64(s)
	if err != nil {
		return nil
	}
	return b
}
