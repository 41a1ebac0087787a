package hostilepath_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// patience ends a test that would hang; nothing is asserted about time.
const patience = 90 * time.Second

// A direction of a path.
const (
	up   = 0 // from an endpoint to the relay
	down = 1
)

// faults are what a path does to a connection. The zero value forwards every frame at once, in order.
type faults struct {
	// hold makes a black hole of a direction: the TCP connection stays, a few KiB are read, nothing is forwarded. When it
	// heals everything goes on, as after packets that were lost.
	hold [2]bool
	// swallow reads everything and forwards nothing, so that a sender believes it delivered. What it swallowed is
	// gone: when it heals the connection is cut.
	swallow [2]bool
	// pings says what becomes of HTTP/2 PINGs.
	pings pings
	// goAway makes the path send GOAWAY after so many streams of a connection and close it when they have ended; 0:
	// never.
	goAway int
	// buffer holds DATA back until so many bytes wait in its direction, or flush is called; 0: off.
	buffer int
	// trickle writes byte by byte.
	trickle bool
	// delay is how long after its arrival a frame is forwarded.
	delay time.Duration
}

type pings int

const (
	forwarded pings = iota
	answered        // by the path, as terminators do
	swallowed
)

// counts are what a path has seen and done since it was made.
type counts struct {
	conns, open int            // connections that were accepted, and those of them that are there
	failed      int            // connections for which the relay did not answer
	streams     int            // that were opened
	data        [2]int         // DATA frames forwarded
	bytes       [2]int         // forwarded, of all frames
	held        [2]int         // bytes that wait in the path now
	lost        [2]int         // frames swallowed
	pings       int            // PINGs not forwarded
	cut         int            // streams reset on both sides
	goAways     int            // sent
	refused     int            // streams that came after a GOAWAY
	probes      int            // of the relay, whether a daemon is alive
	resets      int            // TCP connections ended by RST
	reasons     map[string]int // that the relay ended streams with, by code
}

// path is an HTTP/2-aware proxy between endpoints and a relay: one connection to the relay for each that it accepts,
// the same streams on both. It ends with the test.
type path struct {
	// Static.
	t       *testing.T
	ln      net.Listener
	relay   string
	running sync.WaitGroup

	mu   sync.Mutex
	cond *sync.Cond // something of what follows, or of a connection, changed
	// Guarded by mu.
	next   faults // of connections to come
	conns  map[*conn]struct{}
	seen   counts
	closed bool
}

// newPath makes a path to a relay that forwards faithfully until it is told otherwise.
func newPath(t *testing.T, relay string) *path {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &path{t: t, ln: ln, relay: relay, conns: make(map[*conn]struct{}), seen: counts{reasons: make(map[string]int)}}
	p.cond = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// url is what an endpoint takes for the relay.
func (p *path) url() string { return "http://" + p.ln.Addr().String() }

func (p *path) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.close(false)
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *path) accept() {
	for {
		endpoint, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(endpoint) })
	}
}

// serve runs a connection to its end.
func (p *path) serve(endpoint net.Conn) {
	defer func() { _ = endpoint.Close() }()
	p.mu.Lock()
	p.seen.conns++
	p.cond.Broadcast()
	p.mu.Unlock()
	relay, err := net.Dial("tcp", p.relay)
	p.mu.Lock()
	if err != nil || p.closed {
		p.seen.failed++
		p.cond.Broadcast()
		p.mu.Unlock()
		if err == nil {
			_ = relay.Close()
		}
		return
	}
	c := newConn(p, endpoint, relay, p.next)
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	c.run()
}

// set changes the faults of the connections that are there and of those to come.
func (p *path) set(change func(*faults)) {
	p.setNew(change)
	p.setExisting(change)
}

// setNew changes the faults of connections to come.
func (p *path) setNew(change func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.next)
}

// setExisting changes the faults of the connections that are there.
func (p *path) setExisting(change func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		change(&c.faults)
		c.heed()
	}
	p.cond.Broadcast()
}

// heal ends every fault.
func (p *path) heal() { p.set(func(f *faults) { *f = faults{} }) }

// flush is the tick of a path that buffers: it lets go what waits now.
func (p *path) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		for _, d := range c.directions {
			d.flushing = len(d.queue)
		}
	}
	p.cond.Broadcast()
}

// cutSilent resets, on both sides and with this code, every stream on which in either direction nothing came since
// cutSilent was called before: what a terminator's idle limit does, with the test as its clock.
func (p *path) cutSilent(code http2.ErrCode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cutSilent(code)
	}
	p.cond.Broadcast()
}

// cutSilentEvery is cutSilent at an interval, until stop is called.
func (p *path) cutSilentEvery(interval time.Duration, code http2.ErrCode) (stop func()) {
	ticker := time.NewTicker(interval)
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ticker.C:
				p.cutSilent(code)
			case <-done:
				return
			}
		}
	})
	return func() {
		ticker.Stop()
		close(done)
		running.Wait()
	}
}

// goAway sends GOAWAY on the connections that are there, as a terminator does that is reloaded.
func (p *path) goAway() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.sendGoAway()
	}
	p.cond.Broadcast()
}

// cut ends the connections that are there with RST, towards both sides.
func (p *path) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.close(true)
	}
}

// abandon ends the connections that are there with RST towards the endpoint, while towards the relay they become
// black holes: the relay goes on believing in them until the path heals.
func (p *path) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.faults.hold = [2]bool{true, true}
		p.seen.resets++
		reset(c.directions[up].src)
	}
	p.cond.Broadcast()
}

// counts returns what the path has seen so far.
func (p *path) counts() counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now()
}

// now is counts for the holder of mu.
func (p *path) now() counts {
	n := p.seen
	n.reasons = maps.Clone(p.seen.reasons)
	n.open, n.held = len(p.conns), [2]int{}
	for c := range p.conns {
		for i, d := range c.directions {
			n.held[i] += d.bytes
		}
	}
	return n
}

// await waits until ok likes what the path has seen.
func (p *path) await(what string, ok func(counts) bool) counts {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok(p.now()) {
		if ctx.Err() != nil {
			p.t.Fatalf("%s: never, the path stands at %+v", what, p.now())
		}
		p.cond.Wait()
	}
	return p.now()
}

func (p *path) String() string { return fmt.Sprintf("%+v", p.counts()) }

// reset closes a connection with RST in place of FIN.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
