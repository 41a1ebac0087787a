package legacyrate

import (
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	here  = netip.MustParseAddr("192.0.2.1")
)

// step is one call at a time after start, n times over.
type step struct {
	at   time.Duration
	n    int
	pass int // how many of the n
}

func run(t *testing.T, steps []step, allowed func(time.Time) bool) {
	t.Helper()
	for _, s := range steps {
		passed := 0
		for range s.n {
			if allowed(start.Add(s.at)) {
				passed++
			}
		}
		if passed != s.pass {
			t.Errorf("after %v: got %d of %d through, want %d", s.at, passed, s.n, s.pass)
		}
	}
}

func TestAWindowBeginsWithItsFirstAndEndsAMinuteLater(t *testing.T) {
	const ms, second = time.Millisecond, time.Second
	client := Client{Workspace: "w", ID: "c", Address: here}
	for name, steps := range map[string][]step{
		"the one beyond the limit is refused until the end": {{0, 4, 3}, {59_999 * ms, 2, 0}},
		"at its end a new one begins": {
			{0, 4, 3}, {60_000 * ms, 4, 3}, {119_999 * ms, 1, 0}, {120_000 * ms, 4, 3},
		},
		"a late one begins a whole minute": {
			{0, 1, 1}, {100 * second, 4, 3}, {159_999 * ms, 1, 0}, {160 * second, 1, 1},
		},
		"two windows side by side have twice as many": {{0, 1, 1}, {59_999 * ms, 3, 2}, {60 * second, 4, 3}},
		"those refused don't put off the end":         {{0, 4, 3}, {30 * second, 9, 0}, {60 * second, 3, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Limits{Upgrade: Limit{3, 9}, KeyExchange: Limit{3, 9}, Pairing: Limit{3, 9}})
			run(t, steps, func(now time.Time) bool { return r.Upgrade(here, now) == 0 })
			run(t, steps, func(now time.Time) bool { return r.KeyExchange(client, now) })
			run(t, steps, func(now time.Time) bool { return r.Pairing(client, now) })
		})
	}
}

func TestARefusedUpgradeIsToldWhenToComeBack(t *testing.T) {
	r := New(Limits{Upgrade: Limit{1, 9}})
	if wait := r.Upgrade(here, start); wait != 0 {
		t.Errorf("the first: got %v, want 0", wait)
	}
	if wait := r.Upgrade(here, start.Add(20*time.Second)); wait != 40*time.Second {
		t.Errorf("the second, 20 s later: got %v, want 40s", wait)
	}
	if wait := r.Upgrade(here, start.Add(time.Minute)); wait != 0 {
		t.Errorf("the third, in time: got %v, want 0", wait)
	}
}

