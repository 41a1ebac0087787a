package tap

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// Directions of a Proxy, as its owner sees them.
const (
	ToRelay   = "to relay"
	FromRelay = "from relay"
)

// Proxy passes TCP connections on to one address and shows every byte to a search and to a record.
type Proxy struct {
	// Static.
	link   string
	target string
	ln     net.Listener
	marks  *Marks
	record *Record

	running sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	closed   bool
	conns    map[net.Conn]bool
	searches []search
	errs     []error
}

type search struct {
	direction string
	*Search
}

// Result is what one direction of a Proxy carried.
type Result struct {
	Link, Direction string
	Bytes           int64
	Findings        []Finding
}

// NewProxy listens on a free port of 127.0.0.1 and passes what comes on to target (host:port). Link is what results and
// the record call it. Close ends it.
func NewProxy(link, target string, marks *Marks, record *Record) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{link: link, target: target, ln: ln, marks: marks, record: record, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where it listens, as host:port.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Close cuts all connections, returns when nothing of the proxy runs, and says what went wrong: a connection that could
// not be made, or that carried something else than RelayService.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.ln.Close()
	p.running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}

// Results returns what passed, one for each direction. It may be called after Close only.
func (p *Proxy) Results() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var results []Result
	for _, direction := range []string{ToRelay, FromRelay} {
		r := Result{Link: p.link, Direction: direction}
		for _, s := range p.searches {
			if s.direction == direction {
				r.Bytes += s.Bytes()
				r.Findings = append(r.Findings, s.Findings()...)
			}
		}
		results = append(results, r)
	}
	return results
}

func (p *Proxy) accept() {
	for {
		near, err := p.ln.Accept()
		if err != nil {
			return
		}
		if !p.keep(near) {
			return
		}
		p.running.Go(func() { p.pass(near) })
	}
}

// keep makes c end with the proxy; false: the proxy has ended and c is closed.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

func (p *Proxy) pass(near net.Conn) {
	defer p.drop(near)
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		p.fail(err)
		return
	}
	if !p.keep(far) {
		return
	}
	defer p.drop(far)
	var both sync.WaitGroup
	both.Go(func() { p.copy(far, near, ToRelay) })
	both.Go(func() { p.copy(near, far, FromRelay) })
	both.Wait()
}

// copy passes one direction on until it ends. Bytes are looked at before they are passed on: nothing that arrived was
// not seen.
func (p *Proxy) copy(to, from net.Conn, direction string) {
	s := p.marks.NewSearch()
	p.mu.Lock()
	p.searches = append(p.searches, search{direction, s})
	p.mu.Unlock()

	read, write := io.Pipe()
	var decoding sync.WaitGroup
	decoding.Go(func() {
		if err := p.record.Decode(p.link, direction, read); err != nil {
			p.fail(err)
		}
		_, _ = io.Copy(io.Discard, read)
	})
	_, err := io.Copy(to, io.TeeReader(from, io.MultiWriter(s, write)))
	_ = write.Close()
	decoding.Wait()
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	// One direction is broken, so the other has nobody to talk to.
	_, _ = to.Close(), from.Close()
}
