package secure

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flynn/noise"
	"google.golang.org/protobuf/encoding/protowire"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

var update = flag.Bool("update", false, "write docs/vectors anew")

// The forms of docs/vectors/*.json; README.md there says what each field is.
type (
	prologueVector struct {
		Workspace string   `json:"workspace_id"`
		Target    string   `json:"runtime_target_id"`
		Session   string   `json:"session_id"`
		Prologue  hexBytes `json:"prologue"`
	}
	sessionIDVector struct {
		BindKey hexBytes `json:"bind_key"`
		Session string   `json:"session_id"`
	}
	frameHeader struct {
		Type     relayv1.FrameType `json:"type"`
		Encoding relayv1.Encoding  `json:"encoding"`
		Sequence uint64            `json:"sequence,string"`
		Seconds  int64             `json:"seconds,string"`
		Nanos    int32             `json:"nanos"`
		AD       hexBytes          `json:"associated_data"`
	}
	frameVector struct {
		Direction string `json:"direction"`
		frameHeader
		Epoch      uint64   `json:"epoch"`
		Nonce      hexBytes `json:"nonce"`
		Plaintext  hexBytes `json:"plaintext"`
		Ciphertext hexBytes `json:"ciphertext"`
	}
	proofVector struct {
		Role     string            `json:"role"`
		Type     relayv1.FrameType `json:"type"`
		Session  string            `json:"session_id"`
		First    uint64            `json:"first,string"`
		Ack      uint64            `json:"ack,string"`
		Consumed uint64            `json:"consumed,string"`
		Attempt  uint64            `json:"attempt,string"`
		Code     string            `json:"code"`
		Proof    hexBytes          `json:"proof"`
	}
	proofFile struct {
		HandshakeHash hexBytes      `json:"handshake_hash"`
		ResumeSecret  hexBytes      `json:"resume_secret"`
		ClientKey     hexBytes      `json:"resume_key_client"`
		DaemonKey     hexBytes      `json:"resume_key_daemon"`
		Proofs        []proofVector `json:"proofs"`
	}
	rekeyFile struct {
		Keys   []hexBytes    `json:"keys"`
		Frames []frameVector `json:"frames"`
	}
	partyVector struct {
		StaticPrivate    hexBytes `json:"static_private"`
		StaticPublic     hexBytes `json:"static_public"`
		EphemeralPrivate hexBytes `json:"ephemeral_private"`
		EphemeralPublic  hexBytes `json:"ephemeral_public"`
	}
	messageVector struct {
		Payload hexBytes `json:"payload"`
		Message hexBytes `json:"message"`
	}
	handshakeFile struct {
		Protocol string   `json:"protocol"`
		BindKey  hexBytes `json:"bind_key"`
		prologueVector
		Client  partyVector   `json:"client"`
		Daemon  partyVector   `json:"daemon"`
		PSK     hexBytes      `json:"psk,omitempty"`
		Init    messageVector `json:"handshake_init"`
		Respond messageVector `json:"handshake_response"`
		UpKey   hexBytes      `json:"key_up"`
		DownKey hexBytes      `json:"key_down"`
		Frames  []frameVector `json:"frames"`
		proofFile
	}
)

// golden compares what our code makes with the file that strangers implement from, or writes it with -update.
func golden(t *testing.T, name string, made any) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", "vectors", name)
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s: got other bytes than are there, want the same; go test ./internal/secure -run Vectors -update "+
			"writes them, and peers that implement the old ones stop understanding us", path)
	}
}

