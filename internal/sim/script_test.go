package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

const (
	typeInit     = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	typeResponse = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	typeData     = relayv1.FrameType_FRAME_TYPE_DATA
	typeClose    = relayv1.FrameType_FRAME_TYPE_CLOSE
	typeAck      = relayv1.FrameType_FRAME_TYPE_ACK
	typeResume   = relayv1.FrameType_FRAME_TYPE_RESUME
	typeResumed  = relayv1.FrameType_FRAME_TYPE_RESUMED
	typeReset    = relayv1.FrameType_FRAME_TYPE_RESET
	typeStatus   = relayv1.FrameType_FRAME_TYPE_STATUS
)

// script is a world in which a test says what happens: the same machines, endpoints and links as in a run from a
// seed.
type script struct {
	t       *testing.T
	w       *world
	daemon  *endpoint
	clients []*endpoint
	apps    map[*end]*app
	seen    []seen // every frame that an endpoint or the relay put on a wire
	// alter, if not nil, decides what becomes of a frame on the wire.
	alter func(l *link, up bool, f frame) []frame
	// deaf ends do not read.
	deaf map[*end]bool
}

// app is what an application has said and heard.
type app struct {
	rest  []byte // of the message that Send has begun
	queue [][]byte
	close bool
	heard []string
	err   error // what Next failed with
	sent  error // what Send failed with
}

// frame is an envelope on a wire.
type frame struct {
	envelope.Header
	ciphertext []byte
}

type seen struct {
	at   time.Time
	from *endpoint // nil: the relay
	to   *endpoint // nil: the relay
	frame
}

// newScript is a world with a daemon and clients that are connected.
func newScript(t *testing.T, o Options) *script {
	t.Helper()
	o.Tenants, o.Clients = 1, max(o.Clients, 1)
	if o.Window == 0 {
		o.Window = 131_072
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = 16_001
	}
	w := newWorld(1, o)
	one := w.tenants[0]
	s := &script{
		t: t, w: w, daemon: one.daemon, clients: one.clients, apps: map[*end]*app{}, deaf: map[*end]bool{},
	}
	w.scripted, w.alter = true, s.wire
	one.disturbed, one.silent = true, true
	s.flow()
	return s
}

// open opens a session from a client of a new world.
func open(t *testing.T, o Options) (s *script, p *pair) {
	t.Helper()
	s = newScript(t, o)
	return s, s.open(s.clients[0])
}

// wire notes what is put on a wire and lets the test alter it.
func (s *script) wire(l *link, up bool, message []byte) (out []byte) {
	var b envelope.Batch
	b.Load(slices.Clone(message))
	s.must(b.Split(frameLimits))
	for i := range b.Frames() {
		f := frame{b.Frames()[i].Header, b.Ciphertext(i)}
		to := []frame{f}
		if s.alter != nil {
			to = s.alter(l, up, f)
		}
		for _, f := range to {
			n := seen{at: s.w.now, frame: f, from: l.endpoint}
			if !up {
				n.from, n.to = nil, l.endpoint
			}
			s.seen = append(s.seen, n)
			out = envelope.Append(out, &f.Header, f.ciphertext)
		}
	}
	return out
}

func (s *script) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.w.tail())
	}
}

// connect gives an endpoint a link, whatever it has.
func (s *script) connect(e *endpoint) *link {
	s.t.Helper()
	if e.current != nil {
		e.moveAt = s.w.now
	}
	e.connectAt = s.w.now
	e.connect()
	s.flow()
	if e.current == nil || e.dialing != nil {
		s.t.Fatalf("%s is not connected\n%s", e.name, s.w.tail())
	}
	return e.current
}

// open opens a session.
func (s *script) open(c *endpoint) *pair {
	s.t.Helper()
	p := s.dial(c)
	s.flow()
	if p.daemon == nil || !p.client.opened || !p.daemon.opened {
		s.t.Fatalf("session %d does not open\n%s", p.n, s.w.tail())
	}
	return p
}

// dial begins a session.
func (s *script) dial(c *endpoint) *pair {
	s.t.Helper()
	c.toOpen++
	s.must(s.w.begin(c))
	return s.w.tenants[0].pairs[len(s.w.tenants[0].pairs)-1]
}

// flow lets everything happen that can without time passing.
func (s *script) flow() {
	s.t.Helper()
	s.flowUntil(func() bool { return false })
}

