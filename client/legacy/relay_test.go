package legacy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/wsconn"
)

// testRelay forwards as a relay of today does, for one target: requests by their ids, envelopes by their session.
type testRelay struct {
	t      testing.TB
	url    string
	server *httptest.Server

	mu       sync.Mutex
	refuse   int                    // status for upgrades; 0: they are let in
	close    string                 // reason to close at once after the upgrade; "": it is not
	upgrades int                    // seen
	change   func(f frame) []frame  // what to forward in place of f; nil: f
	loose    bool                   // what names nobody goes to a client
	daemon   *peer                  // nil while there is none
	peers    map[*peer]bool         // all
	owners   map[string]*peer       // by request or session id
	header   map[string]http.Header // last, by role
}

type frame struct {
	up   bool // to the daemon
	text []byte
}

type peer struct {
	conn   *wsconn.Conn
	daemon bool
}

func (p *peer) send(text []byte) { _ = p.conn.Send(p.conn.AppendMessage(nil, wsconn.Text, text)) }

func startRelay(t testing.TB) *testRelay {
	t.Helper()
	r := &testRelay{
		t: t, peers: map[*peer]bool{}, owners: map[string]*peer{}, header: map[string]http.Header{},
	}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	r.url = "ws" + strings.TrimPrefix(r.server.URL, "http") + "/ws"
	t.Cleanup(func() {
		r.cut(true)
		r.server.Close()
	})
	return r
}

func (r *testRelay) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *testRelay) seenUpgrades() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.upgrades
}

// cut ends the links of clients, and of the daemon.
func (r *testRelay) cut(daemon bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.peers {
		if !p.daemon || daemon {
			p.conn.Abort()
		}
	}
}

func (r *testRelay) cutDaemon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.daemon != nil {
		r.daemon.conn.Abort()
	}
}

func (r *testRelay) serve(w http.ResponseWriter, req *http.Request) {
	role := req.URL.Query().Get("role")
	r.mu.Lock()
	r.upgrades++
	r.header[role] = req.Header
	status, reason := r.refuse, r.close
	r.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if refusal := wsconn.Check(req); refusal != nil || req.URL.Path != "/ws" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		r.t.Error(err)
		return
	}
	received, _ := rw.Reader.Peek(rw.Reader.Buffered())
	p := &peer{conn: wsconn.New(nc, received, wsconn.Config{Limit: 1 << 20}), daemon: role == "workspace-daemon"}
	accept := wsconn.AppendAccept(nil, req.Header.Get("Sec-WebSocket-Key"), "")
	if reason != "" {
		_, _ = nc.Write(accept)
		p.conn.End(4008, reason)
		_ = p.conn.Close()
		return
	}
	r.mu.Lock() // who has got the answer is there
	r.peers[p] = true
	if p.daemon {
		r.daemon = p
		clear(r.owners)
	}
	_, _ = nc.Write(accept)
	r.mu.Unlock()
	for {
		_, text, err := p.conn.ReadMessage(nil)
		if err != nil {
			break
		}
		r.forward(p, frame{up: !p.daemon, text: text})
	}
	_ = p.conn.Close()
	r.mu.Lock()
	delete(r.peers, p)
	if r.daemon == p {
		r.daemon = nil
		clear(r.owners)
	}
	r.mu.Unlock()
}

func (r *testRelay) forward(from *peer, f frame) {
	r.mu.Lock()
	change := r.change
	r.mu.Unlock()
	all := []frame{f}
	if change != nil {
		all = change(f)
	}
	for _, f := range all {
		if to := r.route(from, f); to != nil {
			to.send(f.text)
		}
	}
}

// route is who gets f.
func (r *testRelay) route(from *peer, f frame) *peer {
	var ids struct{ Type, RequestID, SessionID string }
	_ = json.Unmarshal(f.text, &ids)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.up {
		if r.daemon == nil {
			from.send([]byte(`{"type":"relay_status","code":"DAEMON_UNAVAILABLE","workspaceId":"acme","retryable":true}`))
			return nil
		}
		if ids.RequestID != "" {
			r.owners[ids.RequestID] = from
		}
		return r.daemon
	}
	if ids.RequestID != "" {
		owner := r.owners[ids.RequestID]
		r.owners[ids.SessionID] = owner
		return owner
	}
	if r.loose && ids.SessionID == "" {
		for p := range r.peers {
			if !p.daemon {
				return p
			}
		}
	}
	return r.owners[ids.SessionID]
}

// inject sends a text to the daemon, or to all clients.
func (r *testRelay) inject(up bool, text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.peers {
		if p.daemon == up {
			p.send(text)
		}
	}
}

// parsed is a frame that must be one.
func parsed(t *testing.T, text []byte) any {
	t.Helper()
	f, err := legacycrypto.Parse(text)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

func waitFor(ctx context.Context, t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-ctx.Done():
		t.Fatalf("waited in vain for %s", what)
	}
}
