package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/tap"
)

func TestTheJSONLineHasTheDocumentedMembers(t *testing.T) {
	line, err := json.Marshal(ready{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"relay":"","admin":"","platform":"","jwks":"","workspace":"","target":"","daemon_token":"",` +
		`"client_token":"","admin_token":"","pairing":""}`
	if string(line) != want {
		t.Errorf("got %s, want %s", line, want)
	}
}

func TestAPeerReportsWhatItSentAndWhatItReceived(t *testing.T) {
	const size = 3*pushBlock + 1234
	for _, received := range []int{0, size - 1, size, size + 10} {
		testPeer(t, size, bytes.Repeat([]byte{'x'}, received))
	}
}

func testPeer(t *testing.T, size int64, input []byte) {
	t.Helper()
	var stdout bytes.Buffer
	if err := (&peerCommand{Bytes: size, Seed: "s"}).run(bytes.NewReader(input), &stdout); err != nil {
		t.Fatal(err)
	}
	var got pushReport
	if err := json.Unmarshal(stdout.Bytes()[size:], &got); err != nil {
		t.Fatalf("the report: %v", err)
	}
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	if b := stdout.Bytes()[size]; b != pushArrived {
		t.Errorf("behind the bytes: got %q, want %q", b, pushArrived)
	}
	want := pushReport{
		Sent: size, SentSHA256: sum(stdout.Bytes()[:size]), Received: int64(len(input)), ReceivedSHA256: sum(input),
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatIsPushedHasAMarkInEachBlockAndIsTheSameEachTime(t *testing.T) {
	read := func(seed, direction string) []byte {
		b, err := io.ReadAll(newPushed(seed, direction, 10*pushBlock))
		if err != nil || len(b) != 10*pushBlock {
			t.Fatalf("got %d bytes, %v; want %d", len(b), err, 10*pushBlock)
		}
		return b
	}
	up := read("s", pushUp)
	if got := bytes.Count(up, pushMark("s", pushUp)); got != 10 {
		t.Errorf("got %d marks, want 10", got)
	}
	if !bytes.Equal(up, read("s", pushUp)) {
		t.Error("the same seed gives other bytes")
	}
	if bytes.Equal(up, read("s", pushDown)) || bytes.Equal(up, read("t", pushUp)) {
		t.Error("another direction or seed gives the same bytes")
	}
}

func TestTheVerdictFailsWhenSomethingIsFoundAndWhenTheSearchIsBlind(t *testing.T) {
	names := []string{"what was typed"}
	marks, err := tap.NewMarks(tap.Mark{Name: names[0], Bytes: []byte("typed-0123456789")})
	if err != nil {
		t.Fatal(err)
	}
	seen, blind := marks.NewSearch(), marks.NewSearch()
	_, _ = seen.Write([]byte("at the end: typed-0123456789"))
	target := tap.Finding{Mark: targetMark, Form: "raw", Count: 3}
	leak := tap.Finding{Mark: names[0], Form: "base64", Count: 1, First: 77}
	link := func(found ...tap.Finding) []tap.Result {
		return []tap.Result{{Link: "client", Direction: tap.ToRelay, Bytes: 100, Findings: found}}
	}
	for name, c := range map[string]struct {
		links   []tap.Result
		control *tap.Search
		want    string // "" for no error
	}{
		"all is well":                    {link(target), seen, ""},
		"plaintext on a link":            {link(target, leak), seen, "what was typed (base64) 1 times, first at byte 77"},
		"no target on a link":            {link(), seen, "the target's id is not in the 100 bytes"},
		"a mark unseen in the plaintext": {link(target), blind, "did not find what was typed"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := judge(c.links, []*tap.Search{c.control}, names)
			switch {
			case c.want == "" && (err != nil || s != summary{100, 3}):
				t.Errorf("got %+v, %v; want 100 bytes, 3 targets and no error", s, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAShellReadsAWordBackAsItWas(t *testing.T) {
	for _, word := range []string{"plain-1.2/3:4", "", "two words", "it's", `"$HOME" \ ;&|*`, "a\nb", "~x"} {
		got, err := exec.Command("sh", "-c", "printf %s "+shellWord(word)).Output()
		if err != nil || string(got) != word {
			t.Errorf("%q: got %q, %v", word, got, err)
		}
	}
}

func TestADaemonsLogIsWatchedHoweverItIsCut(t *testing.T) {
	const log = "level=INFO msg=\"attached to the relay\"\nlevel=INFO msg=attached target=x\nmore"
	for cut := range len(log) {
		var to bytes.Buffer
		w := &watch{to: &to, line: []byte("msg=attached "), seen: make(chan struct{})}
		_, _ = w.Write([]byte(log[:cut]))
		_, _ = w.Write([]byte(log[cut:]))
		select {
		case <-w.seen:
		default:
			t.Errorf("cut at %d: the line was not seen", cut)
		}
		if to.String() != log {
			t.Errorf("cut at %d: got %q passed on, want all of it", cut, to.String())
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	got := []string{thousands(0), thousands(999), thousands(1000), thousands(1234567)}
	if want := []string{"0", "999", "1,000", "1,234,567"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
