package legacy_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/wsconn"
)

// The corpus of package legacywire over real connections: what it says of a frame is what happens to it.

// corpusFrame is a frame of the corpus: its kind and fields, its verdicts and its text.
type corpusFrame struct {
	name, kind string
	fields     map[string]string
	verdicts   []string // for a client of each scope, a daemon and a worker; one if all have it
	text       string
}

var corpusField = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|\S+)`)

func corpus(t *testing.T) (frames []corpusFrame) {
	t.Helper()
	data, err := os.ReadFile("../../internal/legacywire/testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n\n") {
		if strings.HasPrefix(block, "# ") {
			continue
		}
		lines := strings.Split(block, "\n  ")
		if len(lines) != 4 {
			t.Fatalf("not a name and three lines: %q", block)
		}
		f := corpusFrame{
			name: lines[0], fields: map[string]string{}, verdicts: strings.Split(lines[2], " | "), text: lines[3],
		}
		if quoted, ok := strings.CutPrefix(f.text, "go:"); ok {
			if f.text, err = strconv.Unquote(quoted); err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
		}
		var fields string
		f.kind, fields, _ = strings.Cut(lines[1], " |")
		for _, m := range corpusField.FindAllStringSubmatch(fields, -1) {
			value := m[2]
			if value[0] == '"' {
				if value, err = strconv.Unquote(value); err != nil {
					t.Fatalf("%s: %v", f.name, err)
				}
			}
			f.fields[m[1]] = value
		}
		frames = append(frames, f)
	}
	return frames
}

// trim is JavaScript's.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return strings.ContainsRune("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff", r) ||
			r >= 0x2000 && r <= 0x200a
	})
}

// routable reports whether an envelope has room for an id.
func routable(id string) bool { return id != "" && len(id) <= 255 && utf8.ValidString(id) }

// quoted is a string as JSON.
func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always can
	return strings.Trim(string(b), `"`)
}

// stage has a peer of each kind, none of which claims a profile.
type stage struct {
	t        *testing.T
	r        *relay
	s        *session // the daemon's and the runtime client's, which goes on
	pairing  *peer
	viewer   *peer // subscribed to all channels
	worker   *peer
	channels []string
	asked    int
}

const anyProfile = "e2eeProfile"

func newStage(t *testing.T, frames []corpusFrame) *stage {
	t.Helper()
	g := &stage{t: t, r: start(t, workersOn)}
	for _, f := range frames {
		c := trim(f.fields["channel"])
		if id, ok := strings.CutPrefix(c, "agent-session:"); ok && id != "" && utf8.ValidString(c) && len(c) <= 255 &&
			!strings.ContainsAny(id, "\n\r\u2028\u2029") && !slices.Contains(g.channels, c) {
			g.channels = append(g.channels, c)
		}
	}
	if len(g.channels) > 64 {
		t.Fatalf("the corpus has %d channels, a token 64", len(g.channels))
	}
	g.s = g.r.pair("w", without(anyProfile))
	g.pairing = g.r.connect(pairingOf("w", without(anyProfile)))
	g.viewer = g.watcher("watcher")
	for _, c := range g.channels {
		id := quoted(strings.TrimPrefix(c, "agent-session:"))
		g.viewer.send(subscribeFrame(id, 0))
		g.reply(g.viewer, map[string]any{"type": "viewport.session_events.subscribed/v1", "channel": c})
	}
	g.worker = g.r.connect(workerOf("w", "e1"))
	return g
}

// watcher is a viewer for all channels.
func (g *stage) watcher(user string) *peer {
	g.t.Helper()
	return g.r.connect(clientOf("w", without(anyProfile), func(c *devplatform.Claims) {
		c.Scope, c.UserID, c.SessionChannels = "session-events", user, g.channels
	}))
}

