package secure

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// noiseVector is one public vector: messages alternate, the initiator's first; the third on are transport messages with
// empty associated data.
type noiseVector struct {
	Protocol      string         `json:"protocol_name"`
	Prologue      hexBytes       `json:"init_prologue"`
	InitStatic    hexBytes       `json:"init_static"`
	InitEphemeral hexBytes       `json:"init_ephemeral"`
	RespStatic    hexBytes       `json:"resp_static"`
	RespEphemeral hexBytes       `json:"resp_ephemeral"`
	InitPSKs      []hexBytes     `json:"init_psks"`
	HandshakeHash hexBytes       `json:"handshake_hash"`
	Messages      []noiseMessage `json:"messages"`
}

type noiseMessage struct{ Payload, Ciphertext hexBytes }

// hexBytes are bytes that JSON has as lower-case hex.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func TestPublicNoiseVectorsOfFlynnNoiseHoldByteForByte(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/flynn/noise").Output()
	if err != nil {
		t.Fatalf("finding the module of flynn/noise: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "vectors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []noiseVector
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if v, ours := parseFlynn(t, block); ours {
			vectors = append(vectors, v)
		}
	}
	checkNoiseVectors(t, vectors, 4)
}

func TestPublicNoiseVectorsOfCacophonyHoldByteForByte(t *testing.T) {
	dir, named := os.LookupEnv("RELAY_VECTORS")
	if !named {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	text, err := os.ReadFile(filepath.Join(dir, "noise-cacophony-ik.json"))
	if os.IsNotExist(err) && !named {
		t.Skip("no folder of public vectors: set RELAY_VECTORS to the one with noise-cacophony-ik.json")
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []noiseVector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	checkNoiseVectors(t, file.Vectors, 1)
}

// parseFlynn reads a block of lines name=value; ours says whether it is one of our two protocols.
func parseFlynn(t *testing.T, block string) (v noiseVector, ours bool) {
	t.Helper()
	fields := map[string]hexBytes{}
	for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
		name, value, _ := strings.Cut(line, "=")
		if name == "handshake" {
			v.Protocol = value
			continue
		}
		var b hexBytes
		if err := b.UnmarshalText([]byte(value)); err != nil {
			return v, false // a comment
		}
		fields[name] = b
	}
	v.Prologue = fields["prologue"]
	v.InitStatic, v.InitEphemeral = fields["init_static"], fields["gen_init_ephemeral"]
	v.RespStatic, v.RespEphemeral = fields["resp_static"], fields["gen_resp_ephemeral"]
	if psk, ok := fields["preshared_key"]; ok {
		v.InitPSKs = []hexBytes{psk}
	}
	for i := 0; ; i++ {
		ciphertext, ok := fields["msg_"+strconv.Itoa(i)+"_ciphertext"]
		if !ok {
			break
		}
		v.Messages = append(v.Messages, noiseMessage{fields["msg_"+strconv.Itoa(i)+"_payload"], ciphertext})
	}
	return v, profileOf(v.Protocol) != 0
}

func profileOf(protocol string) Profile {
	return map[string]Profile{"Noise_IK_25519_AESGCM_SHA256": ik, "Noise_IKpsk2_25519_AESGCM_SHA256": ikpsk2}[protocol]
}

// checkNoiseVectors runs each vector through our handshake and wants so many of each protocol.
func checkNoiseVectors(t *testing.T, vectors []noiseVector, each int) {
	t.Helper()
	count := map[string]int{}
	for _, v := range vectors {
		count[v.Protocol]++
		t.Run(v.Protocol+"/"+strconv.Itoa(count[v.Protocol]), func(t *testing.T) { checkNoiseVector(t, v) })
	}
	for _, p := range []string{"Noise_IK_25519_AESGCM_SHA256", "Noise_IKpsk2_25519_AESGCM_SHA256"} {
		if count[p] != each {
			t.Errorf("%s: got %d vectors, want %d", p, count[p], each)
		}
	}
}

func checkNoiseVector(t *testing.T, v noiseVector) {
	var psk []byte
	if len(v.InitPSKs) == 1 {
		psk = v.InitPSKs[0]
	}
	dc := HandshakeConfig{
		Profile: profileOf(v.Protocol), Static: keyPair(t, [KeySize]byte(v.RespStatic)), Prologue: v.Prologue,
		Random: bytes.NewReader(v.RespEphemeral),
	}
	cc := HandshakeConfig{
		Profile: dc.Profile, Static: keyPair(t, [KeySize]byte(v.InitStatic)), PeerStatic: dc.Static.Public, PSK: psk,
		Prologue: v.Prologue, Random: bytes.NewReader(v.InitEphemeral),
	}
	i, r := newInitiator(t, cc), newResponder(t, dc)

	m1, err := i.Init(v.Messages[0].Payload)
	equal(t, "message 1", m1, v.Messages[0].Ciphertext, err)
	peer, payload, err := r.ReadInit(m1)
	equal(t, "payload 1", payload, v.Messages[0].Payload, err)
	equal(t, "the client's key", peer[:], cc.Static.Public[:], nil)
	m2, daemon, err := r.Respond(psk, v.Messages[1].Payload)
	equal(t, "message 2", m2, v.Messages[1].Ciphertext, err)
	payload, client, err := i.Finish(m2)
	equal(t, "payload 2", payload, v.Messages[1].Payload, err)
	if v.HandshakeHash != nil {
		equal(t, "the client's handshake hash", client.binding, v.HandshakeHash, nil)
		equal(t, "the daemon's handshake hash", daemon.binding, v.HandshakeHash, nil)
	}

	for n, m := range v.Messages[2:] {
		from, to := client, daemon
		if n%2 == 1 {
			from, to = daemon, client
		}
		// Public vectors have no associated data, so these go below Seal and Open.
		sealed := from.send.aead.Seal(nil, plainNonce(uint64(n/2)), m.Payload, nil)
		equal(t, "transport message", sealed, m.Ciphertext, nil)
		opened, err := to.receive.aead.Open(nil, plainNonce(uint64(n/2)), sealed, nil)
		equal(t, "transport payload", opened, m.Payload, err)
	}
}

func equal(t *testing.T, what string, got, want []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: got %x, want %x", what, got, want)
	}
}