func TestABucketIsFullAtFirstAndAMinuteFillsIt(t *testing.T) {
	const ms, second = time.Millisecond, time.Second
	for name, c := range map[string]struct {
		perMinute int
		steps     []step
	}{
		"all at once, and then one each": {240, []step{
			{0, 300, 240}, {249 * ms, 1, 0}, {250 * ms, 2, 1}, {1000 * ms, 9, 3},
		}},
		"a minute fills it":               {240, []step{{0, 300, 240}, {60 * second, 300, 240}}},
		"an hour fills it no more":        {240, []step{{0, 300, 240}, {time.Hour, 300, 240}}},
		"it fills while it is used":       {240, []step{{0, 100, 100}, {10 * second, 300, 180}}},
		"those refused take nothing":      {240, []step{{0, 240, 240}, {1, 1000, 0}, {second, 9, 4}}},
		"a rate that no interval divides": {7, []step{{0, 9, 7}, {60 * second, 9, 7}}},
		"one a minute":                    {1, []step{{0, 2, 1}, {59_999 * ms, 1, 0}, {60 * second, 2, 1}}},
		"a time that goes back":           {2, []step{{second, 9, 2}, {0, 9, 0}, {31 * second, 9, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			client := New(Limits{Client: Limit{c.perMinute, 9}})
			run(t, c.steps, func(now time.Time) bool { return client.Runtime(Client{Workspace: "w", ID: "c"}, now) })
			all := New(Limits{Workspace: Limit{c.perMinute, 9}})
			next := 0
			run(t, c.steps, func(now time.Time) bool {
				next++
				return all.Runtime(Client{Workspace: "w", ID: strconv.Itoa(next)}, now)
			})
		})
	}
}

func TestWhatOneOfTheRuntimeLimitsRefusesIsNotCountedByTheOther(t *testing.T) {
	r := New(Limits{Client: Limit{2, 9}, Workspace: Limit{3, 9}})
	one, other := Client{Workspace: "w", ID: "1"}, Client{Workspace: "w", ID: "2"}
	for i, want := range []struct {
		c    Client
		pass bool
	}{
		{one, true}, {one, true}, {one, false}, {one, false}, // its own limit, which leaves the workspace its third
		{other, true}, {other, false}, {other, false}, // the workspace's
	} {
		if got := r.Runtime(want.c, start); got != want.pass {
			t.Errorf("%d: client %s: got %v, want %v", i, want.c.ID, got, want.pass)
		}
	}
	// The workspace is full again; the other one's second was refused above and is still there, beside the next.
	run(t, []step{{40 * time.Second, 9, 2}}, func(now time.Time) bool { return r.Runtime(other, now) })
	if c := r.Counts(); c.Client.Refused != 2+7 || c.Workspace.Refused != 2 {
		t.Errorf("got %+v, want 9 refusals of clients and 2 of the workspace", c)
	}
}

func TestADaemonThatSendsTooMuchIsSlowedDownAndNeverRefused(t *testing.T) {
	daemon := Peer{Workspace: "w", Target: "t"}
	r := New(Limits{Daemon: Limit{2400, 9}})
	now := start
	for i := range 2400 {
		if wait := r.Daemon(daemon, now); wait != 0 {
			t.Fatalf("frame %d: got %v, want no wait", i, wait)
		}
	}
	for i := range 1000 {
		wait := r.Daemon(daemon, now)
		if wait != 25*time.Millisecond {
			t.Fatalf("frame %d beyond: got %v, want 25ms", i, wait)
		}
		now = now.Add(wait)
	}
	if c := r.Counts().Daemon; c != (Count{Keys: 1, Refused: 1000}) {
		t.Errorf("got %+v, want 1 key and 1000 waits", c)
	}
	// A reader that does not wait, or many links of one daemon, owe more; but a minute at most.
	for range 10_000 {
		if wait := r.Daemon(daemon, now); wait > time.Minute {
			t.Fatalf("got %v, want a minute at most", wait)
		}
	}
	if wait := r.Daemon(daemon, now.Add(time.Minute)); wait != 25*time.Millisecond {
		t.Errorf("a minute later: got %v, want 25ms", wait)
	}
	if wait := r.Daemon(daemon, now.Add(3*time.Minute)); wait != 0 {
		t.Errorf("after a pause: got %v, want 0", wait)
	}
}

func TestNobodyPaysForSomebodyElse(t *testing.T) {
	there := netip.MustParseAddr("192.0.2.2")
	one := Limit{1, 99}
	r := New(Limits{Upgrade: one, KeyExchange: one, Pairing: one, Client: one, Daemon: one})
	// Each list is of different keys, some of which would be one if their parts were joined.
	clients := []Client{
		{"w", "c", here}, {"w", "c", there}, {"v", "c", here}, {"w:c", "", here}, {"w", "", here}, {"w", "", there},
		{"", "w:c", here}, {"w", ":c", here}, {"w:", "c", here}, {"w", "client_unknown", here}, {"w", "C", here},
	}
	for _, c := range clients {
		if !r.KeyExchange(c, start) || !r.Pairing(c, start) {
			t.Errorf("%q: got refused, want passed", c)
		}
		if r.KeyExchange(c, start) || r.Pairing(c, start) {
			t.Errorf("%q again: got passed, want refused", c)
		}
	}
	for i, c := range clients {
		if i != 1 && !r.Runtime(c, start) { // 1 is 0 from elsewhere
			t.Errorf("%q: got refused, want passed", c)
		}
	}
	if r.Runtime(clients[1], start) {
		t.Error("got more by connecting from elsewhere")
	}
	for _, p := range []Peer{
		{"w", "t", ""}, {"w", "u", ""}, {"v", "t", ""}, {"w", "", "t"}, {"w:t", "", ""}, {"w", "", ""},
	} {
		if wait := r.Daemon(p, start); wait != 0 {
			t.Errorf("%q: got %v, want 0", p, wait)
		}
	}
	if r.Upgrade(here, start) != 0 || r.Upgrade(there, start) != 0 {
		t.Error("an upgrade was refused for another address")
	}
}

func TestAHostWithAWholeNetworkOfItsOwnIsOneAddress(t *testing.T) {
	one := Limit{1, 99}
	r := New(Limits{Upgrade: one, KeyExchange: one, Pairing: one, Client: one})
	for i, host := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1%eth0"} {
		from := netip.MustParseAddr(host)
		c := Client{"w", "", from}
		for what, passed := range map[string]bool{
			"upgrade": r.Upgrade(from, start) == 0, "key exchange": r.KeyExchange(c, start),
			"pairing": r.Pairing(c, start), "runtime": r.Runtime(c, start),
		} {
			if passed != (i == 0) {
				t.Errorf("%s from %s: got %v", what, host, passed)
			}
		}
	}
	if r.Upgrade(netip.MustParseAddr("2001:db8:0:1::1"), start) != 0 {
		t.Error("the next network: got refused")
	}
}