// reply receives an answer of the relay that has these members.
func (g *stage) reply(p *peer, want map[string]any) {
	g.t.Helper()
	m, err := p.next()
	if err != nil {
		g.t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(m.text), &got); err != nil {
		g.t.Fatalf("got %q: %v", m.text, err)
	}
	for name, value := range want {
		if got[name] != value {
			g.t.Fatalf("got %q, want %s %v", m.text, name, value)
		}
	}
}

// status receives a relay_status of the code.
func (g *stage) status(p *peer, code string) {
	g.t.Helper()
	g.reply(p, map[string]any{"type": "relay_status", "code": code, "workspaceId": "w"})
}

// settled waits until what everybody has sent was handled, and wants nothing else to have come to anybody.
func (g *stage) settled() {
	g.t.Helper()
	g.s.exchange()
	g.pairing.quiet("w")
	g.viewer.quiet("w")
	g.worker.send(workerRequest("settled", "GET", own+"2", "", ""))
	g.worker.want(`{"type":"viewport.worker_transport.response/v1","requestId":"settled` + pathDenied)
}

// arrives wants the frame to come to whom it is for, or if not routable the sender, if it is told at all, to be told.
func (g *stage) arrives(f corpusFrame, from, to *peer, ok, told bool) {
	g.t.Helper()
	from.send(f.text)
	switch {
	case ok:
		to.want(f.text)
	case told:
		g.status(from, "INVALID_FRAME")
	}
}

// request has a client ask by a frame under an id.
func (g *stage) request(p *peer, frame string) {
	g.t.Helper()
	p.send(frame)
	g.s.daemon.want(frame)
}

// owned makes the session the runtime client's, as if it were new; not that of an id that can't be.
func (g *stage) owned(id string) bool {
	g.t.Helper()
	if !routable(id) || trim(id) != id {
		return false
	}
	g.asked++
	ask := "ask-" + strconv.Itoa(g.asked)
	g.request(g.s.client, initFrame(ask))
	g.s.daemon.send(responseFrame(ask, quoted(id)))
	g.s.client.want(responseFrame(ask, quoted(id)))
	return true
}

// fromClient plays a frame that a client of scope runtime or pairing may send.
func (g *stage) fromClient(f corpusFrame, p *peer) {
	g.t.Helper()
	id, exact := trim(f.fields["requestId"]), true
	if f.kind == "e2ee" {
		id = f.fields["sessionId"]
		exact = g.owned(id)
	}
	g.arrives(f, p, g.s.daemon, routable(id) && exact, !routable(id))
}

// fromDaemon plays a frame that a daemon may send.
func (g *stage) fromDaemon(f corpusFrame) {
	g.t.Helper()
	s, request := g.s, trim(f.fields["requestId"])
	switch f.kind {
	case "e2ee", "relay_key_update_required":
		g.arrives(f, s.daemon, s.client, g.owned(f.fields["sessionId"]), false)
	case "relay_key_exchange_response":
		if routable(request) {
			g.request(s.client, initFrame(quoted(request)))
		}
		g.arrives(f, s.daemon, s.client, routable(request) && routable(trim(f.fields["sessionId"])), false)
	default:
		if routable(request) {
			g.request(g.pairing, offerRequest(quoted(request)))
		}
		g.arrives(f, s.daemon, g.pairing, routable(request), false)
	}
}

