package secure

import (
	"bytes"
	"strings"
	"testing"
)

func TestNoTwoSessionsHaveTheSamePrologue(t *testing.T) {
	seen := map[string][3]string{}
	for _, names := range [][3]string{
		{"ab", "c", "d"}, {"a", "bc", "d"}, {"a", "b", "cd"}, {"abc", "", "d"}, {"", "abc", "d"}, {"", "", "abcd"},
		{"a\x00\x01b", "c", "d"}, {"a", "b\x00\x01c", "d"},
	} {
		p := string(Prologue(names[0], names[1], names[2]))
		if other, ok := seen[p]; ok {
			t.Errorf("%q and %q: got the same prologue", names, other)
		}
		seen[p] = names
	}
	defer func() {
		if recover() == nil {
			t.Error("a name of 65,536 bytes: got a prologue, want a panic")
		}
	}()
	Prologue(strings.Repeat("w", 1<<16), "", "")
}

func TestAssociatedDataIsAppended(t *testing.T) {
	ad := AssociatedData(nil, data(2))
	if len(ad) != adSize {
		t.Errorf("got %d bytes, want %d", len(ad), adSize)
	}
	if got, want := AssociatedData([]byte("ab"), data(2)), append([]byte("ab"), ad...); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
