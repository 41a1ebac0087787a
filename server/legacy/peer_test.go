package legacy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/wsconn"
)

// home is the runtime target of every peer here, unless it says otherwise.
const home = "rt_home"

// claims change those of a peer.
type claims = func(*devplatform.Claims)

// who is a peer of today's protocol, by the claims of its token.
func who(c devplatform.Claims, more []claims) devplatform.Claims {
	c.Algorithm = devplatform.EdDSA // signed in the least time
	for _, change := range more {
		change(&c)
	}
	return c
}

func daemonOf(workspace string, more ...claims) devplatform.Claims {
	return who(devplatform.Claims{Role: devplatform.RoleDaemon, WorkspaceID: workspace, RuntimeTargetID: home}, more)
}

func clientOf(workspace string, more ...claims) devplatform.Claims {
	return who(devplatform.Claims{
		Role: devplatform.RoleClient, Scope: "runtime", WorkspaceID: workspace, RuntimeTargetID: home,
	}, more)
}

func pairingOf(workspace string, more ...claims) devplatform.Claims {
	return clientOf(workspace, append([]claims{func(c *devplatform.Claims) { c.Scope = "pairing" }}, more...)...)
}

// viewerOf is a client that watches sessions: of these ids, unless more says otherwise.
func viewerOf(workspace, user string, ids ...string) devplatform.Claims {
	return clientOf(workspace, func(c *devplatform.Claims) {
		c.Scope, c.UserID = "session-events", user
		for _, id := range ids {
			c.SessionChannels = append(c.SessionChannels, "agent-session:"+id)
		}
	})
}

// watches makes a client one that may watch a session.
func watches(id string) claims {
	return func(c *devplatform.Claims) {
		c.Scope, c.SessionChannels = "session-events", []string{"agent-session:" + id}
	}
}

func workerOf(workspace, executor string) devplatform.Claims {
	return who(devplatform.Claims{Role: devplatform.RoleWorker, WorkspaceID: workspace, ManagedExecutorID: executor}, nil)
}

func at(target string) claims       { return func(c *devplatform.Claims) { c.RuntimeTargetID = target } }
func install(id string) claims      { return func(c *devplatform.Claims) { c.InstallID = id } }
func generation(n uint64) claims    { return func(c *devplatform.Claims) { c.DaemonIssueGeneration = n } }
func profile(name string) claims    { return func(c *devplatform.Claims) { c.E2EEProfile = name } }
func machine(id string) claims      { return func(c *devplatform.Claims) { c.MachineID = id } }
func ttl(d time.Duration) claims    { return func(c *devplatform.Claims) { c.TTL = d } }
func without(claim string) claims   { return extra(claim, nil) }
func policyMode(mode string) claims { return func(c *devplatform.Claims) { c.PolicyMode = mode } }
func clientID(id string) claims     { return func(c *devplatform.Claims) { c.ClientID = id } }

func extra(claim string, value any) claims {
	return func(c *devplatform.Claims) {
		if c.Extra == nil {
			c.Extra = map[string]any{}
		}
		c.Extra[claim] = value
	}
}

