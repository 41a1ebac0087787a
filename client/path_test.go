package client_test

import (
	"net"
	"sync"
	"testing"
)

// path is the network between an endpoint and the relay: TCP connections that can be cut, refused and held up.
type path struct {
	t        testing.TB
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	down   bool       // new connections are closed at once
	hole   bool       // nothing that is sent arrives
	healed *sync.Cond // hole has changed

	accepted chan struct{} // an element for each connection that was made
}

func newPath(t testing.TB, to string) *path {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &path{t: t, listener: l, to: to, conns: make(map[net.Conn]bool), accepted: make(chan struct{}, 1024)}
	p.healed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.blackHole(false)
		p.cut(true)
		p.running.Wait()
	})
	return p
}

func (p *path) url() string { return "http://" + p.listener.Addr().String() }

func (p *path) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns[near], p.conns[far] = true, true
		down := p.down
		p.mu.Unlock()
		if down {
			p.cut(true)
			continue
		}
		p.accepted <- struct{}{}
		p.running.Go(func() { p.copy(near, far) })
		p.running.Go(func() { p.copy(far, near) })
	}
}

func (p *path) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		for p.hole {
			p.healed.Wait()
		}
		p.mu.Unlock()
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections; down: and those to come.
func (p *path) cut(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// blackHole lets nothing through, or everything again.
func (p *path) blackHole(on bool) {
	p.mu.Lock()
	p.hole = on
	p.healed.Broadcast()
	p.mu.Unlock()
}
