package route_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

// world is a target with links that have names, driven by scripts. A script has a statement a line:
//
//	attach d daemon install=x gen=2 psk    a link d attaches
//	detach d PAIRING_REVOKED               it ends (the reason is optional)
//	drain d                                it is told DRAINING
//	c: INIT a, DATA 2 a                    c sends a batch of two frames
//	c reads: DATA 3 a                      the first half of that: they are sequenced …
//	c forwards                             … and the second: what passed is forwarded
//	d> DATA 2 a, ACK a                     d's sender takes messages until there are no more: exactly these frames
//	d takes: DATA 2 a                      it takes one message
//	+2s                                    time passes, with ticks when they are due
//	! d closed REPLACED                    an effect of the statement before; also admitted, refused and "ends", when
//	                                       a frame ended its link. Every effect must be named.
//
// A frame is its type, sequence (with "!" if resend is set), session and options: bytes=N of ciphertext, psk, key=b for
// the bind key of session b. Sessions have names; "-" is no session. "L." before the type makes it a legacy frame, whose
// session's name is its id, with answers=r and epoch=N. "deliver c 100" queues a frame of the relay's own. Check runs after every statement.
type world struct {
	t      testing.TB
	target *route.Target
	drops  *route.Drops
	budget *route.Budget
	pool   pool
	now    time.Time
	start  time.Time

	links   map[string]*route.Link
	names   map[*route.Link]string
	awake   map[*route.Link]bool
	serial  uint64
	pending map[string]*pending
	effects []string
}

// pending is a batch between Sequence and Forward.
type pending struct {
	batch  *envelope.Batch
	passes []route.Pass
}

const workspace, target = "ws", "tg"

func newWorld(t testing.TB, limits route.Limits) *world {
	w := &world{
		t: t, drops: new(route.Drops), budget: route.NewBudget(limits.WithDefaults().ProcessBytes),
		start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		links: make(map[string]*route.Link), names: make(map[*route.Link]string), awake: make(map[*route.Link]bool),
		pending: make(map[string]*pending),
	}
	w.now = w.start
	w.target = route.New(route.Config{
		Workspace: workspace, Target: target, Limits: limits, Budget: w.budget, Drops: w.drops,
	})
	return w
}

// play runs a script in a new world and returns it.
func play(t *testing.T, limits route.Limits, script string) *world {
	t.Helper()
	w := newWorld(t, limits)
	w.play(script)
	return w
}

func (w *world) play(script string) {
	w.t.Helper()
	for i, line := range strings.Split(script, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !strings.HasPrefix(line, "! ") && len(w.effects) > 0 {
			w.t.Fatalf("before line %d, %q: not named: %q", i, line, w.effects)
		}
		if err := w.statement(line); err != nil {
			w.t.Fatalf("line %d, %q: %v", i, line, err)
		}
		if err := w.check(); err != nil {
			w.t.Fatalf("line %d, %q: %v", i, line, err)
		}
	}
	if len(w.effects) > 0 {
		w.t.Fatalf("at the end: not named: %q", w.effects)
	}
}

// check is the machine's own check, and that the budget, which has no other user, holds what the queues do.
func (w *world) check() error {
	if err := w.target.Check(); err != nil {
		return err
	}
	if got, want := w.budget.Used(), w.target.Stats().Queued; got != want {
		return fmt.Errorf("the budget counts %d bytes, the target %d", got, want)
	}
	return nil
}

func (w *world) statement(line string) error {
	if d, ok := strings.CutPrefix(line, "+"); ok {
		d, err := time.ParseDuration(d)
		w.advance(d)
		return err
	}
	if e, ok := strings.CutPrefix(line, "! "); ok {
		if len(w.effects) == 0 || w.effects[0] != e {
			return fmt.Errorf("got effects %q, want %q", w.effects, e)
		}
		w.effects = w.effects[1:]
		return nil
	}
	if name, frames, ok := strings.Cut(line, " reads: "); ok {
		w.sequence(name, frames)
		return nil
	}
	if name, ok := strings.CutSuffix(line, " forwards"); ok {
		w.forward(name)
		return nil
	}
	if name, frames, ok := strings.Cut(line, " takes: "); ok {
		got, _ := w.take(w.links[name], 16384)
		return differ(got, frames)
	}
	if name, frames, ok := strings.Cut(line, "> "); ok {
		return differ(w.takeAll(w.links[name]), frames)
	}
	if name, frames, ok := strings.Cut(line, ": "); ok {
		w.sequence(name, frames)
		w.forward(name)
		return nil
	}
	return w.event(strings.Fields(line))
}

