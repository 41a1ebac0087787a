package hostilepath_test

import (
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestHeartbeatsKeepASilentSessionFromBeingCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, often)
	paths := []*path{newPath(t, w.Addr), newPath(t, w.Addr)}
	k := w.couple(t, "silent", paths[0], paths[1]).talk()
	k.exchange(5)
	for _, p := range paths {
		p.cutSilent(http2.ErrCodeNo) // begins the first period
	}
	for range 5 {
		for _, p := range paths {
			before := p.counts().data
			p.await("a heartbeat each way", func(n counts) bool { return more(before, n.data, 1) })
			p.cutSilent(http2.ErrCodeNo)
		}
	}
	k.exchange(5)
	k.finish()
	for _, p := range paths {
		if n := p.counts(); n.cut != 0 {
			t.Errorf("got %+v, want nothing cut", n)
		}
	}
}

func TestWithoutHeartbeatsASilentSessionIsCutAgainAndAgainAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	paths := []*path{newPath(t, w.Addr), newPath(t, w.Addr)}
	k := w.couple(t, "cut", paths[0], paths[1]).talk()
	k.exchange(5)
	for round := range 3 {
		for _, p := range paths {
			stop := p.cutSilentEvery(10*time.Millisecond, http2.ErrCodeInternal)
			p.await("the stream is cut", func(n counts) bool { return n.cut > round })
			k.allow(5) // while it cuts on
			stop()
		}
		k.arrive()
	}
	k.finish()
}

func TestWhateverCodeAStreamIsCutWithTheSessionGoesOn(t *testing.T) {
	w := newWorld(t, seldom)
	for code := http2.ErrCodeNo; code <= http2.ErrCodeHTTP11Required; code++ {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			client, daemon := newPath(t, w.Addr), newPath(t, w.Addr)
			k := w.couple(t, code.String(), daemon, client).talk()
			k.exchange(3)
			for _, p := range []*path{client, daemon} {
				p.cutSilent(code)
				p.cutSilent(code)
				k.exchange(3)
			}
			k.finish()
			for _, p := range []*path{client, daemon} {
				if n := p.counts(); n.cut != 1 || n.streams != 2 {
					t.Errorf("got %+v, want one stream cut, and one more after it", n)
				}
			}
		})
	}
}