// read is the file as a stranger reads it.
func read[T any](t *testing.T, name string) (v T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

var (
	vectorBindKey = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	vectorSession = plainSessionID(vectorBindKey)
	vectorSecret  = fill(0xc0)
)

func plainSessionID(bindKey []byte) string {
	sum := sha256.Sum256(bindKey)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

func TestVectorsOfPrologues(t *testing.T) {
	var made []prologueVector
	for _, v := range []prologueVector{
		{Workspace: "acme", Target: "build-7", Session: vectorSession},
		{Workspace: "a", Target: "b", Session: strings.Repeat("a", 26)},
		{Workspace: strings.Repeat("w", 128), Target: "T.-_:9", Session: vectorSession},
	} {
		v.Prologue = Prologue(v.Workspace, v.Target, v.Session)
		made = append(made, v)
	}
	golden(t, "prologue.json", made)
}

func TestVectorsOfSessionIds(t *testing.T) {
	var made []sessionIDVector
	for _, key := range [][]byte{
		vectorBindKey, make([]byte, 16), bytes.Repeat([]byte{0xff}, 16), []byte("viewport-relay/1"),
	} {
		made = append(made, sessionIDVector{key, plainSessionID(key)})
	}
	golden(t, "session-id.json", made)
}

func TestVectorsOfAssociatedData(t *testing.T) {
	var made []frameHeader
	for _, f := range []FrameInfo{
		{Type: 3, Encoding: 1, Sequence: 2, Seconds: 1_700_000_000, Nanos: 123_456_789},
		{Type: 3, Encoding: 1, Sequence: 3},
		{Type: 4, Encoding: 1, Sequence: MaxSequence, Seconds: -62_135_596_800, Nanos: 999_999_999},
		{Type: 3, Encoding: 1, Sequence: 0x0102_0304_0506, Seconds: -1, Nanos: -1},
	} {
		made = append(made, headerVector(f))
	}
	golden(t, "associated-data.json", made)
}

func TestVectorsOfProofs(t *testing.T) {
	client, daemon := pair(t, ik)
	golden(t, "resume-proof.json", proofs(client, daemon))
}

func TestVectorsOfKeyEpochs(t *testing.T) {
	key := fill(0x10)
	suite := noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256)
	side := func(initiator bool) *Channel {
		up, down := noise.UnsafeNewCipherState(suite, key, 0), noise.UnsafeNewCipherState(suite, key, 0)
		return newChannel(initiator, nil, up, down)
	}
	client, daemon := side(true), side(false)
	made := rekeyFile{Keys: []hexBytes{bytes.Clone(key[:])}}
	for _, n := range []uint64{2, 65_537, 65_538, 131_073, 131_074} {
		advance(t, client, daemon, n)
		f := data(n)
		made.Frames = append(made.Frames, sealVector(t, client, daemon, f, []byte("\x00frame")))
		if int(client.send.epoch) == len(made.Keys) {
			made.Keys = append(made.Keys, bytes.Clone(client.send.key[:]))
		}
	}
	golden(t, "rekey.json", made)
}

func TestVectorsOfWholeSessions(t *testing.T) {
	golden(t, "handshake-ik.json", wholeSession(t, ik, nil))
	golden(t, "handshake-ikpsk2.json", wholeSession(t, ikpsk2, []byte{0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7}))
}

func wholeSession(t *testing.T, p Profile, pairingID []byte) handshakeFile {
	t.Helper()
	cc, dc := configs(t, p)
	v := handshakeFile{
		Protocol:       "Noise_IK_25519_AESGCM_SHA256",
		BindKey:        vectorBindKey,
		prologueVector: prologueVector{"acme", "build-7", vectorSession, cc.Prologue},
		Client:         party(t, cc.Static, fill(0x20)),
		Daemon:         party(t, dc.Static, fill(0x60)),
		PSK:            cc.PSK,
		Init:           messageVector{Payload: pairingID},
		Respond:        messageVector{Payload: parameters("viewport/1.0.0 daemon", vectorSecret[:])},
	}
	if p == ikpsk2 {
		v.Protocol = "Noise_IKpsk2_25519_AESGCM_SHA256"
	}
	i, r := newInitiator(t, cc), newResponder(t, dc)
	var client, daemon *Channel
	var err error
	if v.Init.Message, err = i.Init(pairingID); err != nil {
		t.Fatal(err)
	}
	if _, _, err = r.ReadInit(v.Init.Message); err != nil {
		t.Fatal(err)
	}
	if v.Respond.Message, daemon, err = r.Respond(cc.PSK, v.Respond.Payload); err != nil {
		t.Fatal(err)
	}
	if _, client, err = i.Finish(v.Respond.Message); err != nil {
		t.Fatal(err)
	}
	for _, ch := range []*Channel{client, daemon} {
		if err := ch.SetResumeSecret(vectorSecret[:]); err != nil {
			t.Fatal(err)
		}
	}
	v.UpKey, v.DownKey = bytes.Clone(client.send.key[:]), bytes.Clone(client.receive.key[:])
	v.proofFile = proofs(client, daemon)

	hello := append([]byte{0}, parameters("viewport/1.0.0 client", nil)...)
	closed := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "bye")
	dataFrame, closeFrame := relayv1.FrameType_FRAME_TYPE_DATA, relayv1.FrameType_FRAME_TYPE_CLOSE
	for _, m := range []struct {
		from      *Channel
		info      FrameInfo
		plaintext []byte
	}{
		{client, FrameInfo{dataFrame, 1, 2, 1_700_000_000, 0}, hello},
		{daemon, FrameInfo{dataFrame, 1, 2, 1_700_000_000, 250_000_000}, []byte("\x00$ ")},
		{client, FrameInfo{dataFrame, 1, 3, 1_700_000_001, 999_999_999}, []byte("\x01first fragment, ")},
		{client, FrameInfo{dataFrame, 1, 4, 0, 0}, []byte("\x00then the last")},
		{daemon, FrameInfo{dataFrame, 1, 3, 1_700_000_002, 1}, []byte("\x00")},
		{daemon, FrameInfo{closeFrame, 1, 4, 1_700_000_003, 0}, closed},
		{client, FrameInfo{closeFrame, 1, 5, 1_700_000_003, 5}, nil},
	} {
		to := daemon
		if m.from == daemon {
			to = client
		}
		v.Frames = append(v.Frames, sealVector(t, m.from, to, m.info, m.plaintext))
	}
	return v
}

