package admission

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
)

// weakness says what is wrong with a key that must never be in a set.
func weakness(k key) string {
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		if k.algorithm != rs256 || p.N.BitLen() < 2048 || p.N.BitLen() > 8192 || p.E < 65537 || p.E%2 == 0 {
			return "no RS256 key"
		}
	case *ecdsa.PublicKey:
		if _, err := p.ECDH(); err != nil || k.algorithm != es256 || p.Curve != elliptic.P256() {
			return "no ES256 key"
		}
	case ed25519.PublicKey:
		if k.algorithm != eddsa || len(p) != ed25519.PublicKeySize {
			return "no EdDSA key"
		}
	default:
		return "of no kind"
	}
	return ""
}