func differ(got []string, want string) error {
	g := strings.Join(got, ", ")
	if g == "" {
		g = "nothing"
	}
	if g != want {
		return fmt.Errorf("got %s, want %s", g, want)
	}
	return nil
}

// event runs attach, detach and drain.
func (w *world) event(f []string) error {
	switch f[0] {
	case "attach":
		p := route.Peer{Role: route.Client}
		if f[2] == "daemon" {
			p.Role = route.Daemon
		}
		for _, o := range f[3:] {
			k, v, _ := strings.Cut(o, "=")
			switch k {
			case "install":
				p.InstallID = v
			case "gen":
				p.Generation, _ = strconv.ParseUint(v, 10, 64)
			case "psk":
				p.RequirePSK = true
			case "legacy":
				p.Legacy = true
			}
		}
		w.attach(f[1], p)
	case "detach":
		ev := route.Event{Kind: route.Detach, Link: w.links[f[1]]}
		if len(f) > 2 {
			ev.Reason = &reason.Error{Code: reason.Code(f[2])}
		}
		w.step(ev)
	case "deliver":
		n, _ := strconv.Atoi(f[2])
		b := envelope.Append(nil, &envelope.Header{
			Workspace: []byte(workspace), Target: []byte(target), Type: relayv1.FrameType_FRAME_TYPE_STATUS,
			Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON,
		}, make([]byte, n))
		w.target.Deliver(w.links[f[1]], envelope.RunOf(b, 1), w.now)
		w.take1(w.target.Effects())
	case "heard":
		w.target.Heard(w.links[f[1]], w.now)
		w.take1(w.target.Effects())
	case "drain":
		w.step(route.Event{Kind: route.Drain, Link: w.links[f[1]],
			Reason: (&reason.Error{Code: reason.Draining}).After(time.Second)})
	default:
		return fmt.Errorf("unknown statement")
	}
	return nil
}

func (w *world) attach(name string, p route.Peer) *route.Link {
	w.serial++
	l := route.NewLink(w.serial, p)
	w.links[name], w.names[l] = l, name
	w.step(route.Event{Kind: route.Attach, Link: l})
	// Being admitted is the rule: only what differs has to be named.
	if i := slices.Index(w.effects, name+" admitted"); i >= 0 && len(w.effects) == 1 {
		w.effects = nil
	}
	return l
}

func (w *world) step(ev route.Event) { w.take1(w.target.Step(ev, w.now)) }

// take1 notes effects.
func (w *world) take1(effects []route.Effect) {
	for _, e := range effects {
		switch e.Kind {
		case route.Wake:
			w.awake[e.Link] = true
		case route.Admitted:
			w.effects = append(w.effects, w.names[e.Link]+" admitted")
		case route.Refused:
			w.effects = append(w.effects, w.names[e.Link]+" refused "+string(e.Reason.Code))
		case route.CloseLink:
			w.effects = append(w.effects, w.names[e.Link]+" closed "+string(e.Reason.Code))
		}
	}
}

// advance lets time pass and ticks whenever the machine wants it.
func (w *world) advance(d time.Duration) {
	end := w.now.Add(d)
	for range 10000 {
		due := w.target.Deadline()
		if due.IsZero() || due.After(end) {
			w.now = end
			return
		}
		if due.After(w.now) {
			w.now = due
		}
		w.step(route.Event{Kind: route.Tick})
		if next := w.target.Deadline(); !next.IsZero() && !next.After(w.now) {
			w.t.Fatalf("a tick at %v left a deadline at %v", w.now.Sub(w.start), next.Sub(w.start))
		}
	}
	w.t.Fatal("ticks without end")
}

// sequence is the first half of what a link's reader does with a batch.
func (w *world) sequence(name, frames string) {
	l := w.links[name]
	w.sequenceHeaders(name, l, parseFrames(w.t, l.Peer().Role, frames))
}