func party(t *testing.T, static KeyPair, ephemeral [KeySize]byte) partyVector {
	e := keyPair(t, ephemeral)
	return partyVector{static.Private[:], static.Public[:], e.Private[:], e.Public[:]}
}

// parameters is a serialized SessionParameters, field by field so that no library's choice of order is in a vector.
func parameters(version string, secret []byte) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1_048_576)
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), 524_288)
	b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), version)
	if secret != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), secret)
	}
	return b
}

func headerVector(f FrameInfo) frameHeader {
	return frameHeader{f.Type, f.Encoding, f.Sequence, f.Seconds, f.Nanos, AssociatedData(nil, f)}
}

// sealVector seals a frame and sees that the peer opens it.
func sealVector(t *testing.T, from, to *Channel, f FrameInfo, plaintext []byte) frameVector {
	t.Helper()
	direction := "down"
	if from.initiator {
		direction = "up"
	}
	sealed := seal(t, from, f, string(plaintext))
	nonce := bytes.Clone(from.nonceOf(f.Sequence))
	opens(t, to, f, sealed, string(plaintext))
	return frameVector{direction, headerVector(f), from.send.epoch, nonce, plaintext, sealed}
}

func proofs(client, daemon *Channel) proofFile {
	v := proofFile{
		HandshakeHash: client.binding, ResumeSecret: vectorSecret[:], ClientKey: client.own[:], DaemonKey: daemon.own[:],
	}
	for _, p := range []struct {
		role *Channel
		Proof
	}{
		{client, Proof{resume, vectorSession, 2, 7, 5, 1, ""}},
		{daemon, Proof{resumed, vectorSession, 8, 1, 1, 1, ""}},
		{client, Proof{resumed, vectorSession, MaxSequence, 1<<63 - 1, 0, 1 << 32, ""}},
		{daemon, Proof{reset, vectorSession, 0, 0, 0, 2, "CANCELLED"}},
	} {
		role := "client"
		if p.role == daemon {
			role = "daemon"
		}
		mac := p.role.Prove(p.Proof)
		v.Proofs = append(v.Proofs, proofVector{
			role, p.Type, p.Session, p.First, p.Ack, p.Consumed, p.Attempt, p.Code, bytes.Clone(mac[:]),
		})
	}
	return v
}
