package envelope

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
)

func TestASessionIDBelongsToItsBindKeyAlone(t *testing.T) {
	for range 200 {
		key := make([]byte, 16)
		_, _ = rand.Read(key)
		id := SessionID(key)
		sum := sha256.Sum256(key)
		if want := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:16]))[:26]; id != want {
			t.Fatalf("got %s, want %s", id, want)
		}
		if !ValidSessionID([]byte(id)) || !OwnsSession(key, []byte(id)) {
			t.Fatalf("%s of %x: got not valid or not owned, want both", id, key)
		}
		other := append([]byte{key[0] ^ 1}, key[1:]...)
		if OwnsSession(other, []byte(id)) || OwnsSession(key[:15], []byte(id)) || OwnsSession(key, []byte(id[:25])) ||
			OwnsSession(nil, nil) {
			t.Fatalf("%s: owned by another key", id)
		}
	}
}

func TestASessionHasOneID(t *testing.T) {
	spare := 0
	for _, c := range sessionAlphabet {
		if ValidSessionID([]byte(testSession[:25] + string(c))) {
			spare++
		}
	}
	if spare != 8 { // of 32, since two bits are zero
		t.Errorf("last characters: got %d, want 8", spare)
	}
	for _, id := range []string{"", testSession[:25], testSession + "a", strings.ToUpper(testSession),
		"0" + testSession[1:], "8" + testSession[1:], testSession[:25] + "=", testSession[:24] + "é"} {
		if ValidSessionID([]byte(id)) {
			t.Errorf("%q: got valid, want not", id)
		}
	}
}

func TestOnlyHandshakeDataAndCloseAreSequenced(t *testing.T) {
	for n := range relayv1.FrameType(40) {
		if got, want := Sequenced(n), n >= 1 && n <= 4; got != want {
			t.Errorf("%v: got %v, want %v", n, got, want)
		}
	}
}

func TestAStatusArrivesAsItWasSent(t *testing.T) {
	for _, want := range []Status{
		{},
		{Code: reason.SequenceGap, Expected: 1<<63 - 1},
		{Code: reason.Draining, Message: "wait", Retryable: true, RetryAfter: 90*time.Second + 1},
		{RetryAfter: 1<<63 - 1e9},
	} {
		var batch relayv1.EnvelopeBatch
		b := AppendStatus(nil, "ws", "target", testSession, want)
		if err := proto.Unmarshal(b, &batch); err != nil {
			t.Fatal(err)
		}
		e := batch.Envelopes[0]
		if e.Type != relayv1.FrameType_FRAME_TYPE_STATUS || e.WorkspaceId != "ws" || e.RuntimeTargetId != "target" ||
			e.SessionId != testSession || e.Status == nil {
			t.Errorf("got %v", e)
		}
		var in Batch
		in.Load(b)
		if err := in.Split(testLimits); err != nil {
			t.Fatal(err)
		}
		if d := differs(&in.Frames()[0].Header, nil, e); d != "" {
			t.Error(d)
		}
		if got, err := DecodeStatus(in.Frames()[0].Header.Status); got != want || err != nil {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestAStatusThatIsTooLongIsCutSoThatItArrives(t *testing.T) {
	s := Status{
		Code: reason.Code(strings.Repeat("C", 65)), Message: strings.Repeat("m", 511) + "é", RetryAfter: -1,
	}
	got, err := DecodeStatus(s.Append(nil))
	want := Status{Code: s.Code[:64], Message: s.Message[:511]}
	if got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	got, err = DecodeStatus(Status{Code: "A\xff", Message: "\xff"}.Append(nil))
	if got != (Status{}) || err != nil {
		t.Errorf("got %+v, %v, want an empty status", got, err)
	}
	if _, err := DecodeStatus([]byte{0x0a}); reason.Of(err).Code != reason.FrameInvalid {
		t.Errorf("got %v, want %s", err, reason.FrameInvalid)
	}
}

func TestARetryAfterThatIsNoDurationCountsAsAbsent(t *testing.T) {
	for _, d := range []string{"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x10\x80\x94\xeb\xdc\x03"} {
		if s, err := DecodeStatus(value(5, d)); err != nil || s.RetryAfter != 0 {
			t.Errorf("%x: got %v, %v, want 0", d, s.RetryAfter, err)
		}
	}
}

func TestAHeartbeatAsksForOneOnlyWithProbe(t *testing.T) {
	for _, probe := range []bool{false, true} {
		var batch relayv1.EnvelopeBatch
		b := AppendHeartbeat(nil, "ws", "target", probe)
		if err := proto.Unmarshal(b, &batch); err != nil {
			t.Fatal(err)
		}
		e := batch.Envelopes[0]
		if e.Type != relayv1.FrameType_FRAME_TYPE_HEARTBEAT || (e.Status.GetCode() == string(reason.Probe)) != probe {
			t.Errorf("probe %v: got %v", probe, e)
		}
		checkPasses(t, b)
	}
}
