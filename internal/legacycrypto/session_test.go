package legacycrypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestEveryFieldOfAnEnvelopeThatIsChangedIsRefusedAndTheGenuineOneStillOpens(t *testing.T) {
	for _, p := range profiles {
		client, daemon := sessions(t, p)
		opens(t, daemon, seal(t, client, "one"), "one")
		frame := seal(t, client, "two")
		other := NoiseIKpsk2
		if p == NoiseIKpsk2 {
			other = NoiseIK
		}
		for _, c := range []struct {
			field string
			value any
			want  error
		}{
			{"profile", other, ErrProfile},
			{"sessionId", "rs_000000000000000000000000", ErrSession},
			{"epoch", 2, ErrEpoch},
			{"seq", 1, ErrReplay},
			{"seq", 3, ErrDecrypt},
			{"seq", 1000, ErrDecrypt},
			{"seq", MaxMessages, ErrDecrypt},
			{"seq", MaxMessages + 1, ErrExhausted},
			{"seq", uint64(maxNumber), ErrExhausted},
			{"iv", flip(t, frame, "iv", 0), ErrDecrypt},
			{"iv", flip(t, frame, "iv", 11), ErrDecrypt},
			{"tag", flip(t, frame, "tag", 15), ErrDecrypt},
			{"ciphertext", flip(t, frame, "ciphertext", 2), ErrDecrypt},
			{"ciphertext", "AAAA", ErrDecrypt},
		} {
			t.Run(fmt.Sprintf("%s/%s=%v", p, c.field, c.value), func(t *testing.T) {
				refuses(t, daemon, set(t, frame, c.field, c.value), c.want)
			})
		}
		for _, c := range []struct {
			field string
			value any
			want  error
		}{
			{"type", "E2EE", ErrOtherType},
			{"version", 1, ErrVersion},
			{"profile", "none", ErrFrame},
			{"sessionId", "", ErrFrame},
			{"epoch", 0, ErrFrame},
			{"epoch", -1, ErrFrame},
			{"seq", 0, ErrFrame},
			{"seq", 2.5, ErrFrame},
			{"seq", uint64(maxNumber + 1), ErrFrame},
			{"iv", "AAAAAAAAAAAAAAA", ErrFrame},    // 11 bytes
			{"iv", "AAAAAAAAAAAAAAAAAA", ErrFrame}, // 13 bytes
			{"tag", "AAAAAA", ErrFrame},            // 4 bytes, which today's daemons take
			{"tag", nil, ErrFrame},
			{"ciphertext", "", ErrFrame},
			{"ciphertext", 5, ErrFrame},
		} {
			_, err := Parse(set(t, frame, c.field, c.value))
			wants(t, fmt.Sprintf("%s=%v", c.field, c.value), err, c.want)
		}
		opens(t, daemon, frame, "two")
	}
}

func TestAnEnvelopeThatComesAgainOrTooLateIsRefused(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	one, two, three := seal(t, client, "one"), seal(t, client, "two"), seal(t, client, "three")
	opens(t, daemon, one, "one")
	refuses(t, daemon, one, ErrReplay)
	opens(t, daemon, three, "three")
	refuses(t, daemon, two, ErrReplay)
	refuses(t, daemon, three, ErrReplay)
	refuses(t, daemon, one, ErrReplay)
	opens(t, daemon, seal(t, client, "four"), "four")
}

func TestWhatIsLostOnTheWayIsCountedAndNothingElse(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	for range 3 {
		seal(t, client, "lost")
	}
	opens(t, daemon, seal(t, client, "here"), "here")
	seal(t, client, "lost")
	opens(t, daemon, seal(t, client, "here"), "here")
	if got := daemon.Missed(); got != 4 {
		t.Errorf("missed: got %d, want 4", got)
	}
	if got := client.Missed(); got != 0 {
		t.Errorf("the sender's: got %d missed, want 0", got)
	}
}

func TestForgedSequencesShutNobodyOut(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	frame := seal(t, client, "genuine")
	for _, seq := range []int{1000, 2000, MaxMessages} {
		refuses(t, daemon, set(t, frame, "seq", seq), ErrDecrypt)
	}
	opens(t, daemon, frame, "genuine")
}

func TestAnEndpointRefusesItsOwnEnvelopesHoweverOldTheyAre(t *testing.T) {
	for _, side := range []role{clientSide, daemonSide} {
		own, peer := sessions(t, NoiseIK)
		if own.role != side {
			own, peer = peer, own
		}
		var sent [][]byte
		for i := range 2000 {
			sent = append(sent, seal(t, own, fmt.Sprint("message ", i)))
		}
		for _, frame := range sent {
			refuses(t, own, frame, ErrReflected)
		}
		// The peer's envelopes with the same sequences are no reflection.
		opens(t, own, seal(t, peer, "genuine"), "genuine")
		refuses(t, own, sent[0], ErrReplay)
		refuses(t, own, sent[1], ErrReflected)
		opens(t, peer, sent[0], "message 0")
	}
}

