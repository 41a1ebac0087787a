package legacycrypto

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// vectorFile is relay-noise-v3.json.
type vectorFile struct {
	DaemonIdentity          struct{ PublicKey, PrivateKey string }
	ClientDeterministicKeys struct{ StaticPrivateKey, EphemeralPrivateKey string }
	DaemonEphemeral         string `json:"daemonDeterministicEphemeralPrivateKey"`
	Vectors                 []vector
}

type vector struct {
	ID, RequestID, SessionID string

	Profile       Profile
	PairingSecret string
	Epoch         uint64
	Init          struct{ ClientEphemeralPublicKey, EncryptedClientStatic string }
	Response      struct{ DaemonEphemeralPublicKey, EncryptedMetadata, Proof string }
	SessionKey    string
}

func readVectors(t *testing.T) vectorFile {
	t.Helper()
	dir, named := os.LookupEnv("RELAY_VECTORS")
	if !named {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	text, err := os.ReadFile(filepath.Join(dir, "relay-noise-v3.json"))
	if os.IsNotExist(err) && !named {
		t.Skip("no folder of public vectors: set RELAY_VECTORS to the one with relay-noise-v3.json")
	}
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) != 2 || f.Vectors[0].Profile != NoiseIK || f.Vectors[1].Profile != NoiseIKpsk2 {
		t.Fatalf("got %d vectors, want one of each profile", len(f.Vectors))
	}
	return f
}

func decoded(t testing.TB, text string) []byte {
	t.Helper()
	b, ok := decodeBase64([]byte(text))
	if !ok {
		t.Fatalf("%q is not base64url", text)
	}
	return b
}

func parsedKey(t testing.TB, text string) PrivateKey {
	t.Helper()
	k, err := ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *vector) psk(t testing.TB) (psk PSK) {
	t.Helper()
	if v.Profile == NoiseIKpsk2 {
		var err error
		if psk, err = NewPSK(decoded(t, v.PairingSecret)); err != nil {
			t.Fatal(err)
		}
	}
	return psk
}

func TestTheVectorsOfTodaysKeyExchangeHoldByteForByte(t *testing.T) {
	f := readVectors(t)
	static := parsedKey(t, f.DaemonIdentity.PrivateKey)
	if got := static.Public().String(); got != f.DaemonIdentity.PublicKey {
		t.Errorf("the daemon's public key: got %s, want %s", got, f.DaemonIdentity.PublicKey)
	}
	for _, v := range f.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			keys := f.ClientDeterministicKeys
			c := ClientConfig{
				Profile: v.Profile, Daemon: static.Public(), Static: parsedKey(t, keys.StaticPrivateKey),
				Random: bytes.NewReader(append(decoded(t, keys.EphemeralPrivateKey), make([]byte, 24)...)),
			}
			if c.PSK = v.psk(t); v.Profile == NoiseIKpsk2 {
				c.PairingPeerID = testPeerID
			}
			h, err := NewClientHandshake(c)
			if err != nil {
				t.Fatal(err)
			}
			h.requestID = v.RequestID
			init, err := h.Init()
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"profile": string(v.Profile), "requestId": v.RequestID,
				"clientEphemeralPublicKey": v.Init.ClientEphemeralPublicKey,
				"encryptedClientStatic":    v.Init.EncryptedClientStatic,
			} {
				if got := fieldsOf(t, init)[name]; got != want {
					t.Errorf("init, %s: got %v, want %s", name, got, want)
				}
			}

			d, err := ReadInit(DaemonConfig{
				Static: static, Required: v.Profile,
				Random: bytes.NewReader(append(decoded(t, f.DaemonEphemeral), make([]byte, 16)...)),
			}, parse[*Init](t, init))
			if err != nil {
				t.Fatal(err)
			}
			r, daemon, err := d.respond(v.psk(t), nil, v.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			response := r.text(static.Public())
			for name, want := range map[string]any{
				"profile": string(v.Profile), "requestId": v.RequestID,
				"sessionId": v.SessionID, "epoch": json.Number("1"),
				"daemonEphemeralPublicKey": v.Response.DaemonEphemeralPublicKey, "proof": v.Response.Proof,
				"encryptedMetadata": v.Response.EncryptedMetadata, "daemonPublicKey": f.DaemonIdentity.PublicKey,
			} {
				if got := fieldsOf(t, response)[name]; got != want {
					t.Errorf("response, %s: got %v, want %v", name, got, want)
				}
			}

			client, err := h.Finish(parse[*Response](t, response))
			if err != nil {
				t.Fatal(err)
			}
			key := newAEAD([KeySize]byte(decoded(t, v.SessionKey)))
			want := key.Seal(nil, make([]byte, ivSize), []byte("text"), nil)
			for _, s := range []*Session{client, daemon} {
				if got := s.aead.Seal(nil, make([]byte, ivSize), []byte("text"), nil); !bytes.Equal(got, want) {
					t.Errorf("role %d: got another session key than the vector's", s.role)
				}
			}
		})
	}
}

// step is a value of the handshake on its way.
type step struct{ name, want string }

