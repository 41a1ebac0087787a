package faults

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// chunk is how much a Proxy reads at once, in bytes: what it has read and not written is lost with the connection.
const chunk = 32 << 10

// Proxy passes TCP connections on to one address, until they are cut. Between its two sides a connection is a pair.
type Proxy struct {
	// Static.
	target string
	ln     net.Listener
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// Connects counts the connections that were made to it, those that could not be passed on included.
	Connects Rate
	bytes    atomic.Int64

	running sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	pairs map[*pair]bool
	thaw  chan struct{} // not nil while frozen; closed by Thaw
}

// pair is one connection on both sides.
type pair struct {
	near, far *net.TCPConn // near is the side that connected to the proxy
	gone      chan struct{}
	once      sync.Once // closes gone

	// Guarded by Proxy.mu.
	silent    bool // forwards nothing any more
	finishing bool // throws away what comes
}

// NewProxy listens on a free port of 127.0.0.1 and passes what comes on to target (host:port). Close ends it.
func NewProxy(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, ln: ln, pairs: map[*pair]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where it listens, as host:port.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Bytes is how many it passed on, both ways.
func (p *Proxy) Bytes() int64 { return p.bytes.Load() }

// Close cuts all connections and returns when nothing of the proxy runs.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.ln.Close()
	p.mu.Lock()
	for c := range p.pairs {
		c.reset()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		near, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.Connects.Add()
		p.running.Go(func() { p.pass(near.(*net.TCPConn)) })
	}
}

func (p *Proxy) pass(near *net.TCPConn) {
	far, err := p.dial()
	if err != nil {
		_ = near.SetLinger(0)
		_ = near.Close()
		return
	}
	c := &pair{near: near, far: far, gone: make(chan struct{})}
	p.mu.Lock()
	p.pairs[c] = true
	p.mu.Unlock()
	if p.ctx.Err() != nil { // Close did not see it
		c.reset()
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, far, near) })
	both.Go(func() { p.copy(c, near, far) })
	both.Wait()
	c.close()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// dial connects to the target, once the proxy is not frozen.
func (p *Proxy) dial() (*net.TCPConn, error) {
	if !p.wait(nil) {
		return nil, context.Canceled
	}
	far, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return nil, err
	}
	return far.(*net.TCPConn), nil
}

// copy passes one direction on until it ends. A connection that breaks on one side is reset on the other; one that
// finishes a direction finishes it on the other side, too.
func (p *Proxy) copy(c *pair, to, from *net.TCPConn) {
	buffer := make([]byte, chunk)
	for {
		n, err := from.Read(buffer)
		if !p.wait(c) {
			c.reset()
			return
		}
		if n > 0 && !p.discards(c) {
			if _, err := to.Write(buffer[:n]); err != nil {
				c.reset()
				return
			}
			p.bytes.Add(int64(n))
		}
		switch {
		case err == io.EOF:
			_ = to.CloseWrite()
			return
		case err != nil:
			c.reset()
			return
		}
	}
}

func (p *Proxy) discards(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.finishing
}

// wait waits as long as the proxy is frozen or c is silent; c may be nil. It returns false when c or the proxy has
// ended.
func (p *Proxy) wait(c *pair) bool {
	var gone chan struct{}
	if c != nil {
		gone = c.gone
	}
	for {
		p.mu.Lock()
		thaw := p.thaw
		silent := c != nil && c.silent
		p.mu.Unlock()
		if silent {
			thaw = nil // it never goes on
		} else if thaw == nil {
			return p.ctx.Err() == nil
		}
		select {
		case <-thaw:
		case <-gone:
			return false
		case <-p.ctx.Done():
			return false
		}
	}
}

// reset ends both sides with RST, and what they have not sent is lost.
func (c *pair) reset() {
	_, _ = c.near.SetLinger(0), c.far.SetLinger(0)
	c.close()
}

func (c *pair) close() {
	c.once.Do(func() { close(c.gone) })
	_, _ = c.near.Close(), c.far.Close()
}
