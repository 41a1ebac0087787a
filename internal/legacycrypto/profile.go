package legacycrypto

// Profile is a key exchange's name on the wire.
type Profile string

const (
	// NoiseIK authenticates the daemon only.
	NoiseIK Profile = "noise-ik"
	// NoiseIKpsk2 also the client, by the PSK of its pairing.
	NoiseIKpsk2 Profile = "noise-ikpsk2"
)

// Known reports whether p is one of the two.
func (p Profile) Known() bool { return p == NoiseIK || p == NoiseIKpsk2 }

// Satisfies reports whether p is at least as strong as required.
func (p Profile) Satisfies(required Profile) bool {
	return p.Known() && required.Known() && (p == required || p == NoiseIKpsk2)
}

// noiseName is what the handshake begins with. It looks like Noise's own names; the handshake differs (symmetric).
func (p Profile) noiseName() string {
	if p == NoiseIKpsk2 {
		return "Noise_IKpsk2_P256_AESGCM_SHA256"
	}
	return "Noise_IK_P256_AESGCM_SHA256"
}