// flowUntil does so until something is so.
func (s *script) flowUntil(reached func() bool) {
	s.t.Helper()
	for range 1_000_000 {
		s.w.steps++
		moved := s.applications()
		if s.w.turns(); len(s.w.turn) > 0 {
			moved = true
			s.must(s.w.take(s.w.turn[0]))
		}
		s.must(errors.Join(s.w.checkEnds(), s.w.checkRelays()))
		if !moved || reached() {
			return
		}
	}
	s.t.Fatalf("no end\n%s", s.w.tail())
}

// applications lets each say what it has to and hear what there is.
func (s *script) applications() (moved bool) {
	for _, p := range s.w.tenants[0].pairs {
		if p.waits {
			continue
		}
		for _, x := range []*end{p.client, p.daemon} {
			if x == nil || x.gone {
				continue
			}
			a := s.app(x)
			moved = s.speak(x, a) || moved
			for x.readable && !s.deaf[x] {
				msg, ok, e, err := x.machine.Next(s.w.now)
				x.readable = ok
				x.apply(e)
				if ok {
					a.heard = append(a.heard, string(msg))
				} else if a.err = err; err != nil && !x.opened && !x.over {
					_ = x.failed(err) // begins anew, where it may
				}
				moved = true
			}
		}
	}
	return moved
}

func (s *script) app(x *end) *app {
	if s.apps[x] == nil {
		s.apps[x] = new(app)
	}
	return s.apps[x]
}

func (s *script) speak(x *end, a *app) (moved bool) {
	for !x.blocked && (a.rest != nil || len(a.queue) > 0) && a.sent == nil {
		if a.rest == nil {
			a.rest = pop(&a.queue)
		}
		n, done, e, err := x.machine.Send(a.rest, s.w.now)
		x.blocked = !done
		x.apply(e)
		if a.rest, a.sent = a.rest[n:], err; done {
			a.rest = nil
		}
		moved = true
	}
	if a.close && a.rest == nil && len(a.queue) == 0 {
		a.close = false
		x.apply(x.machine.CloseWrite("", "", s.w.now))
		moved = true
	}
	return moved
}

// say lets an application send texts as soon as it can.
func (s *script) say(x *end, texts ...string) {
	for _, text := range texts {
		s.app(x).queue = append(s.app(x).queue, []byte(text))
	}
	s.speak(x, s.app(x))
}

// close lets an application close its direction after what it has to say.
func (s *script) close(x *end) {
	s.app(x).close = true
	s.speak(x, s.app(x))
}

// pass lets time pass, with everything that becomes possible meanwhile.
func (s *script) pass(d time.Duration) {
	s.t.Helper()
	s.passUntil(d, func() bool { return false })
}

// passUntil does so until something is so, or d is over.
func (s *script) passUntil(d time.Duration, reached func() bool) {
	s.t.Helper()
	until := s.w.now.Add(d)
	for n := 0; ; n++ {
		if n > 100_000 {
			s.t.Fatalf("time does not pass\n%s", s.w.tail())
		}
		s.flowUntil(reached)
		if reached() {
			return
		}
		next := s.w.deadline()
		if next.IsZero() || next.After(until) {
			next = until
		}
		s.w.now = latest(s.w.now, next)
		s.w.due()
		if !s.w.now.Before(until) {
			s.flowUntil(reached)
			return
		}
	}
}

// cut breaks a link at once, with everything lost that is on its way; both ends see it.
func (s *script) cut(l *link) { l.breakAt(0, 0, true, true) }

// reconnect cuts the endpoint's link and gives it a new one.
func (s *script) reconnect(e *endpoint) {
	s.t.Helper()
	s.cut(e.current)
	s.flow()
	s.connect(e)
}

// kill kills the relay and starts another one, to which nobody is connected.
func (s *script) kill() {
	s.t.Helper()
	s.w.strikeRelay(Kill, s.w.front())
	s.w.downUntil = time.Time{}
	s.w.startNode()
	s.w.endpoints(func(e *endpoint) { e.connectAt = s.w.now.Add(time.Hour) })
	for range 8 {
		s.w.endpoints(func(e *endpoint) {
			for _, l := range slices.Clone(e.links) {
				if l.broken && len(l.down) == 0 {
					e.linkEnds(l)
					e.connectAt = s.w.now.Add(time.Hour)
				} else if l.broken {
					s.must(e.receive(l))
				}
			}
		})
	}
}

// count is how many frames of a type an endpoint sent (nil: the relay).
func (s *script) count(from *endpoint, typ relayv1.FrameType) (n int) {
	for _, f := range s.seen {
		if f.from == from && f.Type == typ {
			n++
		}
	}
	return n
}