func (w *world) sequenceHeaders(name string, l *route.Link, frames []wireFrame) {
	var b []byte
	for i := range frames {
		b = envelope.Append(b, &frames[i].header, make([]byte, frames[i].bytes))
	}
	p := &pending{batch: new(envelope.Batch)}
	received := w.pool.buffer(b)
	if err := (envelope.Codec{}).Unmarshal(mem.BufferSlice{received}, p.batch); err != nil {
		w.t.Fatal(err)
	}
	received.Free()
	if err := p.batch.Split(envelope.Limits{MaxEnvelope: 2 << 20, MaxBatch: 4 << 20}); err != nil {
		w.t.Fatalf("split: %v", err)
	}
	for i := range p.batch.Frames() {
		v := w.target.Sequence(l, &p.batch.Frames()[i], w.now)
		if v.End != nil {
			w.effects = append(w.effects, name+" ends "+string(v.End.Code))
			break
		}
		p.passes = append(p.passes, v.Pass)
	}
	w.take1(w.target.Effects())
	w.pending[name] = p
}

// forward is the second half: it merges what can be, as the hub does.
func (w *world) forward(name string) {
	p := w.pending[name]
	delete(w.pending, name)
	for i := 0; i < len(p.passes); {
		j := i + 1
		pass := p.passes[i]
		for j < len(p.passes) && pass.Extend(p.passes[j]) {
			j++
		}
		if pass.OK() {
			w.target.Forward(w.links[name], pass, p.batch.Run(i, j), w.now)
		}
		i = j
	}
	p.batch.Free()
	w.take1(w.target.Effects())
}

func (w *world) takeAll(l *route.Link) []string {
	var all []string
	for {
		frames, more := w.take(l, 16384)
		if !more {
			return all
		}
		all = append(all, frames...)
	}
}

// take is what a link's sender does once. A sender that was not woken must have nothing to do.
func (w *world) take(l *route.Link, limit int) ([]string, bool) {
	var o envelope.Outgoing
	more := w.target.Take(l, limit, &o)
	if more != (o.Frames() > 0) {
		w.t.Fatalf("Take returned %v with %d frames", more, o.Frames())
	}
	if !more {
		w.awake[l] = false
		return nil, false
	}
	if !w.awake[l] {
		w.t.Fatalf("link %s had something to send and was not woken", w.names[l])
	}
	data, err := (envelope.Codec{}).Marshal(&o)
	if err != nil {
		w.t.Fatal(err)
	}
	var batch relayv1.EnvelopeBatch
	if err := proto.Unmarshal(data.Materialize(), &batch); err != nil {
		w.t.Fatal(err)
	}
	data.Free()
	var frames []string
	for _, e := range batch.Envelopes {
		frames = append(frames, describe(e))
	}
	return frames, true
}

// pool counts the received buffers that are not free, and spoils those that are: one that is freed too early shows as a
// frame that does not parse, one that is freed twice panics in package mem.
type pool struct{ used int }

// buffer returns b in a buffer that is counted. It is padded, because package mem leaves small ones to the garbage
// collector.
func (p *pool) buffer(b []byte) mem.Buffer {
	p.used++
	padded := make([]byte, len(b), len(b)+2048)
	copy(padded, b)
	return mem.NewBuffer(&padded, p)
}

func (p *pool) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

func (p *pool) Put(b *[]byte) {
	p.used--
	for i := range *b {
		(*b)[i] = 0xff
	}
}

// wireFrame is a frame of a script.
type wireFrame struct {
	header envelope.Header
	bytes  int
}

// bindKey is the bind key of the session of this name; sessionID its id.
func bindKey(name string) []byte {
	key := make([]byte, 16)
	copy(key, name)
	return key
}

func sessionID(name string) string { return envelope.SessionID(bindKey(name)) }

var typeNames = map[string]relayv1.FrameType{
	"INIT": 1, "RESPONSE": 2, "DATA": 3, "CLOSE": 4, "ACK": 5, "RESUME": 6, "RESUMED": 7, "RESET": 8, "HEARTBEAT": 9,
	"STATUS": 10, "TYPE11": 11, "TYPE31": 31, "TYPE39": 39, "KEY_UPDATE": 32, "PAIR": 33, "PAIRED": 34, "EVENT": 37,
}

