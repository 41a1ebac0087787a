package quota

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/getviewport/relay/internal/reason"
)

var here = netip.MustParseAddr("192.0.2.1")

// opened is one that waits for admission.
func opened(t *testing.T, q *Quotas, from netip.Addr) *Hold {
	t.Helper()
	h, err := q.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func wantRefusal(t *testing.T, err *reason.Error, limit string, value int) {
	t.Helper()
	if err == nil || err.Code != reason.Capacity || err.Meta["limit"] != limit ||
		err.Meta["value"] != strconv.Itoa(value) || err.RetryAfter <= 0 {
		t.Errorf("got %v %v, want CAPACITY of %s %d with a retry_after", err, err.Meta, limit, value)
	}
}

func TestEachLimitRefusesTheOneBeyondItAndNobodyElse(t *testing.T) {
	elsewhere := netip.MustParseAddr("192.0.2.2")
	for limit, c := range map[string]struct {
		limits Limits
		beyond func(*testing.T, *Quotas) *reason.Error
	}{
		Links: {Limits{Links: 1}, func(t *testing.T, q *Quotas) *reason.Error {
			opened(t, q, here)
			_, err := q.Open(elsewhere)
			return err
		}},
		LinksPerAddress: {Limits{LinksPerAddress: 1}, func(t *testing.T, q *Quotas) *reason.Error {
			opened(t, q, here)
			opened(t, q, elsewhere)
			_, err := q.Open(here)
			return err
		}},
		Admissions: {Limits{Admissions: 1}, func(t *testing.T, q *Quotas) *reason.Error {
			if err := opened(t, q, here).Admit("w"); err != nil {
				t.Fatal(err)
			}
			opened(t, q, here)
			_, err := q.Open(elsewhere)
			return err
		}},
		AdmissionsPerAddress: {Limits{AdmissionsPerAddress: 1}, func(t *testing.T, q *Quotas) *reason.Error {
			opened(t, q, elsewhere)
			opened(t, q, here)
			_, err := q.Open(here)
			return err
		}},
		LinksPerWorkspace: {Limits{LinksPerWorkspace: 1}, func(t *testing.T, q *Quotas) *reason.Error {
			for _, workspace := range []string{"w", "W"} {
				if err := opened(t, q, here).Admit(workspace); err != nil {
					t.Fatal(err)
				}
			}
			return opened(t, q, here).Admit("w")
		}},
		Watches: {Limits{Watches: 1}, func(t *testing.T, q *Quotas) *reason.Error {
			if _, err := q.Watch(); err != nil {
				t.Fatal(err)
			}
			_, err := q.Watch()
			return err
		}},
	} {
		t.Run(limit, func(t *testing.T) { wantRefusal(t, c.beyond(t, New(c.limits)), limit, 1) })
	}
}

func TestALimitThatIsOffBoundsNothing(t *testing.T) {
	q := New(Limits{LinksPerAddress: -1})
	for range 10_000 {
		if err := opened(t, q, here).Admit("w"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAHostWithAWholeNetworkOfItsOwnIsOneAddress(t *testing.T) {
	q := New(Limits{LinksPerAddress: 1})
	opened(t, q, netip.MustParseAddr("2001:db8::1"))
	opened(t, q, netip.MustParseAddr("2001:db8:0:1::1"))
	_, err := q.Open(netip.MustParseAddr("2001:db8::ffff:1%eth0"))
	wantRefusal(t, err, LinksPerAddress, 1)
	opened(t, q, here)
	_, err = q.Open(netip.MustParseAddr("::ffff:192.0.2.1"))
	wantRefusal(t, err, LinksPerAddress, 1)
}

func TestAHoldGivesBackWhatItTookExactlyOnceWhereverItWas(t *testing.T) {
	q := New(Limits{Links: 2, LinksPerWorkspace: 1, Watches: 1})
	stays := opened(t, q, here)
	if err := stays.Admit("w"); err != nil {
		t.Fatal(err)
	}
	refused := opened(t, q, here)
	wantRefusal(t, refused.Admit("w"), LinksPerWorkspace, 1)
	watch, err := q.Watch()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		refused.Release()
		watch.Release()
	}
	if got, want := q.Used(), (Used{Links: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := stays.Admit("w"); err == nil {
		t.Error("admitted twice")
	}
	stays.Release()
	if !q.Empty() {
		t.Errorf("got %+v, %d addresses and %d workspaces, want nothing", q.Used(), len(q.addresses), len(q.workspaces))
	}
}

func TestHundredsAtOnceNeverExceedALimitAndLeaveNothing(t *testing.T) {
	const comers, rounds = 300, 200
	limits := Limits{
		Links: 50, LinksPerAddress: 20, Admissions: 30, AdmissionsPerAddress: 10, LinksPerWorkspace: 15, Watches: 5,
	}
	q := New(limits)
	// count is what the goroutines themselves say that they hold.
	type count struct {
		n    atomic.Int64
		most int
		name string
	}
	all := map[string]*count{}
	counter := func(name string, most int) *count {
		all[name] = &count{most: most, name: name}
		return all[name]
	}
	links, admissions, watches := counter(Links, 50), counter(Admissions, 30), counter(Watches, 5)
	var addresses, under, workspaces []*count
	for i := range 4 {
		addresses = append(addresses, counter(LinksPerAddress+strconv.Itoa(i), 20))
		under = append(under, counter(AdmissionsPerAddress+strconv.Itoa(i), 10))
		workspaces = append(workspaces, counter(LinksPerWorkspace+strconv.Itoa(i), 15))
	}
	take := func(counts ...*count) {
		for _, c := range counts {
			if n := c.n.Add(1); n > int64(c.most) {
				t.Errorf("%s: %d hold a place, want at most %d", c.name, n, c.most)
			}
		}
	}
	give := func(counts ...*count) {
		for _, c := range counts {
			c.n.Add(-1)
		}
	}
	var running sync.WaitGroup
	for i := range comers {
		running.Go(func() {
			at := i % 4
			from := netip.AddrFrom4([4]byte{192, 0, 2, byte(at)})
			for round := range rounds {
				if round%10 == 0 {
					if h, err := q.Watch(); err == nil {
						take(watches)
						give(watches)
						h.Release()
					}
				}
				h, err := q.Open(from)
				if err != nil {
					continue
				}
				take(links, addresses[at], admissions, under[at])
				workspace := workspaces[round%4]
				// What is given back is taken by another one before this one can say so: say it first.
				give(admissions, under[at])
				if err := h.Admit(workspace.name); err == nil {
					take(workspace)
					give(workspace)
				}
				give(links, addresses[at])
				h.Release()
			}
		})
	}
	running.Wait()
	if !q.Empty() {
		t.Errorf("got %+v, %d addresses and %d workspaces, want nothing", q.Used(), len(q.addresses), len(q.workspaces))
	}
}

func TestARefusalIsCountedByItsNameAndByNoOther(t *testing.T) {
	own, elsewhere := &Row{Name: "own"}, &Row{Name: "elsewhere", Refusals: func() uint64 { return 7 }}
	table := NewTable(own, elsewhere)
	for _, limit := range []string{"own", "elsewhere", "unknown"} {
		table.Refused(Refusal(limit, 1))
	}
	table.Refused(reason.New(reason.TokenInvalid, ""))
	if own.Count() != 1 || elsewhere.Count() != 7 {
		t.Errorf("got %d and %d, want 1 and 7", own.Count(), elsewhere.Count())
	}
	if rows := table.Rows(); rows[0] != elsewhere || rows[1] != own {
		t.Error("the rows are not in order of name")
	}
}

// BenchmarkAdmission is what the quotas add to a stream that is admitted: Open, Admit and Release.
func BenchmarkAdmission(b *testing.B) {
	q := New(Limits{Links: 1 << 20, LinksPerAddress: 1 << 20, Admissions: 1 << 20, AdmissionsPerAddress: 1 << 20, LinksPerWorkspace: 1 << 20})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h, err := q.Open(here)
			if err != nil {
				b.Error(err)
				return
			}
			if err := h.Admit("w"); err != nil {
				b.Error(err)
			}
			h.Release()
		}
	})
}

// BenchmarkRefusal is a stream that is refused.
func BenchmarkRefusal(b *testing.B) {
	q := New(Limits{Links: 1})
	if _, err := q.Open(here); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.Open(here); err == nil {
			b.Fatal("admitted")
		}
	}
}