func TestAReflectionCantBeDisguised(t *testing.T) {
	client, _ := sessions(t, NoiseIK)
	frame := seal(t, client, "mine")
	for n := range ivSize {
		refuses(t, client, set(t, frame, "iv", flip(t, frame, "iv", n)), ErrDecrypt)
	}
	refuses(t, client, set(t, frame, "seq", 2), ErrDecrypt)
}

func TestNoIVComesTwiceEvenWithoutRandomness(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	daemon.random = zeros{} // broken
	seen := map[string]bool{}
	for range 5000 {
		for _, s := range []*Session{client, daemon} {
			iv := fieldsOf(t, seal(t, s, "x"))["iv"].(string)
			if seen[iv] {
				t.Fatalf("iv %s: got it a second time", iv)
			}
			seen[iv] = true
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestAMessageIsTextOfOneByteToAMebibyte(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	for name, c := range map[string]struct {
		plaintext []byte
		want      error
	}{
		"none": {nil, ErrPlaintext}, "empty": {[]byte{}, ErrPlaintext},
		"not UTF-8": {[]byte("\xff\xfe"), ErrPlaintext}, "too long": {make([]byte, MaxPlaintext+1), ErrTooLong},
	} {
		_, err := client.Seal(c.plaintext)
		wants(t, name, err, c.want)
	}
	longest := strings.Repeat("é", MaxPlaintext/2)
	frame := seal(t, client, longest)
	if len(frame) > MaxFrame {
		t.Errorf("the longest message: got a frame of %d bytes, want at most %d", len(frame), MaxFrame)
	}
	if e := parse[*Envelope](t, frame); e.Seq != 1 {
		t.Errorf("after refusals: got sequence %d, want 1", e.Seq)
	}
	opens(t, daemon, frame, longest)
	_, err := daemon.Open(&Envelope{Profile: NoiseIK, SessionID: daemon.ID(), Epoch: 1, Seq: 9})
	wants(t, "an empty envelope", err, ErrPlaintext)
}

func TestASealThatFailsUsesNoSequenceUp(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	good := client.random
	client.random = iotestErr{}
	_, err := client.Seal([]byte("x"))
	wants(t, "no randomness", err, ErrRandom)
	client.random = good
	opens(t, daemon, seal(t, client, "x"), "x")
	if daemon.Missed() != 0 {
		t.Errorf("got %d missed, want 0", daemon.Missed())
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestASessionEndsLongBeforeItsKeyIsWornOut(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	client.sent = MaxMessages - 1
	last := seal(t, client, "last")
	_, err := client.Seal([]byte("one more"))
	wants(t, "sealing one more", err, ErrExhausted)
	opens(t, daemon, last, "last")

	// A peer that does not keep to it is not followed.
	iv, err := client.nextIV(MaxMessages + 1)
	if err != nil {
		t.Fatal(err)
	}
	sealed := client.aead.Seal(nil, iv[:], []byte("x"), client.associatedData(MaxMessages+1))
	refuses(t, daemon, client.frame(MaxMessages+1, iv[:], sealed), ErrExhausted)
	if 2*MaxMessages > 1<<30 {
		t.Errorf("both directions: got %d uses of a key, want at most a quarter of 2^32", 2*MaxMessages)
	}
}

func TestAnEnvelopeHasTheOrderAndFormOfTodays(t *testing.T) {
	client, _ := sessions(t, NoiseIK)
	frame := seal(t, client, "x")
	f := fieldsOf(t, frame)
	want := fmt.Sprintf(`{"type":"e2ee","version":2,"profile":"noise-ik","sessionId":%q,"epoch":1,"seq":1,`+
		`"iv":%q,"tag":%q,"ciphertext":%q}`, client.ID(), f["iv"], f["tag"], f["ciphertext"])
	if string(frame) != want {
		t.Errorf("got %s, want %s", frame, want)
	}
}

func TestAFrameIsNotKeptAndNotChanged(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	frame := seal(t, client, "plaintext")
	received := bytes.Clone(frame)
	e := parse[*Envelope](t, received)
	clear(received)
	ciphertext := bytes.Clone(e.Ciphertext)
	got, err := daemon.Open(e)
	if err != nil || string(got) != "plaintext" {
		t.Fatalf("after the caller reused the text: got %q, %v", got, err)
	}
	if !bytes.Equal(e.Ciphertext, ciphertext) {
		t.Error("got the envelope changed by Open")
	}
}

func TestASessionThatIsOverSealsAndOpensNothing(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	frame := seal(t, client, "x")
	daemon.Wipe()
	daemon.Wipe()
	refuses(t, daemon, frame, ErrEnded)
	_, err := daemon.Seal([]byte("x"))
	wants(t, "sealing", err, ErrEnded)
	if _, due := daemon.AskRekey(); due {
		t.Error("got a call for a new key")
	}
	client.Wipe()
	if err := client.ReadKeyUpdate(&KeyUpdate{client.ID(), 2}); !errors.Is(err, ErrEnded) {
		t.Errorf("a call for a new key: got %v", err)
	}
}
