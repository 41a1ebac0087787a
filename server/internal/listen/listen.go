// Package listen serves two protocols on one port: native gRPC (HTTP/2, plain with prior knowledge or over TLS) and
// HTTP/1.1 (health, later WebSocket). It owns every connection from accept until it knows what it speaks, and hands it
// to one of two net.Listeners; from then on it belongs to the server that accepted it.
//
// Plain connections are told apart by their first bytes, which are looked at and not read (MSG_PEEK), so that gRPC gets
// the untouched *net.TCPConn and keeps its pooled reads. With TLS the handshake is done here and ALPN decides; who
// offers both gets HTTP/1.1, because gRPC clients offer h2 alone, and curl and browsers offer both.
//
// It knows nothing of gRPC services, HTTP handlers or admission, and starts neither server.
package listen

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	// DefaultSniffTimeout is how long a peer may take until it is known what it speaks, a TLS handshake included.
	DefaultSniffTimeout = 10 * time.Second
	// DefaultMaxPending bounds the connections that did not say yet what they speak. Each costs a descriptor and a
	// goroutine, about 5 KiB, and with TLS up to 40 KiB more while its handshake is under way.
	DefaultMaxPending = 1024
)

// Options tune a Mux. The zero value is a plain port with the defaults.
type Options struct {
	// TLS makes it a TLS port; see LoadTLS. New clones it, sets NextProtos, and raises MinVersion to TLS 1.2.
	TLS *tls.Config
	// SniffTimeout replaces DefaultSniffTimeout.
	SniffTimeout time.Duration
	// MaxPending replaces DefaultMaxPending. At the bound the oldest pending connection gives way to the newest: an
	// honest peer says what it speaks within a round trip, so under a flood it is the silent ones that wait long.
	MaxPending int
	// Log gets failed accepts as warnings and everything about single connections at level debug. Nil: nowhere.
	Log *slog.Logger
}

// Stats counts what became of the connections of a Mux.
type Stats struct {
	// Pending is how many did not say yet what they speak, or were not taken yet by their server.
	Pending int
	// Accepted counts all; each of them ends in one of the counters below or is pending.
	Accepted uint64
	// GRPC and HTTP count those handed over.
	GRPC, HTTP uint64
	// Silent counts those closed because SniffTimeout passed.
	Silent uint64
	// Evicted counts those that gave way at MaxPending.
	Evicted uint64
	// Foreign counts those whose first bytes are neither HTTP nor, on a TLS port, TLS.
	Foreign uint64
	// Failed counts failed TLS handshakes and those whose peer left before it said anything.
	Failed uint64
	// Unserved counts those that nobody took: the Mux or the protocol's listener was closed.
	Unserved uint64
	// AcceptErrors counts accepts that failed and were tried again.
	AcceptErrors uint64
}

// Mux is one port that serves gRPC and HTTP/1.1.
type Mux struct {
	// static after construction

	base       net.Listener
	tls        *tls.Config // nil: plain
	timeout    time.Duration
	maxPending int
	log        *slog.Logger
	grpc, http *sub
	refusing   chan struct{} // closed by StopAccepting
	closed     chan struct{} // closed by Close

	refuseOnce sync.Once
	refuseErr  error
	closeOnce  sync.Once
	closeErr   error
	sniffers   sync.WaitGroup // only Serve adds; Serve waits

	// guarded by mu

	mu      sync.Mutex
	pending *list.List // of *pendingConn, oldest first

	// atomics

	accepted, silent, evicted, foreign, failed, unserved, acceptErrors atomic.Uint64
}

// New makes a Mux of base, which it owns from now on. Connections of base must be a syscall.Conn, as those of TCP and
// Unix sockets are. Nothing is accepted before Serve.
func New(base net.Listener, o Options) *Mux {
	m := &Mux{
		base:       base,
		timeout:    o.SniffTimeout,
		maxPending: o.MaxPending,
		log:        o.Log,
		refusing:   make(chan struct{}),
		closed:     make(chan struct{}),
		pending:    list.New(),
	}
	if m.timeout <= 0 {
		m.timeout = DefaultSniffTimeout
	}
	if m.maxPending <= 0 {
		m.maxPending = DefaultMaxPending
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		m.tls = o.TLS.Clone()
		m.tls.NextProtos = []string{protoHTTP1, protoHTTP2} // in order of preference: see the package comment
		m.tls.MinVersion = max(m.tls.MinVersion, tls.VersionTLS12)
	}
	m.grpc = newSub(m)
	m.http = newSub(m)
	return m
}