func TestALimitThatIsOffBoundsNothingAndRemembersNothing(t *testing.T) {
	for name, l := range map[string]Limit{"zero": {}, "zero with keys": {0, 5}, "below": {-1, 5}} {
		t.Run(name, func(t *testing.T) {
			r := New(Limits{Upgrade: l, KeyExchange: l, Pairing: l, Client: l, Workspace: l, Daemon: l})
			c := Client{"w", "c", here}
			for range 5000 {
				if r.Upgrade(here, start) != 0 || !r.KeyExchange(c, start) || !r.Pairing(c, start) || !r.Runtime(c, start) ||
					r.Daemon(Peer{"w", "t", ""}, start) != 0 {
					t.Fatal("got refused")
				}
			}
			if got := r.Counts(); got != (Counts{}) {
				t.Errorf("got %+v, want nothing", got)
			}
		})
	}
}

func TestTheLimitsOfTodaysRelaysAreTheDefault(t *testing.T) {
	r := New(Default())
	c := Client{"w", "c", here}
	run(t, []step{{0, 200, 120}}, func(now time.Time) bool { return r.Upgrade(here, now) == 0 })
	run(t, []step{{0, 200, 60}}, func(now time.Time) bool { return r.KeyExchange(c, now) })
	run(t, []step{{0, 200, 30}}, func(now time.Time) bool { return r.Pairing(c, now) })
	run(t, []step{{0, 300, 240}}, func(now time.Time) bool { return r.Runtime(c, now) })
	next := 0
	run(t, []step{{0, 2000, 1200 - 240}}, func(now time.Time) bool {
		next++
		return r.Runtime(Client{"w", strconv.Itoa(next), here}, now)
	})
	run(t, []step{{0, 3000, 2400}}, func(now time.Time) bool { return r.Daemon(Peer{"w", "t", ""}, now) == 0 })
}

