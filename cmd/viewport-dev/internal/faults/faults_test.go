package faults

import (
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends what hangs.
const patience = 20 * time.Second

// pairOf is a connection through a proxy: the side that made it, and the one that got it.
type pairOf struct{ near, far net.Conn }

// world is a proxy and what it connects to.
type world struct {
	*testing.T
	proxy *Proxy
	ln    net.Listener
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	p, err := NewProxy(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &world{t, p, ln}
}

// connect makes a connection on which a byte has passed each way.
func (w *world) connect() pairOf {
	w.Helper()
	c := pairOf{near: w.dial()}
	far, err := w.ln.Accept()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = far.Close() })
	_ = far.SetDeadline(time.Now().Add(patience))
	c.far = far
	w.passes(c.near, c.far, "x")
	w.passes(c.far, c.near, "y")
	return c
}

func (w *world) dial() net.Conn {
	w.Helper()
	near, err := net.Dial("tcp", w.proxy.Addr())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = near.Close() })
	_ = near.SetDeadline(time.Now().Add(patience))
	return near
}

func (w *world) passes(from, to net.Conn, text string) {
	w.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		w.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		w.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

// ends wants a connection to end with an error.
func (w *world) ends(c net.Conn, what string, want error) {
	w.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		w.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// silent wants nothing to come on c. That nothing comes can't be waited for, so it looks whether anything is there.
func (w *world) silent(c net.Conn, what string) {
	w.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		w.Errorf("%s: got %d bytes, %v; want nothing and no end", what, n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

func TestAConnectionEndsOnBothSidesInTheWayItIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		cut  func(*Proxy) int
		want error
	}{
		"reset":    {(*Proxy).Reset, syscall.ECONNRESET},
		"finished": {(*Proxy).Finish, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			one, two := w.connect(), w.connect()
			if n := c.cut(w.proxy); n != 2 {
				t.Errorf("got %d connections cut, want 2", n)
			}
			for _, p := range []pairOf{one, two} {
				w.ends(p.near, "near", c.want)
				w.ends(p.far, "far", c.want)
				_, _ = p.near.Close(), p.far.Close()
			}
			w.connect() // the next is whole
		})
	}
}

func TestAHalfOpenConnectionTellsNobodyUntilItIsReleasedAndNewOnesWork(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	n, release := w.proxy.Forget()
	_, _ = io.WriteString(c.near, "lost")
	_, _ = io.WriteString(c.far, "lost")
	w.connect()
	w.silent(c.near, "near")
	w.silent(c.far, "far")
	if again, _ := w.proxy.Forget(); n != 1 || again != 1 {
		t.Errorf("got %d connections, then %d, want 1 and 1, the new one", n, again)
	}
	release()
	w.ends(c.near, "near", syscall.ECONNRESET)
	w.ends(c.far, "far", syscall.ECONNRESET)
}

func TestTheOtherSideOfAPeerThatMovedIsNotTold(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	_, release := w.proxy.Move()
	w.ends(c.near, "near", syscall.ECONNRESET)
	w.connect()
	w.silent(c.far, "far")
	release()
	w.ends(c.far, "far", syscall.ECONNRESET)
}

func TestWhatIsFrozenGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	if n := w.proxy.Freeze(); n != 1 {
		t.Errorf("got %d connections, want 1", n)
	}
	_, _ = io.WriteString(c.near, "late")
	w.dial()
	w.silent(c.far, "far")
	w.proxy.Thaw()
	got := make([]byte, 4)
	if _, err := io.ReadFull(c.far, got); err != nil || string(got) != "late" {
		t.Errorf("got %q, %v; want late", got, err)
	}
	if _, err := w.ln.Accept(); err != nil {
		t.Errorf("the connection that was made meanwhile: %v", err)
	}
	w.passes(c.far, c.near, "on")
}

func TestAProxyClosesWhateverStateItIsIn(t *testing.T) {
	w := newWorld(t)
	for _, what := range []func(){
		func() {}, func() { w.proxy.Finish() }, func() { w.proxy.Forget() }, func() { w.proxy.Move() },
	} {
		w.connect()
		what()
	}
	c := w.connect()
	w.proxy.Freeze()
	w.dial()
	w.proxy.Close()
	w.ends(c.near, "near", syscall.ECONNRESET)
	w.ends(c.far, "far", syscall.ECONNRESET)
}

func TestWithoutATargetAConnectionIsReset(t *testing.T) {
	w := newWorld(t)
	_ = w.ln.Close()
	near, err := net.Dial("tcp", w.proxy.Addr())
	if err == nil {
		w.Cleanup(func() { _ = near.Close() })
		_, err = near.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) { // already while connecting, perhaps
		t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
	}
	if peak, n := w.proxy.Connects.Peak(); peak != 1 || n != 1 {
		t.Errorf("got %d connects, at most %d at once; want 1 and 1", n, peak)
	}
}

func TestARateKnowsTheMostWithinATenthOfASecond(t *testing.T) {
	var r Rate
	at := time.Now()
	for _, ms := range []int{0, 10, 99, 100, 250, 260, 270, 299, 300, 1000} {
		r.add(at.Add(time.Duration(ms) * time.Millisecond))
	}
	if peak, n := r.Peak(); peak != 4 || n != 10 {
		t.Errorf("got %d of %d, want 4 of 10", peak, n)
	}
	r.Mark()
	if peak, n := r.Peak(); peak != 0 || n != 0 {
		t.Errorf("after a mark: got %d of %d, want 0 of 0", peak, n)
	}
	var together sync.WaitGroup
	for range 8 {
		together.Go(r.Add)
	}
	together.Wait()
	if _, n := r.Peak(); n != 8 {
		t.Errorf("got %d, want 8", n)
	}
}

func TestASeedGivesTheSameFaultsAgainAndAnotherGivesOthers(t *testing.T) {
	const length, links = time.Minute, 4
	one := Schedule(7, length, links)
	if !reflect.DeepEqual(one, Schedule(7, length, links)) {
		t.Error("the same seed gives another schedule")
	}
	if reflect.DeepEqual(one, Schedule(8, length, links)) {
		t.Error("another seed gives the same schedule")
	}
}

func TestAScheduleHasEveryKindOfFaultAndEndsInTime(t *testing.T) {
	for seed := range uint64(50) {
		for _, length := range []time.Duration{time.Second, 8 * time.Second, 2 * time.Minute} {
			const links = 4
			all := Schedule(seed, length, links)
			if len(all) == 0 || all[0].Kind != Kill {
				t.Fatalf("seed %d, %v: got %v, want a kill at first", seed, length, all)
			}
			kinds, hit := map[Kind]int{}, map[int]bool{}
			var before, alive time.Duration
			for _, f := range all {
				kinds[f.Kind]++
				hit[f.Link] = true
				if f.At < before || f.At+f.For > length || f.Link < 0 || f.Link >= links || f.For < 0 {
					t.Errorf("seed %d, %v: %+v", seed, length, f)
				}
				before = f.At
				if f.Kind == Kill {
					if f.At < alive {
						t.Errorf("seed %d, %v: killed at %v, %v after it was started", seed, length, f.At, f.At-alive+afterKill)
					}
					alive = f.At + f.For + afterKill
				}
			}
			if length == 2*time.Minute && (len(kinds) != 6 || len(hit) != links || kinds[Kill] < 5) {
				t.Errorf("seed %d: got %v on %d links, want every kind on all of them", seed, kinds, len(hit))
			}
		}
	}
}
