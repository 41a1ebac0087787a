package secure

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
)

// What a stranger does who has docs/vectors and a standard library, and never saw our code: recompute each file from
// its inputs. None of this calls what the package exports.

func TestStrangersComputeTheSameVectors(t *testing.T) {
	for _, v := range read[[]prologueVector](t, "prologue.json") {
		strangerPrologue(t, v)
	}
	for _, v := range read[[]sessionIDVector](t, "session-id.json") {
		if got := plainSessionID(v.BindKey); got != v.Session {
			t.Errorf("session id of %x: got %s, want %s", v.BindKey, got, v.Session)
		}
	}
	for _, v := range read[[]frameHeader](t, "associated-data.json") {
		strangerAD(t, v)
	}
	strangerProofs(t, read[proofFile](t, "resume-proof.json"))
}

func TestStrangersComputeTheSameKeyEpochVectors(t *testing.T) {
	v := read[rekeyFile](t, "rekey.json")
	for e := 1; e < len(v.Keys); e++ {
		equal(t, "the next key", strangerRekey(t, v.Keys[e-1]), v.Keys[e], nil)
	}
	epochs := map[uint64]uint64{2: 0, 65_537: 0, 65_538: 1, 131_073: 1, 131_074: 2}
	for _, f := range v.Frames {
		if want, known := epochs[f.Sequence]; !known || f.Epoch != want || (f.Sequence-2)/65_536 != want {
			t.Errorf("frame %d: got epoch %d, want %d", f.Sequence, f.Epoch, want)
		}
		strangerFrame(t, v.Keys[f.Epoch], f)
		delete(epochs, f.Sequence)
	}
	if len(epochs) != 0 || len(v.Keys) != 3 {
		t.Errorf("got %d keys and no frames %v, want 3 keys and all frames", len(v.Keys), epochs)
	}
}

func TestStrangersSpeakWithTheSessionsOfTheVectors(t *testing.T) {
	for _, name := range []string{"handshake-ik.json", "handshake-ikpsk2.json"} {
		t.Run(name, func(t *testing.T) {
			v := read[handshakeFile](t, name)
			strangerPrologue(t, v.prologueVector)
			if got := plainSessionID(v.BindKey); got != v.Session {
				t.Errorf("session id: got %s, want %s", got, v.Session)
			}
			c, d := v.Client, v.Daemon
			client := newPlainHandshake(t, true, v.Prologue, c.StaticPrivate, c.EphemeralPrivate, d.StaticPublic, v.PSK)
			daemon := newPlainHandshake(t, false, v.Prologue, d.StaticPrivate, d.EphemeralPrivate, nil, v.PSK)

			equal(t, "message 1", client.message1(v.Init.Payload), v.Init.Message, nil)
			equal(t, "payload 1", daemon.readMessage1(v.Init.Message), v.Init.Payload, nil)
			equal(t, "the client's key", daemon.rs.Bytes(), c.StaticPublic, nil)
			equal(t, "message 2", daemon.message2(v.Respond.Payload), v.Respond.Message, nil)
			equal(t, "payload 2", client.readMessage2(v.Respond.Message), v.Respond.Payload, nil)
			equal(t, "handshake hash", client.h, v.HandshakeHash, nil)
			for side, p := range map[string]*plainHandshake{"client": client, "daemon": daemon} {
				up, down := p.sendKey, p.readKey
				if side == "daemon" {
					up, down = down, up
				}
				equal(t, side+"'s key up", up, v.UpKey, nil)
				equal(t, side+"'s key down", down, v.DownKey, nil)
			}
			if !bytes.Contains(v.Respond.Payload, v.ResumeSecret) {
				t.Error("payload 2: got no resume secret in it")
			}
			next := map[string]uint64{"up": 2, "down": 2}
			for _, f := range v.Frames {
				if f.Sequence != next[f.Direction] {
					t.Errorf("%s: got frame %d, want %d", f.Direction, f.Sequence, next[f.Direction])
				}
				next[f.Direction]++
				strangerFrame(t, map[string]hexBytes{"up": v.UpKey, "down": v.DownKey}[f.Direction], f)
			}
			strangerProofs(t, v.proofFile)
		})
	}
}

func strangerPrologue(t *testing.T, v prologueVector) {
	t.Helper()
	var want []byte
	for _, s := range []string{"viewport-relay/1", v.Workspace, v.Target, v.Session} {
		want = append(want, byte(len(s)>>8), byte(len(s)))
		want = append(want, s...)
	}
	equal(t, "prologue", want, v.Prologue, nil)
}

func strangerAD(t *testing.T, f frameHeader) {
	t.Helper()
	var want bytes.Buffer
	for _, field := range []any{uint8(f.Type), uint8(f.Encoding), f.Sequence, f.Seconds, f.Nanos} {
		if err := binary.Write(&want, binary.BigEndian, field); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "associated data", want.Bytes(), f.AD, nil)
}

func strangerFrame(t *testing.T, key []byte, f frameVector) {
	t.Helper()
	strangerAD(t, f.frameHeader)
	equal(t, "nonce", plainNonce(f.Sequence-2), f.Nonce, nil)
	equal(t, "frame", plainGCM(t, key).Seal(nil, f.Nonce, f.Plaintext, f.AD), f.Ciphertext, nil)
}

func strangerRekey(t *testing.T, key []byte) []byte {
	t.Helper()
	nonce := append(make([]byte, 4), bytes.Repeat([]byte{0xff}, 8)...)
	return plainGCM(t, key).Seal(nil, nonce, make([]byte, 32), nil)[:32]
}

func strangerProofs(t *testing.T, v proofFile) {
	t.Helper()
	keys := map[string][]byte{}
	for _, role := range []string{"client", "daemon"} {
		key, err := hkdf.Key(sha256.New, v.ResumeSecret, v.HandshakeHash, role, 32)
		if err != nil {
			t.Fatal(err)
		}
		keys[role] = key
	}
	equal(t, "the client's resume key", keys["client"], v.ClientKey, nil)
	equal(t, "the daemon's resume key", keys["daemon"], v.DaemonKey, nil)
	var types strings.Builder
	for _, p := range v.Proofs {
		mac := hmac.New(sha256.New, keys[p.Role])
		mac.Write([]byte("viewport-relay/1 resume"))
		mac.Write([]byte{byte(p.Type), byte(len(p.Session) >> 8), byte(len(p.Session))})
		mac.Write([]byte(p.Session))
		for _, n := range []uint64{p.First, p.Ack, p.Consumed, p.Attempt} {
			mac.Write(binary.BigEndian.AppendUint64(nil, n))
		}
		mac.Write([]byte{byte(len(p.Code) >> 8), byte(len(p.Code))})
		mac.Write([]byte(p.Code))
		equal(t, "proof", mac.Sum(nil), p.Proof, nil)
		types.WriteString(p.Type.String())
	}
	for _, want := range []string{"RESUME", "RESUMED", "RESET"} {
		if !strings.Contains(types.String(), want) {
			t.Errorf("proofs: got none of %s", want)
		}
	}
}