var stepsIK = []step{
	{"h after prologue", "59c2c78bd87e3ed42b663c36ed769c64cecf3bb6b26c8020da4f25dd230d3d25"},
	{"h after S", "28c20cfd3ac80c371877b7c115d5066227127059e9fe3551ddeea1ca7e171fd8"},
	{"h after E", "745e67142d4645a5a1af61cd966a127434e0fda13c865cea4fd5885452a09679"},
	{"ck after ECDH(e,S)", "930608cfa7d0f8b32986bc8cf946c1a576a5a8d21df5f394c4987e8a79d91494"},
	{"k after ECDH(e,S)", "868be943a54cd8ee08eda4e77660a1d031e43c509fdc30265dd83d6f167e76ac"},
	{"h after encrypted static", "0f6d0837106063610a040052d53ce94fe6f1bf7b56a0af76c01babf8c38d32e6"},
	{"ck after ECDH(c,S)", "05c1a6e93ef695bf7f980c957a977e737d067d98ad9ecc14a45638fdfa0a2af3"},
	{"h after D", "48b4ca26f31de6eea0dcb264154fb50097d45f16a5d93f93b33010af7bf69b8e"},
	{"ck after ECDH(d,E)", "21de3340b1bca5918469fc87a9e59c09e30cd91313833e5284750b5b92834480"},
	{"ck after ECDH(d,C)", "379aa0d6e0330401da3e9a2ab536aa385971fa07007b7cf03db4e1d3cb7421ba"},
	{"k after ECDH(d,C)", "22d47fdf7a8a87da50198bc7272270423dde120f26109477a1830f40b39b7d87"},
	{"h after metadata", "12c2f5ae141d82f2ffd80a0e87c056331357e154a1a03b6ddd84651b61c76f1b"},
	{"k1 of the split", "c8fe308ea2ce8833190f16e7c1accf38e467db381ea1b698f53dd11512c75c88"},
	{"k2 of the split", "175d4b642d52ecd24b7b44e31d3448819a3b01d3e6a447669fb9f760030b278e"},
}

var stepsIKpsk2 = []step{
	{"h after prologue", "9f31d7c71e3c38d5da7a10e99a864d753c8af74e2856d8318fe8b736121060c1"},
	{"h after S", "afbbab6bd2b9719cbe8154c33811eb600a6b8dd55991e400d85fecda2c6adf8a"},
	{"h after E", "cca098ce290ba75622b6b357eec7eb5646e9923de25fd8066d4d9b99e76ddf25"},
	{"ck after ECDH(e,S)", "8888712c67cc626971e394bc0ed211c3b5d9d02137d0dd25c9c1699b484c3c96"},
	{"h after encrypted static", "e7727753b3dc417f790fbf74d7de7eae9bebe53b447e8ed42c2afe29aaa7f535"},
	{"ck after ECDH(c,S)", "8fde9cab2125dafc99d00b5de059cbc0db77b052e5aa9c193a2e057e21eeafa5"},
	{"h after D", "53031e31dd652c2344dcfb59ba71c3bb1ae8045393ac97ac42c1661f1895891f"},
	{"ck after ECDH(d,C)", "bb610c9bf6432a57841316467e72e96f753a547419e511c578a7fa288f434a06"},
	{"ck after the PSK", "f463271a3b00f8fbc142f0a540ef8f5bebf4ce0bdef963e956c3f3d1e676eb72"},
	{"h after the PSK", "1c9e047912ac1bcfdde1e413307a48ac55f80df11197e83869d8fe1028024731"},
	{"k after the PSK", "582debac849f5858936480cb2449b87859f222522b1fa500b9eaed6d2a49ff20"},
	{"h after metadata", "cf1e9b5270eb1ee6a72a31fd5c13a7cb1fe6fac55fb8bea3fdeb1a58c252f47d"},
}

func TestEveryValueOnTheWayToTheVectorsSessionKeyHolds(t *testing.T) {
	f := readVectors(t)
	for i, steps := range [][]step{stepsIK, stepsIKpsk2} {
		v := f.Vectors[i]
		t.Run(v.ID, func(t *testing.T) {
			got := trace(t, f, v)
			for _, s := range steps {
				if got[s.name] != s.want {
					t.Errorf("%s: got %s, want %s", s.name, got[s.name], s.want)
				}
			}
		})
	}
}

// trace runs a handshake step by step, the first message from the client's side, the second from the daemon's.
func trace(t *testing.T, f vectorFile, v vector) map[string]string {
	t.Helper()
	keys := f.ClientDeterministicKeys
	static, client := parsedKey(t, f.DaemonIdentity.PrivateKey), parsedKey(t, keys.StaticPrivateKey)
	e, d := parsedKey(t, keys.EphemeralPrivateKey), parsedKey(t, f.DaemonEphemeral)
	out := map[string]string{}
	var s *symmetric
	note := func(after string) {
		out["ck after "+after] = hex.EncodeToString(s.chain[:])
		out["h after "+after] = hex.EncodeToString(s.hash[:])
		out["k after "+after] = hex.EncodeToString(s.key[:])
	}
	dh := func(after string, private PrivateKey, public PublicKey) {
		if err := s.mixDH(private, public); err != nil {
			t.Fatal(err)
		}
		note(after)
	}
	public := func(k PrivateKey) []byte { p := k.Public(); return p[:] }

	s = &symmetric{}
	copy(s.hash[:], v.Profile.noiseName())
	s.chain = s.hash
	s.mixHash([]byte(prologue))
	note("prologue")
	s.mixHash(public(static))
	note("S")
	if *s != *newSymmetric(v.Profile, static.Public()) {
		t.Error("the start of a handshake: got another state than step by step")
	}
	s.mixHash(public(e))
	note("E")
	dh("ECDH(e,S)", e, static.Public())
	s.seal(public(client))
	note("encrypted static")
	dh("ECDH(c,S)", client, static.Public())
	s.mixHash(public(d))
	note("D")
	dh("ECDH(d,E)", d, e.Public())
	dh("ECDH(d,C)", d, client.Public())
	if v.Profile == NoiseIKpsk2 {
		s.mixKeyAndHash(v.psk(t))
		note("the PSK")
	}
	s.seal(encode(metadata{v.SessionID, v.Epoch}))
	note("metadata")
	halves := s.split()
	out["k1 of the split"], out["k2 of the split"] = hex.EncodeToString(halves[0][:]), hex.EncodeToString(halves[1][:])
	return out
}
