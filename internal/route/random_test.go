package route_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

var (
	seeds = flag.Uint64("seeds", 60, "how many seeds TestAnythingMayHappen runs")
	seed  = flag.Uint64("seed", 0, "the first of them")
)

// TestAnythingMayHappen lets links come, go, send anything and take slowly, with limits so small that all are met, and
// checks every counter after every step. A failing seed is printed; -seed=N -seeds=1 runs it alone.
func TestAnythingMayHappen(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = min(n, 30)
	}
	for s := *seed; s < *seed+n; s++ {
		c := newChaos(t, s)
		for step := range 400 {
			what := c.step()
			if err := c.w.check(); err != nil || t.Failed() {
				t.Fatalf("seed %d, step %d, %s: %v", s, step, what, err)
			}
			c.w.effects = nil
		}
		c.end(s)
		if t.Failed() {
			return
		}
	}
}

// chaos does random things to a world.
type chaos struct {
	w    *world
	rnd  *rand.Rand
	live []string // names of links that were attached and not detached, dead ones included
	n    int
	// received is the last sequence that each session's receiver took, by link.
	received map[string]uint64
}

func newChaos(t *testing.T, seed uint64) *chaos {
	rnd := rand.New(rand.NewPCG(seed, 2))
	limits := route.Limits{
		SessionWindow: 1, SessionsPerClient: 1 + rnd.IntN(4), SessionsPerTarget: 1 + rnd.IntN(8),
		LinkBytes: 20_000 + rnd.Int64N(200_000), ProcessBytes: 50_000 + rnd.Int64N(300_000),
		Heartbeat: time.Duration(rnd.IntN(3)) * 10 * time.Second,
	}
	return &chaos{w: newWorld(t, limits), rnd: rnd, received: make(map[string]uint64)}
}

func (c *chaos) step() string {
	r := c.rnd.IntN(100)
	switch {
	case r < 6 || len(c.live) == 0:
		return c.attach()
	case r < 9:
		return c.detach()
	case r < 14:
		d := time.Duration(c.rnd.Int64N(int64(3 * time.Second)))
		if c.rnd.IntN(10) == 0 {
			d *= 100
		}
		c.w.advance(d)
		return fmt.Sprint("advance ", d)
	case r < 15:
		c.w.step(route.Event{Kind: route.Drain, Reason: errDraining})
		return "drain"
	case r < 45:
		return c.take()
	case r < 47:
		name := c.live[c.rnd.IntN(len(c.live))]
		if err := c.w.event([]string{"deliver", name, "10000"}); err != nil {
			c.w.t.Fatal(err)
		}
		return name + " gets a word of the relay"
	}
	return c.send()
}

func (c *chaos) attach() string {
	c.n++
	name := fmt.Sprint("l", c.n)
	p := route.Peer{Role: route.Client, RequirePSK: c.rnd.IntN(20) == 0, Legacy: c.rnd.IntN(4) == 0}
	if c.rnd.IntN(3) == 0 {
		p.Role, p.InstallID = route.Daemon, string(rune('x'+c.rnd.IntN(2)))
		p.Generation = c.rnd.Uint64N(2)
	}
	c.w.attach(name, p)
	c.live = append(c.live, name)
	return "attach " + name
}

// detach ends a link, perhaps with frames of it that were sequenced and are never forwarded, or are too late.
func (c *chaos) detach() string {
	i := c.rnd.IntN(len(c.live))
	name := c.live[i]
	ev := route.Event{Kind: route.Detach, Link: c.w.links[name]}
	if c.rnd.IntN(4) == 0 {
		ev.Reason = &reason.Error{Code: reason.PairingRevoked}
	}
	c.w.step(ev)
	if c.w.pending[name] != nil && c.rnd.IntN(2) == 0 {
		c.w.forward(name)
	}
	if p := c.w.pending[name]; p != nil {
		p.batch.Free()
		delete(c.w.pending, name)
	}
	c.live = append(c.live[:i], c.live[i+1:]...)
	return "detach " + name
}

func (c *chaos) take() string {
	name := c.live[c.rnd.IntN(len(c.live))]
	if !c.w.awake[c.w.links[name]] {
		return name + " sleeps"
	}
	frames, _ := c.w.take(c.w.links[name], 1+c.rnd.IntN(20_000))
	// What a receiver gets of one session on one link goes on by one, or goes where its sender said.
	for _, f := range frames {
		c.arrived(name, f)
	}
	return name + " takes"
}

// arrived checks that sequences only rise, unless the sender says by resend or a handshake that it starts over.
func (c *chaos) arrived(link, frame string) {
	f := strings.Fields(frame)
	key := link + f[len(f)-1]
	switch f[0] {
	case "INIT", "RESPONSE":
		c.received[key] = 1
	case "DATA", "CLOSE":
		n := uint64(1)
		resend := false
		if len(f) == 3 {
			resend = strings.HasSuffix(f[1], "!")
			n, _ = strconv.ParseUint(strings.TrimSuffix(f[1], "!"), 10, 64)
		}
		if !resend && n <= c.received[key] {
			c.w.t.Errorf("link %s took %s behind %d", link, frame, c.received[key])
		}
		c.received[key] = n
	}
}

