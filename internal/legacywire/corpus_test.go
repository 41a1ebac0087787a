package legacywire

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// corpusFrame is a frame of testdata/frames.txt and what becomes of it.
type corpusFrame struct {
	name, want string
	verdicts   []string
	text       []byte
}

func corpus(t testing.TB) []corpusFrame {
	t.Helper()
	data, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	var frames []corpusFrame
	for block := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n\n") {
		if strings.HasPrefix(block, "# ") {
			continue
		}
		lines := strings.Split(block, "\n  ")
		if len(lines) != 4 {
			t.Fatalf("not a name and three lines: %q", block)
		}
		c := corpusFrame{lines[0], lines[1], strings.Split(lines[2], " | "), []byte(lines[3])}
		if quoted, ok := strings.CutPrefix(lines[3], "go:"); ok {
			s, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			c.text = []byte(s)
		}
		frames = append(frames, c)
	}
	return frames
}

// describe is what routing reads in f, and why there is nothing, as the corpus has it.
func describe(f Frame, err error) string {
	if err == ErrNotUTF8 {
		return "not UTF-8"
	}
	out := f.Kind.String()
	add := func(there bool, format string, args ...any) {
		if there {
			if !strings.Contains(out, " | ") {
				out += " |"
			}
			out += " " + fmt.Sprintf(format, args...)
		}
	}
	add(f.Version != 0, "version=%d", f.Version)
	add(f.Profile != NoProfile, "profile=%s", [...]string{"", "noise-ik", "noise-ikpsk2"}[f.Profile])
	add(f.RequestID != nil, "requestId=%q", f.RequestID)
	add(f.Channel != nil, "channel=%q", f.Channel)
	add(f.UserID != nil, "userId=%q", f.UserID)
	add(f.SessionID != nil, "sessionId=%q", f.SessionID)
	add(f.PreviousSessionID != nil, "previousSessionId=%q", f.PreviousSessionID)
	add(f.Epoch != 0, "epoch=%d", f.Epoch)
	add(f.Seq != 0, "seq=%d", f.Seq)
	add(f.NextEpoch != 0, "nextEpoch=%d", f.NextEpoch)
	add(f.AfterSequence != 0, "afterSequence=%d", f.AfterSequence)
	add(f.Action != NoAction, "action=%s", [...]string{"", "joined", "left", "heartbeat"}[f.Action])
	add(f.OK, "ok")
	if r := f.Worker; r != nil {
		add(true, "method=%q path=%q", r.Method, r.Path)
		var headers []string
		for _, h := range r.Headers {
			headers = append(headers, fmt.Sprintf("%s=%q", h.Name, h.Value))
		}
		add(headers != nil, "headers=[%s]", strings.Join(headers, " "))
		add(r.BadHeader, "bad-header")
		add(len(r.Body) != 0, "body=%q", r.Body)
	}
	return out
}

func (v Verdict) describe() string {
	switch v.Action {
	case Reply:
		return "reply " + string(v.Reply)
	case Close:
		return "close " + v.Close
	}
	return map[Action]string{Pass: "pass", Drop: "drop", Unroutable: "unroutable"}[v.Action]
}

func TestEveryFrameOfTheCorpusGetsTheVerdictOfToday(t *testing.T) {
	frames := corpus(t)
	if len(frames) < 500 {
		t.Fatalf("got %d frames, want all", len(frames))
	}
	for _, c := range frames {
		f, err := Parse(c.text)
		if got := describe(f, err); got != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.name, got, err, c.want)
			continue
		}
		if (err == nil) != (f.Kind != Invalid) {
			t.Errorf("%s: got the error %v with a frame of kind %s", c.name, err, f.Kind)
		}
		if err == ErrNotUTF8 {
			continue // the connection is closed, whoever it is
		}
		for i, sender := range []struct {
			role  Role
			scope Scope
		}{{Client, Runtime}, {Client, Pairing}, {Client, SessionEvents}, {Daemon, 0}, {Worker, 0}} {
			if got := Allowed(sender.role, sender.scope, f.Kind).describe(); got != c.verdicts[i] {
				t.Errorf("%s: from %v %v: got %s, want %s", c.name, sender.role, sender.scope, got, c.verdicts[i])
			}
		}
	}
}
