package ledger

import (
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

// sent returns n blocks and the end behind them; block i is wanted i seconds after start.
func sent(n int) (blocks [][]byte, end []byte, s Sent) {
	w := NewWriter("seed", "a")
	for i := range n {
		blocks = append(blocks, w.Block(MinBlock+i, start.Add(time.Duration(i)*time.Second)))
	}
	return blocks, w.End(start.Add(time.Duration(n) * time.Second)), w.Sent()
}

// received is the tally of messages, each of which came a second after the one before.
func received(messages ...[]byte) Tally {
	r := NewReader("seed", "a")
	for i, m := range messages {
		r.Take(m, start.Add(time.Duration(i+1)*time.Second))
	}
	return r.Tally()
}

func TestWhatWasLostDoubledReorderedDamagedOrForeignIsToldApart(t *testing.T) {
	m, last, _ := sent(6)
	aFlippedBit := slices.Clone(m[5])
	aFlippedBit[len(aFlippedBit)-1] ^= 1
	m = append(m, last, aFlippedBit, m[5][:len(m[5])-1], NewWriter("seed", "b").Block(100, start), nil, last[:len(last)-1])
	const ( // what follows the blocks 0 to 5 in m
		end = 6 + iota
		flipped
		cut
		other
		nothing
		halfAnEnd
	)
	for name, c := range map[string]struct {
		came []int // indices of m
		want Tally
	}{
		"all as sent":                {[]int{0, 1, 2, 3, 4, 5, end}, Tally{Ended: true}},
		"no end":                     {[]int{0, 1, 2, 3, 4, 5}, Tally{}},
		"the first lost":             {[]int{1, 2, 3, 4, 5, end}, Tally{Lost: 1, Ended: true}},
		"some in the middle lost":    {[]int{0, 3, 5, end}, Tally{Lost: 3, Ended: true}},
		"the last lost":              {[]int{0, 1, 2, 3, end}, Tally{Lost: 2, Ended: true}},
		"all lost":                   {[]int{end}, Tally{Lost: 6, Ended: true}},
		"doubled at once":            {[]int{0, 1, 1, 2, 3, 4, 5, end}, Tally{Doubled: 1, Ended: true}},
		"doubled later":              {[]int{0, 1, 2, 3, 4, 5, 0, end}, Tally{Doubled: 1, Ended: true}},
		"doubled behind the end":     {[]int{0, 1, 2, 3, 4, 5, end, 5}, Tally{Doubled: 1, Ended: true}},
		"two ends":                   {[]int{0, 1, 2, 3, 4, 5, end, end}, Tally{Doubled: 1, Ended: true}},
		"two changed places":         {[]int{0, 2, 1, 3, 4, 5, end}, Tally{Reordered: 1, Ended: true}},
		"three came backwards":       {[]int{2, 1, 0, 3, 4, 5, end}, Tally{Reordered: 2, Ended: true}},
		"one behind the last":        {[]int{0, 2, 3, 4, 5, 1, end}, Tally{Reordered: 1, Ended: true}},
		"reordered, doubled, lost":   {[]int{0, 3, 1, 1, 4, 5, end}, Tally{Lost: 1, Doubled: 1, Reordered: 1, Ended: true}},
		"a bit flipped":              {[]int{0, 1, 2, 3, 4, flipped, end}, Tally{Damaged: 1, Ended: true}},
		"lost and damaged":           {[]int{0, 2, 3, 4, flipped, end}, Tally{Lost: 1, Damaged: 1, Ended: true}},
		"cut short by a byte":        {[]int{0, 1, 2, 3, 4, cut, end}, Tally{Damaged: 1, Ended: true}},
		"one of another stream":      {[]int{0, 1, 2, other, 3, 4, 5, end}, Tally{Foreign: 1, Ended: true}},
		"no block at all":            {[]int{0, 1, 2, nothing, 3, 4, 5, end}, Tally{Foreign: 1, Ended: true}},
		"an end that is none":        {[]int{0, 1, 2, 3, 4, 5, halfAnEnd}, Tally{Foreign: 1}},
		"the end before its last":    {[]int{0, 1, 2, 3, 4, end, 5}, Tally{Reordered: 1, Ended: true}},
		"nothing came from anywhere": {nil, Tally{}},
	} {
		t.Run(name, func(t *testing.T) {
			var messages [][]byte
			for _, i := range c.came {
				messages = append(messages, m[i])
			}
			got := received(messages...)
			wrong := got.Wrong()
			got.Blocks, got.Bytes, got.SHA256, got.Stall = 0, 0, "", 0
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if clean := c.want.Ended && wrong == 0; got.Clean() != clean {
				t.Errorf("clean: got %v, want %v", got.Clean(), clean)
			}
		})
	}
}

func TestBothEndsCountTheSameBlocksBytesAndSum(t *testing.T) {
	blocks, end, s := sent(5)
	got := received(append(blocks, end)...)
	if got.Blocks != s.Blocks || got.Bytes != s.Bytes || got.SHA256 != s.SHA256 || s.Blocks != 5 ||
		s.Bytes != 5*MinBlock+0+1+2+3+4 {
		t.Errorf("got %+v, sent %+v", got, s)
	}
	short := received(blocks[:4]...)
	if short.SHA256 == s.SHA256 {
		t.Error("a block less has the same sum")
	}
}

func TestAStallIsTimeInWhichABlockWaitedAndNoneCame(t *testing.T) {
	w, r := NewWriter("seed", "a"), NewReader("seed", "a")
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	for _, step := range []struct{ wanted, came, longest int }{
		{0, 1, 1},
		{30, 31, 1},   // nobody wanted anything for 29 s
		{31, 36, 5},   // waited 5 s
		{32, 37, 5},   // waited 5 s, but one came a second ago
		{37, 37, 5},   // at once
		{38, 50, 12},  // waited 12 s
		{60, 59, 12},  // clocks that differ are no stall
		{61, 80, 19},  // waited 19 s
		{62, 80, 19},  // came with it
		{100, 90, 19}, // a clock that was set
	} {
		r.Take(w.Block(MinBlock, at(step.wanted)), at(step.came))
		if got := r.Tally().Stall; got != time.Duration(step.longest)*time.Second {
			t.Errorf("wanted at %d, came at %d: got %v, want %d s", step.wanted, step.came, got, step.longest)
		}
	}
}

func TestManyGapsAreCountedAsLostWithoutBeingKept(t *testing.T) {
	w, r := NewWriter("seed", "a"), NewReader("seed", "a")
	const blocks = 4 * maxGaps
	for i := range blocks {
		if b := w.Block(MinBlock, start); i%2 == 1 {
			r.Take(b, start)
		}
	}
	r.Take(w.End(start), start)
	if got := r.Tally(); got.Lost != blocks/2 || !got.Ended || len(r.gaps) != maxGaps {
		t.Errorf("got %d lost, ended %v, %d gaps kept; want %d, true, %d", got.Lost, got.Ended, len(r.gaps), blocks/2,
			maxGaps)
	}
}
