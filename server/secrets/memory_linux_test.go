package secrets_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// memory returns what the process has in memory that it can write, without pages of zeros.
func (r *process) memory() []byte {
	r.t.Helper()
	proc := fmt.Sprintf("/proc/%d/", r.cmd.Process.Pid)
	maps, err := os.ReadFile(proc + "maps")
	if err != nil {
		r.t.Fatal(err)
	}
	mem, err := os.Open(proc + "mem")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	var all []byte
	var from, to int64
	page, zeros := make([]byte, 1<<16), make([]byte, 1<<16)
	for line := range strings.Lines(string(maps)) {
		if place, mode, _ := strings.Cut(line, " "); !strings.HasPrefix(mode, "rw") {
			continue
		} else if _, err := fmt.Sscanf(place, "%x-%x", &from, &to); err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		for at := from; at < to; at += int64(len(page)) {
			n, err := mem.ReadAt(page[:min(int64(len(page)), to-at)], at)
			if err != nil {
				r.t.Fatalf("reading %x of %q: %v", at, line, err)
			}
			if !bytes.Equal(page[:n], zeros[:n]) {
				all = append(all, page[:n]...)
			}
		}
	}
	return all
}

func TestTheMemoryOfTheProcessNeverHeldAKeyAPairingStringOrPlaintext(t *testing.T) {
	r := launch(t, startPlatform(t), nil)
	c := newCanaries(t, r.addr)
	l := c.session()
	during := r.memory()
	l.end(c)
	after := r.memory()
	var known marks
	known.addText("the workspace's id", workspace)
	for what, memory := range map[string][]byte{"the memory during the session": during, "the memory after it": after} {
		if len(known.find(memory)) == 0 {
			t.Errorf("%s, %d bytes, lacks the workspace's id: it was not searched", what, len(memory))
		}
		c.endToEnd.absent(t, what, memory)
	}
	// What nobody can promise: see doc.go.
	t.Logf("freed memory still holds %d forms of tokens and %d of people", len(c.tokens.find(after)), len(c.people.find(after)))
}