func parseFrames(t testing.TB, from route.Role, text string) []wireFrame {
	var frames []wireFrame
	for _, part := range strings.Split(text, ", ") {
		f := strings.Fields(part)
		name, legacy := strings.CutPrefix(f[0], "L.")
		typ, ok := typeNames[name]
		if !ok {
			t.Fatalf("frame %q: unknown type", part)
		}
		wf := wireFrame{header: envelope.Header{
			Type: typ, Workspace: []byte(workspace), Target: []byte(target), Encoding: relayv1.Encoding_ENCODING_NOISE,
		}}
		h := &wf.header
		claims := from == route.Client && (f[0] == "INIT" || f[0] == "RESUME")
		switch f[0] {
		case "INIT", "RESPONSE":
			h.Sequence, h.Profile = 1, relayv1.Profile_PROFILE_NOISE_IK
		case "RESUME", "RESUMED":
			h.Sequence = 1
		case "HEARTBEAT", "STATUS":
			h.Encoding = relayv1.Encoding_ENCODING_UNSPECIFIED
		}
		if legacy {
			h.Encoding = relayv1.Encoding_ENCODING_LEGACY_JSON
			if name == "INIT" || name == "RESPONSE" {
				h.Profile = relayv1.Profile_PROFILE_NOISE_IK
			}
		}
		for _, o := range f[1:] {
			k, v, _ := strings.Cut(o, "=")
			number, err := strconv.ParseUint(strings.TrimSuffix(o, "!"), 10, 64)
			switch {
			case err == nil:
				h.Sequence, h.Resend = number, strings.HasSuffix(o, "!")
			case k == "bytes":
				wf.bytes, _ = strconv.Atoi(v)
			case k == "psk":
				h.Profile = relayv1.Profile_PROFILE_NOISE_IKPSK2
			case k == "key":
				h.BindKey = bindKey(v)
			case k == "nokey":
				claims, h.BindKey = false, nil
			case k == "workspace":
				h.Workspace = []byte(v)
			case k == "target":
				h.Target = []byte(v)
			case k == "session":
				h.Session = []byte(v)
			case k == "legacy":
				h.Encoding = relayv1.Encoding_ENCODING_LEGACY_JSON
			case k == "answers":
				h.Request = []byte(v)
			case k == "epoch":
				h.Epoch, _ = strconv.ParseUint(v, 10, 64)
			case legacy:
				h.Session = []byte(o)
			case k == "plain":
				h.Encoding = relayv1.Encoding_ENCODING_UNSPECIFIED
			case k == "probe":
				h.Status = envelope.Status{Code: reason.Probe}.Append(nil)
			default:
				h.Session = []byte(sessionID(o))
				if claims && h.BindKey == nil {
					h.BindKey = bindKey(o)
				}
			}
		}
		frames = append(frames, wf)
	}
	return frames
}

// describe is a frame as scripts write it, without its options.
func describe(e *relayv1.Envelope) string {
	var b strings.Builder
	if e.Encoding == relayv1.Encoding_ENCODING_LEGACY_JSON {
		b.WriteString("L.")
	}
	name := fmt.Sprint(int32(e.Type))
	for n, t := range typeNames {
		if t == e.Type {
			name = n
		}
	}
	b.WriteString(name)
	if s := e.Status; s != nil && e.Type == relayv1.FrameType_FRAME_TYPE_STATUS {
		fmt.Fprintf(&b, " %s", s.Code)
		if reason.Code(s.Code) == reason.SequenceGap || reason.Code(s.Code) == reason.SequenceReplay {
			fmt.Fprintf(&b, " %d", s.ExpectedSequence)
		}
	} else if s != nil && s.Code == string(reason.Probe) {
		b.WriteString(" probe")
	}
	if envelope.Sequenced(e.Type) && e.Sequence > 1 || e.Resend {
		fmt.Fprintf(&b, " %d", e.Sequence)
		if e.Resend {
			b.WriteByte('!')
		}
	}
	if e.SessionId != "" {
		fmt.Fprintf(&b, " %s", sessionName(e.SessionId))
	}
	return b.String()
}

// sessionName finds the name, of one or two characters, that a session id was made of.
func sessionName(id string) string {
	if len(id) < 26 {
		return id // a legacy one
	}
	for a := 'a'; a <= 'z'; a++ {
		if sessionID(string(a)) == id {
			return string(a)
		}
	}
	return id[:6]
}