// told is how often the relay told an endpoint a code, about a session or its link.
func (s *script) told(e *endpoint, code reason.Code) (n int) {
	for _, f := range s.seen {
		if f.to == e && f.Type == typeStatus {
			if st, err := envelope.DecodeStatus(f.Status); err == nil && st.Code == code {
				n++
			}
		}
	}
	return n
}

// last is the last frame of a type that an endpoint sent.
func (s *script) last(from *endpoint, typ relayv1.FrameType) frame {
	s.t.Helper()
	for i := len(s.seen) - 1; i >= 0; i-- {
		if f := s.seen[i]; f.from == from && f.Type == typ {
			return f.frame
		}
	}
	s.t.Fatalf("%s sent no %v", from.name, typ)
	return frame{}
}

// deliver gives an endpoint a frame that the relay or the path to it made up.
func (s *script) deliver(l *link, f frame) {
	s.t.Helper()
	f.CiphertextLen = 0
	l.down = append(l.down, envelope.Append(nil, &f.Header, f.ciphertext))
	for len(l.down) > 0 {
		s.must(l.endpoint.receive(l))
	}
	s.must(s.w.checkEnds())
}

// inject puts a frame on an endpoint's wire to the relay, which takes it before anything else happens.
func (s *script) inject(l *link, f frame) {
	s.t.Helper()
	f.CiphertextLen = 0
	l.up = append(l.up, envelope.Append(nil, &f.Header, f.ciphertext))
	for len(l.up) > 0 {
		s.must(l.node.receive(l))
		if l.held != nil {
			l.node.forward(l)
		}
	}
}

// wantHeard fails unless an application has heard exactly these messages, and no end.
func (s *script) wantHeard(x *end, want ...string) {
	s.t.Helper()
	if got := s.app(x).heard; !slices.Equal(got, want) {
		s.t.Fatalf("%s heard %s, want %s\n%s", x.endpoint.name, short(got), short(want), s.w.tail())
	}
}

func short(texts []string) string {
	var b strings.Builder
	for _, t := range texts {
		if len(t) > 24 {
			t = fmt.Sprintf("%s… (%d bytes)", t[:8], len(t))
		}
		fmt.Fprintf(&b, "%q ", t)
	}
	return fmt.Sprintf("%d: %s", len(texts), b.String())
}

// wantAlive fails unless both ends live and what they say now arrives without time passing.
func (s *script) wantAlive(p *pair) {
	s.t.Helper()
	for _, x := range []*end{p.client, p.daemon} {
		if err := x.machine.Err(); err != nil || x.machine.State() != session.Open {
			s.t.Fatalf("%s: session %d is in state %d: %v\n%s", x.endpoint.name, p.n, x.machine.State(), err, s.w.tail())
		}
	}
	for _, x := range []*end{p.client, p.daemon} {
		n := len(s.app(x.peer()).heard)
		s.say(x, "still here")
		s.flow()
		if got := s.app(x.peer()).heard; len(got) != n+1 || got[n] != "still here" {
			s.t.Fatalf("what %s says does not arrive\n%s", x.endpoint.name, s.w.tail())
		}
	}
}

// wantClean fails unless both ends have ended cleanly.
func (s *script) wantClean(p *pair) {
	s.t.Helper()
	for _, x := range []*end{p.client, p.daemon} {
		if x.machine.State() != session.Closed || s.app(x).err != io.EOF {
			s.t.Fatalf("%s: session %d is in state %d, %v, reads %v\n%s", x.endpoint.name, p.n, x.machine.State(),
				x.machine.Err(), s.app(x).err, s.w.tail())
		}
	}
}

// wantEnd fails unless an end has ended with this error, and one only.
func (s *script) wantEnd(x *end, by session.Party, code reason.Code) {
	s.t.Helper()
	var end *session.End
	if err := x.machine.Err(); !errors.As(err, &end) || end.By != by || end.Code() != code {
		s.t.Fatalf("%s: got state %d and %v, want an end %v with %s\n%s",
			x.endpoint.name, x.machine.State(), err, by, code, s.w.tail())
	}
	if x.endings != 1 {
		s.t.Errorf("%s: told %d times", x.endpoint.name, x.endings)
	}
}

// texts makes n messages of a size.
func texts(n, size int) (all []string) {
	for i := range n {
		t := fmt.Sprintf("%04d", i)
		all = append(all, t+strings.Repeat("x", max(0, size-len(t))))
	}
	return all
}

// lose drops the frames for which drop says so.
func (s *script) lose(drop func(l *link, up bool, f frame) bool) {
	s.alter = func(l *link, up bool, f frame) []frame {
		if drop(l, up, f) {
			return nil
		}
		return []frame{f}
	}
}