func tokenOf(t *testing.T, c devplatform.Claims) string {
	t.Helper()
	token, err := platform.MintLegacy(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// queryOf is the query that goes with a token.
func queryOf(c devplatform.Claims) string {
	q := url.Values{"role": {c.Role}, "workspaceId": {c.WorkspaceID}}
	if c.RuntimeTargetID != "" {
		q.Set("runtimeTargetId", c.RuntimeTargetID)
	}
	return q.Encode()
}

// request is an upgrade.
type request struct {
	query     string
	header    http.Header
	protocols []string
}

// bearer is how daemons and workers ask: with the header Authorization and no subprotocol.
func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// requestOf is how a peer of these claims asks: a client as browsers do, with a subprotocol, for they have no headers.
func requestOf(t *testing.T, c devplatform.Claims) request {
	t.Helper()
	token := tokenOf(t, c)
	if c.Role == devplatform.RoleClient {
		return request{query: queryOf(c), protocols: []string{"viewport.v1", "auth." + token}}
	}
	return request{query: queryOf(c), header: bearer(token)}
}

// message is one that a peer has received.
type message struct {
	kind wsconn.Kind
	text string
}

// peer is an open connection. What comes is read, and pings are answered, by a goroutine of its own.
type peer struct {
	t        *testing.T
	r        *relay
	conn     *wsconn.Conn
	protocol string // the one that was selected
	in       chan message
	err      error // of the end; set when in is closed
	gone     chan struct{}
}

// dial opens a connection, or says why there is none.
func (r *relay) dial(q request) (*peer, error) {
	r.t.Helper()
	d := &wsconn.Dialer{Header: q.header, Protocols: q.protocols}
	conn, protocol, err := d.Dial(r.ctx, "ws://"+r.addr+"/ws?"+q.query, wsconn.Config{Limit: 8 << 20})
	if err != nil {
		return nil, err
	}
	p := &peer{
		t: r.t, r: r, conn: conn, protocol: protocol, in: make(chan message, 4096), gone: make(chan struct{}),
	}
	go p.read()
	r.t.Cleanup(p.leave)
	return p, nil
}

func (p *peer) read() {
	defer close(p.in)
	for {
		kind, text, err := p.conn.ReadMessage(nil)
		if err != nil {
			p.err = err
			_ = p.conn.Close()
			return
		}
		select {
		case p.in <- message{kind, string(text)}:
		case <-p.gone:
			p.conn.Abort()
		}
	}
}

// leave cuts the connection, as a machine that is switched off would if its kernel told, and waits until nothing of it
// runs.
func (p *peer) leave() {
	select {
	case <-p.gone:
		return
	default:
	}
	close(p.gone)
	p.conn.Abort()
	for range p.in {
	}
}

// connect is dial for claims that are admitted.
func (r *relay) connect(c devplatform.Claims) *peer {
	r.t.Helper()
	p, err := r.dial(requestOf(r.t, c))
	if err != nil {
		r.t.Fatalf("a %s of %s/%s: %v", c.Role, c.WorkspaceID, c.RuntimeTargetID, describe(err))
	}
	return p
}

// describe is an error of dial with what the relay answered.
func describe(err error) string {
	if refused, ok := errors.AsType[*wsconn.DialError](err); ok {
		return fmt.Sprintf("%v %s", refused.Status, refused.Body)
	}
	return fmt.Sprint(err)
}

// refused wants an upgrade to be refused with a status before it is one, and returns the answer.
func (r *relay) refused(q request, status int, reason string) *wsconn.DialError {
	r.t.Helper()
	_, err := r.dial(q)
	refused, ok := errors.AsType[*wsconn.DialError](err)
	if !ok || refused.Status != status || !strings.Contains(string(refused.Body), `"`+reason+`"`) {
		r.t.Fatalf("got %s, want %d %s", describe(err), status, reason)
	}
	return refused
}

// send sends a text each.
func (p *peer) send(texts ...string) {
	p.t.Helper()
	var out []byte
	for _, text := range texts {
		out = p.conn.AppendMessage(out, wsconn.Text, []byte(text))
	}
	p.write(out)
}

func (p *peer) sendBinary(data string) {
	p.t.Helper()
	p.write(p.conn.AppendMessage(nil, wsconn.Binary, []byte(data)))
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if err := p.conn.Send(b); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// next receives a message, or the end.
func (p *peer) next() (message, error) {
	select {
	case m, ok := <-p.in:
		if !ok {
			return m, p.err
		}
		return m, nil
	case <-p.r.ctx.Done():
		return message{}, errors.New("nothing comes")
	}
}

// want receives the next messages, which must be these, byte for byte, as text.
func (p *peer) want(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		m, err := p.next()
		if err != nil || m.kind != wsconn.Text || m.text != text {
			p.t.Fatalf("got kind %d %.300q, %v, want the text %.300q", m.kind, m.text, err, text)
		}
	}
}

// wantClose receives the end, before which nothing may come, and which must be this close frame.
func (p *peer) wantClose(code int, reason string) {
	p.t.Helper()
	m, err := p.next()
	closed, ok := errors.AsType[*wsconn.CloseError](err)
	if !ok || closed.Local || closed.Code != code || closed.Reason != reason {
		p.t.Fatalf("got %.300q, %v, want the end with %d %q", m.text, err, code, reason)
	}
}

// wantEnd receives until the connection ends, however it does.
func (p *peer) wantEnd() error {
	p.t.Helper()
	for {
		if _, err := p.next(); err != nil {
			if p.r.ctx.Err() != nil {
				p.t.Fatal("the connection goes on")
			}
			return err
		}
	}
}

const invalidFrame = `{"type":"relay_status","code":"INVALID_FRAME",` +
	`"message":"client frame must be a valid runtime or pairing control frame","workspaceId":`

// quiet waits, by a question to the relay, until all that the client has sent was handled, and wants nothing to have
// come for it that was not received before.
func (p *peer) quiet(workspace string) {
	p.t.Helper()
	p.send("?")
	p.want(invalidFrame + `"` + workspace + `"}`)
}
