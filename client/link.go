package client

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batchBytes is the most one message carries: with gRPC's 5-byte prefix one HTTP/2 DATA frame of 16,384 bytes.
	batchBytes = 16384 - 5
	// messageBytes is gRPC's limit on a message, both ways (docs/protocol.md, Service).
	messageBytes = 4 << 20
	// maxReplies bounds the answers that belong to no session (RESET, HEARTBEAT) and wait to be sent; more are dropped,
	// their askers ask again.
	maxReplies = 256
	// closeLinger is how long a link that is closed here may take to get rid of what is due.
	closeLinger = 2 * time.Second
	// dialTimeout bounds connecting and admission together.
	dialTimeout = 20 * time.Second
)

// link is one admitted way to the relay, for all sessions of a Client or Listener. One goroutine reads it and one writes
// it; end ends both. What becomes of the sessions is the keeper's business.
type link struct {
	// Static after install.
	cfg      *Config
	keeper   *keeper
	expires  time.Time // of the token; zero: unknown
	since    time.Time // when it was installed
	over     transport
	name     string // of the transport
	relay    announced
	wake     chan struct{}      // has an element when there may be something to send
	leave    chan time.Duration // the relay asked to leave after so long; one element
	done     chan struct{}      // closed when the link has ended; err is set before
	finished sync.WaitGroup     // reader and writer

	// leaving is set once the keeper has seen leave, and pace is what it waits on top; both are the keeper's own.
	leaving bool
	pace    time.Duration

	// lastRecv is when the last message came, Unix nanoseconds.
	lastRecv atomic.Int64

	// mu guards what follows. It is taken after a session's and the keeper's mutex, never before them.
	mu       sync.Mutex
	ready    []*Session // want to send, each once, served in turn
	replies  [][]byte   // see maxReplies
	watchdog *time.Timer
	closing  bool   // send what is due and then end
	err      *Error // why the link ended; nil while it has not
}

// newLink is a link over what the relay has admitted. Nothing is read or written before start.
func newLink(cfg *Config, over transport, name string, relay announced, token bearer) *link {
	return &link{
		cfg: cfg, over: over, name: name, relay: relay, expires: token.expires,
		wake: make(chan struct{}, 1), leave: make(chan time.Duration, 1), done: make(chan struct{}),
	}
}

// start lets frames flow.
func (l *link) start() {
	l.lastRecv.Store(time.Now().UnixNano())
	l.finished.Add(2)
	go l.read()
	go l.write()
	if l.relay.heartbeat > 0 {
		l.mu.Lock()
		l.watchdog = time.AfterFunc(l.relay.heartbeat, l.watch)
		l.mu.Unlock()
	}
}