// fromViewer plays a frame that a viewer may send.
func (g *stage) fromViewer(f corpusFrame) {
	g.t.Helper()
	channel, user := trim(f.fields["channel"]), f.fields["userId"]
	known := slices.Contains(g.channels, channel)
	if f.kind == "viewport.session_viewer_presence/v1" {
		p, is := g.viewer, known && utf8.ValidString(user)
		if is {
			p = g.watcher(user)
		}
		p.send(f.text)
		if !is {
			g.reply(p, map[string]any{"type": "viewport.session_viewer_presence_denied/v1"})
			return
		}
		if len(f.text) > 4<<10 {
			g.status(p, "INVALID_FRAME")
		} else {
			g.viewer.want(f.text)
			if f.fields["action"] != "left" {
				p.leave()
				g.reply(g.viewer, map[string]any{"channel": channel, "action": "left", "userId": user})
			}
		}
		p.leave()
		return
	}
	want := map[string]any{"type": strings.TrimSuffix(f.kind, "/v1") + "d/v1", "channel": channel}
	if !known {
		want = map[string]any{"type": "viewport.session_events.subscribe_denied/v1", "workspaceId": "w"}
	}
	g.viewer.send(f.text)
	g.reply(g.viewer, want)
	if known && f.kind == "viewport.session_events.unsubscribe/v1" {
		g.viewer.send(subscribeFrame(quoted(strings.TrimPrefix(channel, "agent-session:")), 0))
		g.reply(g.viewer, map[string]any{"channel": channel})
	}
}

// play has one of the five send the frame, and wants the verdict.
func (g *stage) play(f corpusFrame, verdict string, sender int) {
	g.t.Helper()
	claims := []devplatform.Claims{
		clientOf("w", without(anyProfile)), pairingOf("w", without(anyProfile)), viewerOf("w", "ann", "s1"),
		daemonOf("v", without(anyProfile)), workerOf("w", "e1"),
	}[sender]
	peer := []*peer{g.s.client, g.pairing, g.viewer, g.s.daemon, g.worker}[sender]
	what, argument, _ := strings.Cut(verdict, " ")
	switch what {
	case "close":
		p := g.r.connect(claims)
		p.send(f.text)
		closed, ok := errors.AsType[*wsconn.CloseError](p.wantEnd())
		if !ok || argument == "1007" && closed.Code != wsconn.CodeNotUTF8 ||
			argument != "1007" && (closed.Code != 4008 || closed.Reason != argument) {
			g.t.Fatalf("got %v, want the end with %q", p.err, argument)
		}
	case "reply":
		peer.send(f.text)
		g.status(peer, argument)
	case "drop":
		peer.send(f.text)
	case "unroutable":
		// A daemon's event reaches those who watch, which today only another relay's can.
		g.arrives(f, peer, g.viewer, slices.Contains(g.channels, trim(f.fields["channel"])), false)
	case "pass":
		switch sender {
		case 0, 1:
			g.fromClient(f, peer)
		case 2:
			g.fromViewer(f)
		case 3:
			g.fromDaemon(f)
		default:
			peer.send(f.text)
			want := map[string]any{"type": "viewport.worker_transport.response/v1"}
			if id := f.fields["requestId"]; utf8.ValidString(id) {
				want["requestId"] = id
			}
			g.reply(peer, want)
		}
	default:
		g.t.Fatalf("the corpus has the verdict %q", verdict)
	}
}

// senders are who the verdicts are for, in order.
var senders = []string{"a client", "a pairing client", "a viewer", "a daemon", "a worker"}

func TestEveryFrameOfTheCorpusHasItsVerdictOverARealConnection(t *testing.T) {
	t.Parallel()
	frames := corpus(t)
	if len(frames) < 500 {
		t.Fatalf("got %d frames, want all", len(frames))
	}
	g := newStage(t, frames)
	for _, f := range frames {
		verdicts := f.verdicts
		if len(verdicts) == 1 {
			verdicts = slices.Repeat(verdicts, len(senders))
		}
		for sender, verdict := range verdicts {
			ok := t.Run(f.name+", from "+senders[sender], func(t *testing.T) {
				g.on(t)
				g.play(f, verdict, sender)
				g.settled()
			})
			if !ok {
				t.Fatal("the others go on from there")
			}
		}
	}
}

// on has failures reported to t, and what is connected from now on end with it.
func (g *stage) on(t *testing.T) {
	g.t, g.r.t = t, t
	for _, p := range []*peer{g.s.client, g.s.daemon, g.pairing, g.viewer, g.worker} {
		p.t = t
	}
}