// send lets a link send a batch, forwards it at once or later, or forwards an earlier one.
func (c *chaos) send() string {
	name := c.live[c.rnd.IntN(len(c.live))]
	if c.w.pending[name] != nil {
		c.w.forward(name)
		return name + " forwards"
	}
	l := c.w.links[name]
	frames := make([]wireFrame, 1+c.rnd.IntN(6))
	next := 1 + c.rnd.Uint64N(8)
	session := string(rune('a' + c.rnd.IntN(6)))
	for i := range frames {
		if c.rnd.IntN(8) == 0 {
			session = string(rune('a' + c.rnd.IntN(6)))
		}
		if l.Peer().Legacy || c.rnd.IntN(10) == 0 {
			frames[i] = c.legacyFrame(l.Peer().Role, session, next+uint64(i))
			continue
		}
		frames[i] = c.frame(l.Peer().Role, session, next+uint64(i))
	}
	c.w.sequenceHeaders(name, l, frames)
	if c.rnd.IntN(3) != 0 {
		c.w.forward(name)
		return name + " sends"
	}
	return name + " reads"
}

func (c *chaos) frame(role route.Role, session string, sequence uint64) wireFrame {
	f := wireFrame{header: envelope.Header{
		Workspace: []byte(workspace), Target: []byte(target), Session: []byte(sessionID(session)),
		Encoding: relayv1.Encoding_ENCODING_NOISE, Type: relayv1.FrameType(1 + c.rnd.IntN(8)),
	}}
	h := &f.header
	if r := c.rnd.IntN(10); r < 5 {
		h.Type = relayv1.FrameType_FRAME_TYPE_DATA
	} else if r == 5 {
		h.Type = relayv1.FrameType_FRAME_TYPE_ACK
	}
	f.bytes = []int{0, 10, 1000, 16017}[c.rnd.IntN(4)]
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE:
		h.Type = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
		if role == route.Daemon {
			h.Type = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
		}
		h.Sequence, h.Profile = 1, relayv1.Profile(1+c.rnd.IntN(2))
	case relayv1.FrameType_FRAME_TYPE_DATA, relayv1.FrameType_FRAME_TYPE_CLOSE:
		h.Sequence, h.Resend = sequence, c.rnd.IntN(3) == 0
	case relayv1.FrameType_FRAME_TYPE_RESUME, relayv1.FrameType_FRAME_TYPE_RESUMED:
		h.Sequence = 1
	}
	claims := h.Type == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT || h.Type == relayv1.FrameType_FRAME_TYPE_RESUME
	if role == route.Client && claims {
		h.BindKey = bindKey(session)
		if c.rnd.IntN(20) == 0 {
			h.BindKey = bindKey("thief")
		}
	}
	switch c.rnd.IntN(200) {
	case 0:
		h.Workspace = []byte("other")
	case 1:
		h.Encoding = relayv1.Encoding_ENCODING_LEGACY_JSON
	}
	return f
}

// legacyFrame is one that a peer of this role may send.
func (c *chaos) legacyFrame(role route.Role, session string, sequence uint64) wireFrame {
	types := []relayv1.FrameType{
		relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, relayv1.FrameType_FRAME_TYPE_DATA, relayv1.FrameType_FRAME_TYPE_PAIRING_REQUEST,
	}
	if role == route.Daemon {
		types = []relayv1.FrameType{
			relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, relayv1.FrameType_FRAME_TYPE_DATA,
			relayv1.FrameType_FRAME_TYPE_KEY_UPDATE, relayv1.FrameType_FRAME_TYPE_PAIRING_RESPONSE,
		}
	}
	return wireFrame{bytes: []int{0, 10, 1000, 100_000}[c.rnd.IntN(4)], header: envelope.Header{
		Workspace: []byte(workspace), Target: []byte(target), Session: []byte(session), Request: []byte(session),
		Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON, Type: types[c.rnd.IntN(len(types))], Sequence: sequence,
		Epoch: c.rnd.Uint64N(3), Profile: relayv1.Profile(1 + c.rnd.IntN(2)),
	}}
}

// end lets everybody go: nothing may be left.
func (c *chaos) end(seed uint64) {
	for len(c.live) > 0 {
		c.detach()
	}
	c.w.advance(24 * time.Hour)
	if err := c.w.check(); err != nil {
		c.w.t.Errorf("seed %d, at the end: %v", seed, err)
	}
	if c.w.pool.used != 0 {
		c.w.t.Errorf("seed %d, at the end: %d received buffers are not freed", seed, c.w.pool.used)
	}
	if used := c.w.budget.Used(); used != 0 || !c.w.target.Idle() {
		c.w.t.Errorf("seed %d, at the end: %d bytes used, idle %v", seed, used, c.w.target.Idle())
	}
}
