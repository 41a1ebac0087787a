package hostilerelay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
)

// maxSessions is how many session ids a link remembers.
const maxSessions = 4096

// role is whose link it is.
type role string

const (
	atClient role = "client"
	atDaemon role = "daemon"
)

func (r role) other() role {
	if r == atClient {
		return atDaemon
	}
	return atClient
}

// way is where an envelope goes.
type way int

const (
	// down is from the relay to the endpoint: what happens here the honest relay does not see.
	down way = iota
	// up is from the endpoint to the relay.
	up
)

// rule sees an envelope on its way and returns what goes on in its place. Rules are called one at a time, so their
// state needs no lock; they may push to any link, but not wait. Nil is no rule.
type rule func(l *link, w way, f *frame) []*frame

// middle is the man in the middle: to the endpoints it is the relay.
type middle struct {
	// Static.
	t       testing.TB
	addr    string
	conn    *grpc.ClientConn
	server  *grpc.Server
	running sync.WaitGroup

	// mu serialises rules. Guarded by it:
	mu       sync.Mutex
	rule     rule
	announce func(of role, md metadata.MD) // changes what the relay says in its response headers
	admit    func(of role) error           // an error refuses a link in the relay's place
	greet    func(l *link)                 // sees each link when it is admitted
	links    []*link                       // in order of admission; those that ended, too
	changed  chan struct{}                 // closed at the next change of links
}

// link is one stream of an endpoint.
type link struct {
	// Static.
	m      *middle
	role   role
	ctx    context.Context // ends with the stream
	toUp   *queue
	toDown *queue

	// Guarded by m.mu.
	trailer  metadata.MD // the relay's
	sessions map[string]bool
}

// newMiddle starts one in front of the relay at addr. It ends with the test.
func newMiddle(t testing.TB, addr string) *middle {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(envelope.Codec{}), grpc.MaxCallRecvMsgSize(2*maxEnvelope)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{t: t, addr: ln.Addr().String(), conn: conn, changed: make(chan struct{})}
	m.server = grpc.NewServer(grpc.ForceServerCodecV2(envelope.Codec{}), grpc.MaxRecvMsgSize(2*maxEnvelope),
		grpc.MaxSendMsgSize(4*maxEnvelope), grpc.UnknownServiceHandler(m.serve))
	m.running.Go(func() { _ = m.server.Serve(ln) })
	t.Cleanup(func() {
		m.server.Stop()
		_ = conn.Close()
		m.running.Wait()
	})
	return m
}

// set makes r the rule from the next envelope on.
func (m *middle) set(r rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rule = r
}

// do runs f as a rule is run: alone.
func (m *middle) do(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// latest is the newest link of a role. Called by rules, or within do.
func (m *middle) latest(r role) *link {
	for i := len(m.links) - 1; i >= 0; i-- {
		if m.links[i].role == r {
			return m.links[i]
		}
	}
	return nil
}

// latestOf is the newest link of a role over which an envelope of a session came to the endpoint or from it.
func (m *middle) latestOf(r role, session string) *link {
	for i := len(m.links) - 1; i >= 0; i-- {
		if l := m.links[i]; l.role == r && l.sessions[session] {
			return l
		}
	}
	return m.latest(r)
}

// count is how many links of a role there have been.
func (m *middle) count(r role) int {
	n := 0
	for _, l := range m.links {
		if l.role == r {
			n++
		}
	}
	return n
}

// await waits until a role has had n links.
func (m *middle) await(ctx context.Context, r role, n int) {
	for {
		var enough bool
		var changed chan struct{}
		m.do(func() { enough, changed = m.count(r) >= n, m.changed })
		if enough {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			m.t.Errorf("the %s did not come for the %dth time: %v", r, n, ctx.Err())
			return
		}
	}
}

// serve is one stream.
func (m *middle) serve(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	method, _ := grpc.Method(ctx)
	l := &link{m: m, role: atDaemon, ctx: ctx, toUp: newQueue(), toDown: newQueue(), sessions: map[string]bool{}}
	if method == relayv1.RelayService_ConnectClient_FullMethodName {
		l.role = atClient
	}
	far, err := m.open(stream, method, l)
	if err != nil {
		return err
	}
	m.do(func() {
		m.links = append(m.links, l)
		if m.greet != nil {
			m.greet(l)
		}
		close(m.changed)
		m.changed = make(chan struct{})
	})
	m.running.Go(func() { l.read(stream, up, l.toUp) })
	m.running.Go(func() { l.read(far, down, l.toDown) })
	m.running.Go(func() {
		_ = l.write(far, l.toUp)
		_ = far.CloseSend()
	})
	// Everything else ends with the stream's context.
	err = l.write(stream, l.toDown)
	m.do(func() { stream.SetTrailer(l.trailer) })
	return err
}

// open opens the stream's other half at the relay and passes its response headers on.
func (m *middle) open(stream grpc.ServerStream, method string, l *link) (grpc.ClientStream, error) {
	var refused error
	m.do(func() {
		if m.admit != nil {
			refused = m.admit(l.role)
		}
	})
	if refused != nil {
		return nil, refused
	}
	md, _ := metadata.FromIncomingContext(l.ctx)
	md = md.Copy()
	for _, own := range []string{":authority", "content-type", "user-agent"} {
		delete(md, own)
	}
	far, err := m.conn.NewStream(metadata.NewOutgoingContext(l.ctx, md),
		&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return nil, err
	}
	header, err := far.Header()
	if err != nil {
		return nil, err
	}
	header = header.Copy()
	delete(header, "content-type")
	m.do(func() {
		if m.announce != nil {
			m.announce(l.role, header)
		}
	})
	return far, stream.SendHeader(header)
}

// receiver and sender are what both kinds of streams can do.
type (
	receiver interface{ RecvMsg(m any) error }
	sender   interface{ SendMsg(m any) error }
)

// read applies the rule to what comes and queues what is left, until the stream ends.
func (l *link) read(from receiver, w way, to *queue) {
	var b envelope.Batch
	defer b.Free()
	for {
		if err := from.RecvMsg(&b); err != nil {
			if far, ok := from.(grpc.ClientStream); ok {
				l.m.do(func() { l.trailer = far.Trailer() })
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			to.end(err)
			return
		}
		if err := b.Split(envelope.Limits{MaxEnvelope: maxEnvelope, MaxBatch: maxEnvelope}); err != nil {
			l.m.t.Errorf("an honest end sent what is no envelope: %v", err)
		}
		l.m.do(func() {
			for _, f := range frames(&b) {
				if len(l.sessions) < maxSessions {
					l.sessions[string(f.Session)] = true
				}
				if l.m.rule == nil {
					to.push(f)
					continue
				}
				to.push(l.m.rule(l, w, f)...)
			}
		})
		b.Free()
		to.wait(l.ctx)
	}
}

// write sends what is queued, and returns what the stream is to end with.
func (l *link) write(to sender, from *queue) error {
	for {
		o, err := from.take(l.ctx)
		if o.Frames() == 0 {
			return err
		}
		if err := to.SendMsg(&o); err != nil {
			o.Free()
			return err
		}
	}
}

// inject sends frames as if they had come on this way.
func (l *link) inject(w way, fs ...*frame) {
	if w == up {
		l.toUp.push(fs...)
		return
	}
	l.toDown.push(fs...)
}

// cut ends the stream with err after what was queued; nil is an end of the stream as if all were well.
func (l *link) cut(err error) { l.toDown.end(err) }

// drop ends the stream as a network does that fails.
func (l *link) drop() { l.cut(status.Error(codes.Unavailable, "the test cut this link")) }
