package listen

import (
	"container/list"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pendingConn is a connection from accept until a server took it. It is in Mux.pending for exactly that time; whoever
// removes it from there (takes it, evicts it, drops it) decides what becomes of it, and nobody else does.
type pendingConn struct {
	// static after construction

	raw  net.Conn
	gone chan struct{} // closed when it was evicted

	// guarded by Mux.mu

	place *list.Element // nil when it is no longer pending

	// owned by the sniffing goroutine, then by the server that received it

	conn net.Conn // raw, or raw under TLS
}

// admit makes conn pending; at the bound the oldest gives way. It returns nil when the Mux is closed.
func (m *Mux) admit(conn net.Conn) *pendingConn {
	p := &pendingConn{raw: conn, conn: conn, gone: make(chan struct{})}
	m.mu.Lock()
	if m.isClosed() { // checked under mu: Close closes what is pending under it, after it closed this channel
		m.mu.Unlock()
		m.unserved.Add(1)
		_ = conn.Close()
		return nil
	}
	var oldest *pendingConn
	if m.pending.Len() >= m.maxPending {
		oldest = m.pending.Remove(m.pending.Front()).(*pendingConn)
		oldest.place = nil
	}
	p.place = m.pending.PushBack(p)
	m.mu.Unlock()
	if oldest != nil {
		m.evicted.Add(1)
		m.log.Debug("connection gave way: too many that say nothing", "peer", oldest.raw.RemoteAddr())
		close(oldest.gone)
		_ = oldest.raw.Close()
	}
	return p
}

// release takes p out of the pending ones and says whether it was one.
func (m *Mux) release(p *pendingConn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.place == nil {
		return false
	}
	m.pending.Remove(p.place)
	p.place = nil
	return true
}

// sub is the listener of one protocol.
type sub struct {
	// static after construction

	mux   *Mux
	conns chan *pendingConn // unbuffered: what nobody takes stays pending, and is bounded and evicted as such
	done  chan struct{}     // closed by Close

	once  sync.Once
	taken atomic.Uint64

	// guarded by mu

	mu sync.Mutex
	// fresh are the connections that were taken within the last Mux.timeout, and perhaps some before, oldest first: their
	// server may still wait for them to begin.
	fresh []freshConn
}

type freshConn struct {
	conn net.Conn
	at   time.Time
}

// remember keeps conn among the fresh ones, and forgets those that are fresh no longer.
func (s *sub) remember(conn net.Conn) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := 0
	for old < len(s.fresh) && now.Sub(s.fresh[old].at) > s.mux.timeout {
		old++
	}
	s.fresh = append(slices.Delete(s.fresh, 0, old), freshConn{conn, now})
}

// closeFresh closes the fresh connections.
func (s *sub) closeFresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.fresh {
		_ = f.conn.Close()
	}
	s.fresh = nil
}

func newSub(m *Mux) *sub {
	return &sub{mux: m, conns: make(chan *pendingConn), done: make(chan struct{})}
}

// Accept implements net.Listener. After Close of the listener or the Mux it returns net.ErrClosed.
func (s *sub) Accept() (net.Conn, error) {
	for {
		select {
		case <-s.done:
			return nil, s.closedError()
		case <-s.mux.closed:
			return nil, s.closedError()
		case p := <-s.conns:
			if !s.mux.release(p) {
				continue // evicted in between, and closed
			}
			s.taken.Add(1)
			s.remember(p.raw)
			return p.conn, nil
		}
	}
}

// Close implements net.Listener.
func (s *sub) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// Addr implements net.Listener.
func (s *sub) Addr() net.Addr { return s.mux.Addr() }

// closedError looks like the one of a closed *net.TCPListener.
func (s *sub) closedError() error {
	return &net.OpError{Op: "accept", Net: s.Addr().Network(), Addr: s.Addr(), Err: net.ErrClosed}
}
