package bench

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/wsconn"
)

// The bare forwarder over WebSocket, by the relay's own WebSocket code: each message of a link goes, as it was received,
// to the queue of the other link of its workspace, which a goroutine sends that lives while there is something to send,
// several messages in one write. It admits everybody, reads no message and bounds nothing.

// writeBytes is about the most that goes into one write of several messages, as in the relay.
const writeBytes = 16 << 10

type bareMessage struct {
	kind wsconn.Kind
	data []byte
}

// bareEnd is a link with its queue, which is there before the link.
type bareEnd struct {
	mu      sync.Mutex
	conn    *wsconn.Conn
	queue   []bareMessage
	sending bool
}

func (e *bareEnd) push(m bareMessage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, m)
	e.wake()
}

// wake starts a sender if one is needed. Called with e.mu held.
func (e *bareEnd) wake() {
	if e.conn != nil && !e.sending && len(e.queue) > 0 {
		e.sending = true
		go e.send()
	}
}

func (e *bareEnd) attach(c *wsconn.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conn = c
	e.wake()
}

// swap takes the queue and leaves an empty one with the array of what was sent. The sender ends if it gets nothing.
func (e *bareEnd) swap(sent []bareMessage) []bareMessage {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(sent)
	q := e.queue
	e.queue = sent[:0]
	e.sending = len(q) > 0
	return q
}

func (e *bareEnd) send() {
	b := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(b)
	*b = (*b)[:0]
	for q := e.swap(nil); len(q) > 0; q = e.swap(q) {
		for i, m := range q {
			*b = e.conn.AppendMessage(*b, m.kind, m.data)
			if i+1 < len(q) && len(*b)+len(q[i+1].data) <= writeBytes {
				continue
			}
			if e.conn.Send(*b) != nil {
				return // the benchmark has ended
			}
			*b = (*b)[:0]
		}
	}
}

var writeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// bareWebSocket finds links by workspace.
type bareWebSocket struct {
	mu    sync.Mutex
	pairs map[string]*[2]bareEnd // daemon and client
}

func (f *bareWebSocket) pair(workspace string) *[2]bareEnd {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pairs[workspace]
	if p == nil {
		p = new([2]bareEnd)
		f.pairs[workspace] = p
	}
	return p
}

func (f *bareWebSocket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, side := r.URL.Query(), 0
	if query.Get("role") == "client" {
		side = 1
	}
	pair := f.pair(query.Get("workspaceId"))
	if bad := wsconn.Check(r); bad != nil {
		http.Error(w, bad.Text, bad.Status)
		return
	}
	protocol := ""
	if strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), relayws.Subprotocol) {
		protocol = relayws.Subprotocol
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	received, _ := rw.Reader.Peek(rw.Reader.Buffered())
	conn := wsconn.New(nc, received, wsconn.Config{Limit: 2 << 20})
	if conn.Send(wsconn.AppendAccept(nil, r.Header.Get("Sec-WebSocket-Key"), protocol)) != nil {
		return
	}
	pair[side].attach(conn)
	go read(conn, &pair[1-side]) // not here: the stack of HTTP's goroutine is deep
}

func read(conn *wsconn.Conn, to *bareEnd) {
	defer func() { _ = conn.Close() }()
	for {
		kind, data, err := conn.ReadMessage(nil)
		if err != nil {
			return
		}
		to.push(bareMessage{kind, data})
	}
}

// serveBareWebSocket serves until ctx ends; secure nil: plain.
func serveBareWebSocket(ctx context.Context, ln net.Listener, secure *tls.Config) error {
	if secure != nil {
		secure.NextProtos = []string{"http/1.1"}
		ln = tls.NewListener(ln, secure)
	}
	s := &http.Server{Handler: &bareWebSocket{pairs: make(map[string]*[2]bareEnd)}}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}