// GRPC returns the listener of connections that speak HTTP/2: *net.TCPConn with nothing read, or *tls.Conn after its
// handshake (serve them with Credentials). Closing it closes neither the port nor the other listener.
func (m *Mux) GRPC() net.Listener { return m.grpc }

// HTTP returns the listener of connections that speak HTTP/1.1, or something that an HTTP/1.1 server answers with 400.
// Closing it closes neither the port nor the other listener.
func (m *Mux) HTTP() net.Listener { return m.http }

// Addr returns the address of the port.
func (m *Mux) Addr() net.Addr { return m.base.Addr() }

// Stats returns a snapshot of the counters.
func (m *Mux) Stats() Stats {
	m.mu.Lock()
	pending := m.pending.Len()
	m.mu.Unlock()
	return Stats{
		Pending:      pending,
		Accepted:     m.accepted.Load(),
		GRPC:         m.grpc.taken.Load(),
		HTTP:         m.http.taken.Load(),
		Silent:       m.silent.Load(),
		Evicted:      m.evicted.Load(),
		Foreign:      m.foreign.Load(),
		Failed:       m.failed.Load(),
		Unserved:     m.unserved.Load(),
		AcceptErrors: m.acceptErrors.Load(),
	}
}

// StopAccepting closes the listening socket, so that another process may bind the port. Connections that were accepted
// before are served on, and Serve goes on until its context ends or Close is called.
func (m *Mux) StopAccepting() error {
	m.refuseOnce.Do(func() {
		close(m.refusing)
		m.refuseErr = m.base.Close()
	})
	return m.refuseErr
}

// CloseFresh closes the HTTP/2 connections that were handed over within the last SniffTimeout. A gRPC server that is
// told to stop waits for those that have not sent their SETTINGS yet, and has no other means to end them.
func (m *Mux) CloseFresh() { m.grpc.closeFresh() }

// Close closes the port, both listeners and every connection that was not handed over. It does not wait; Serve does.
func (m *Mux) Close() error {
	m.closeOnce.Do(func() {
		close(m.closed)
		m.closeErr = m.StopAccepting()
		m.mu.Lock()
		defer m.mu.Unlock()
		for e := m.pending.Front(); e != nil; e = e.Next() {
			_ = e.Value.(*pendingConn).raw.Close()
		}
	})
	return m.closeErr
}

// Serve accepts until ctx ends, Close is called (both return nil) or the port fails for good. It closes the Mux and
// returns only when none of its goroutines is left. Call it once.
func (m *Mux) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = m.Close() })
	defer func() {
		stop()
		_ = m.Close()
		m.sniffers.Wait()
	}()
	for backoff := time.Duration(0); ; {
		conn, err := m.base.Accept()
		if err == nil {
			backoff = 0
			m.accepted.Add(1)
			if p := m.admit(conn); p != nil {
				m.sniffers.Go(func() { m.sniff(p) })
			}
			continue
		}
		if isDone(m.refusing) {
			<-m.closed
			return nil
		}
		if !worthRetrying(err) {
			return err
		}
		m.acceptErrors.Add(1)
		// The pending ones hold descriptors, too, and are ended by their deadline: the loop need not close any.
		backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
		m.log.Warn("accept failed; trying again", "err", err, "in", backoff)
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-m.refusing:
			timer.Stop()
		}
	}
}

func (m *Mux) isClosed() bool { return isDone(m.closed) }

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// worthRetrying says whether an accept that failed may succeed later: what accept(2) passes on from a connection that
// broke while it queued, and what ends when descriptors or memory are free again.
func worthRetrying(err error) bool {
	for _, errno := range retryable {
		if errors.Is(err, errno) {
			return true
		}
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
