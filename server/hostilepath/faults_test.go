package hostilepath_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// fault is something that happens to a path while sessions run over it.
type fault struct {
	name string
	on   func(*path)
	// bites says whether the fault has done something to the path, given what it had seen before.
	bites func(before, now counts) bool
	// during, if set, is done while it bites.
	during func(*path)
	off    func(*path)
}

// more reports whether both directions' counters grew by n.
func more(before, now [2]int, n int) bool {
	return now[up] >= before[up]+n && now[down] >= before[down]+n
}

// theFaults is every fault that a path has.
func theFaults() []fault {
	heal := (*path).heal
	set := func(change func(*faults)) func(*path) { return func(p *path) { p.set(change) } }
	hold := func(p *path) { p.setExisting(func(f *faults) { f.hold = [2]bool{true, true} }) }
	waits := func(b, n counts) bool { return n.held[up] > b.held[up]+10_000 }
	again := func(before, now counts) bool { return now.streams > before.streams }
	return []fault{
		{name: "answers PINGs itself", on: set(func(f *faults) { f.pings = answered }), off: heal,
			bites: func(b, n counts) bool { return n.pings > b.pings }},
		{name: "swallows PINGs", on: set(func(f *faults) { f.pings = swallowed }), off: heal,
			bites: func(b, n counts) bool { return n.pings > b.pings }},
		{name: "writes byte by byte", on: set(func(f *faults) { f.trickle = true }), off: heal,
			bites: func(b, n counts) bool { return more(b.bytes, n.bytes, 5_000) }},
		{name: "delays", on: set(func(f *faults) { f.delay = 5 * time.Millisecond }), off: heal,
			bites: func(b, n counts) bool { return more(b.data, n.data, 10) }},
		{name: "buffers", on: set(func(f *faults) { f.buffer = 48 << 10 }), off: heal,
			bites: func(b, n counts) bool { return more(b.held, n.held, 1) },
			during: func(p *path) {
				for range 5 {
					p.flush()
					p.await("the next bytes wait", func(n counts) bool { return n.held[up] > 0 || n.held[down] > 0 })
				}
			}},
		{name: "is a black hole upwards", on: set(func(f *faults) { f.hold[up] = true }), off: heal, bites: waits},
		{name: "is a black hole downwards", on: set(func(f *faults) { f.hold[down] = true }), off: heal,
			bites: func(b, n counts) bool { return n.held[down] > b.held[down]+10_000 }},
		{name: "is a black hole", on: set(func(f *faults) { f.hold = [2]bool{true, true} }), off: heal,
			bites: waits},
		{name: "sends GOAWAY after every stream and closes", off: heal,
			on: func(p *path) {
				p.set(func(f *faults) { f.goAway = 1 })
			},
			bites: func(b, n counts) bool { return n.goAways > b.goAways },
			during: func(p *path) {
				before := p.counts()
				p.cut() // what a terminator does that was told to reload, at the end of its patience
				p.await("the next stream, which gets GOAWAY at once", func(n counts) bool {
					return n.goAways > before.goAways && again(before, n)
				})
			}},
		{name: "swallows upwards", on: func(p *path) {
			p.setExisting(func(f *faults) { f.swallow[up] = true })
		}, off: heal, bites: func(b, n counts) bool { return n.lost[up] > b.lost[up] }},
		{name: "swallows downwards", on: func(p *path) {
			p.setExisting(func(f *faults) { f.swallow[down] = true })
		}, off: heal, bites: func(b, n counts) bool { return n.lost[down] > b.lost[down] }},
		{name: "cuts with RST what is under way", on: hold, off: heal, bites: waits, during: func(p *path) {
			before := p.counts()
			p.cut()
			p.await("the endpoint comes back", func(n counts) bool { return again(before, n) })
		}},
		{name: "forgets the endpoint's connection, but not the relay's", on: hold, off: heal, bites: waits,
			during: func(p *path) {
				before := p.counts()
				p.abandon()
				p.await("the endpoint comes back", func(n counts) bool { return again(before, n) })
			}},
		{name: "cuts a silent stream and what it holds of it", off: heal,
			on: func(p *path) {
				p.setExisting(func(f *faults) { f.swallow = [2]bool{true, true} })
			},
			bites: func(b, n counts) bool { return n.lost[up] > b.lost[up] },
			during: func(p *path) {
				before := p.counts()
				p.cutSilent(http2.ErrCodeNo)
				p.cutSilent(http2.ErrCodeNo)
				p.await("the endpoint comes back", func(n counts) bool { return again(before, n) })
			}},
	}
}

// places are the paths that a fault may be on.
var places = map[string]struct{ daemon, client bool }{
	"the daemon's path": {daemon: true}, "the client's path": {client: true}, "both": {true, true},
}

func TestASessionSurvivesWhateverAPathDoesToItAndOthersNoticeNothing(t *testing.T) {
	w := newWorld(t, seldom)
	for i, f := range theFaults() {
		for where, on := range places {
			t.Run(fmt.Sprintf("%s %s", where, f.name), func(t *testing.T) {
				t.Parallel()
				paths := [2]*path{w.clean, w.clean} // the client's, the daemon's
				var faulty []*path
				if on.client {
					paths[0] = newPath(t, w.Addr)
					faulty = append(faulty, paths[0])
				}
				if on.daemon {
					paths[1] = newPath(t, w.Addr)
					faulty = append(faulty, paths[1])
				}
				name := fmt.Sprintf("t%d-%t-%t", i, on.daemon, on.client)
				c := w.couple(t, name, paths[1], paths[0])
				k := c.talk()
				k.exchange(5)
				witness := w.witness(t, c, on.daemon)
				undisturbed := witness.watch()

				before := make([]counts, len(faulty))
				for n, p := range faulty {
					before[n] = p.counts()
					f.on(p)
				}
				k.allow(25)
				for n, p := range faulty {
					p.await("the fault bites", func(now counts) bool { return f.bites(before[n], now) })
				}
				if f.during != nil {
					for _, p := range faulty {
						f.during(p)
					}
				}
				k.lives()
				witness.exchange(5)
				for _, p := range faulty {
					f.off(p)
				}
				k.arrive()
				k.exchange(5)
				k.finish()
				undisturbed()
				witness.finish()
			})
		}
	}
}

// witness is another session, over the clean path: of the same daemon, or where that has a fault of another one.
func (w *world) witness(t *testing.T, c *couple, another bool) *talk {
	t.Helper()
	var k *talk
	if another {
		k = w.couple(t, c.ends.Target+"-witness", w.clean, w.clean).talk()
	} else {
		k = c.talkBy(w.dial(t, c.ends, w.clean, nil))
	}
	k.exchange(5)
	return k
}
