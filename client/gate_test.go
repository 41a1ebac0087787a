package client_test

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"
)

// gate is a network in front of the relay that lets only some protocols through.
type gate struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	grpc  passage
	ws    passage
	conns map[net.Conn]bool
	ended bool
}

// passage is what becomes of a connection.
type passage int

const (
	passes  passage = iota
	refused         // answered by a server that is no relay
	swallowed
)

func newGate(t testing.TB, to string, grpc, ws passage) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, to: to, grpc: grpc, ws: ws, conns: make(map[net.Conn]bool)}
	g.running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			g.running.Go(func() { g.serve(near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		g.mu.Lock()
		g.ended = true
		g.mu.Unlock()
		g.change(passes, passes)
		g.running.Wait()
	})
	return g
}

func (g *gate) url() string { return "http://" + g.listener.Addr().String() }

// change is another network: what was connected is cut.
func (g *gate) change(grpc, ws passage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grpc, g.ws = grpc, ws
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

// hold has c cut at the next change.
func (g *gate) hold(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		_ = c.Close()
	}
	g.conns[c] = true
}

func (g *gate) serve(near net.Conn) {
	defer func() { _ = near.Close() }()
	g.hold(near)
	in := bufio.NewReader(near)
	first, err := in.Peek(3)
	if err != nil {
		return
	}
	g.mu.Lock()
	what := g.ws
	if string(first) == "PRI" {
		what = g.grpc
	}
	g.mu.Unlock()
	switch what {
	case refused:
		_, _ = io.WriteString(near, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	case swallowed:
		_, _ = io.Copy(io.Discard, in)
		return
	}
	far, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	g.hold(far)
	g.running.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	_, _ = io.Copy(far, in)
	_ = far.Close()
}