func TestHowManyKeysAreRememberedIsBoundedAndTheOneNotUsedForLongestGoes(t *testing.T) {
	l := Limit{1, 3}
	r := New(Limits{Upgrade: l, KeyExchange: l, Pairing: l, Client: l, Workspace: l, Daemon: l})
	key := func(id string) Client { return Client{Workspace: "w", ID: id, Address: here} }
	for _, id := range []string{"a", "b", "c"} {
		r.KeyExchange(key(id), start)
	}
	if r.KeyExchange(key("a"), start) { // used again, so it stays
		t.Error("a: got passed, want refused")
	}
	if !r.KeyExchange(key("d"), start) || r.KeyExchange(key("a"), start) || r.KeyExchange(key("c"), start) {
		t.Error("got a or c forgotten for d, want b")
	}
	if !r.KeyExchange(key("b"), start) {
		t.Error("b: got refused, want it forgotten")
	}
	for i := range 10_000 {
		from := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		c := Client{Workspace: fmt.Sprint(i), ID: "c", Address: from}
		r.Upgrade(from, start)
		r.KeyExchange(c, start)
		r.Pairing(c, start)
		r.Runtime(c, start)
		r.Daemon(Peer{Workspace: fmt.Sprint(i)}, start)
	}
	three := Count{Keys: 3}
	got := r.Counts()
	got.KeyExchange.Refused = 0 // from above
	if got != (Counts{three, three, three, three, three, three}) {
		t.Errorf("got %+v, want 3 keys each", got)
	}
}

func TestAKeyThatIsAsGoodAsNewIsDroppedWhenOthersCome(t *testing.T) {
	r := New(Limits{Upgrade: Limit{1, 1000}})
	for i := range 100 {
		r.Upgrade(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), start)
	}
	for i := range 60 {
		r.Upgrade(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), start.Add(stale))
	}
	if got := r.Counts().Upgrade.Keys; got != 60 {
		t.Errorf("got %d keys, want those 60 that are not stale", got)
	}
}

func TestHundredsAtOnceGetWhatThereIsAndNoMore(t *testing.T) {
	const goroutines, rounds = 50, 200
	r := New(Limits{
		Upgrade: Limit{100, 2}, KeyExchange: Limit{100, 2}, Pairing: Limit{100, 2},
		Client: Limit{300, 2}, Workspace: Limit{500, 2}, Daemon: Limit{100, 2},
	})
	var upgrades, exchanges, pairings, runtime, unpaced atomic.Int64
	var running sync.WaitGroup
	for i := range goroutines {
		running.Go(func() {
			c := Client{"w", strconv.Itoa(i % 2), here}
			count := func(n *atomic.Int64, passed bool) {
				if passed {
					n.Add(1)
				}
			}
			for range rounds {
				count(&upgrades, r.Upgrade(here, start) == 0)
				count(&exchanges, r.KeyExchange(c, start))
				count(&pairings, r.Pairing(c, start))
				count(&runtime, r.Runtime(c, start))
				count(&unpaced, r.Daemon(Peer{"w", "t", ""}, start) == 0)
				r.Counts()
			}
		})
	}
	running.Wait()
	for what, c := range map[string]struct{ got, want int64 }{
		"upgrades": {upgrades.Load(), 100}, "key exchanges of two clients": {exchanges.Load(), 200},
		"pairings of two clients": {pairings.Load(), 200}, "runtime of a workspace": {runtime.Load(), 500},
		"frames of a daemon without a wait": {unpaced.Load(), 100},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %d, want %d", what, c.got, c.want)
		}
	}
}

// BenchmarkRuntime is what the limits add to a client's frame.
func BenchmarkRuntime(b *testing.B) {
	r := New(Default())
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		if !r.Runtime(Client{"workspace", "client", here}, now) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkDaemon is what they add to a daemon's.
func BenchmarkDaemon(b *testing.B) {
	r := New(Default())
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		r.Daemon(Peer{"workspace", "target", ""}, now)
	}
}
