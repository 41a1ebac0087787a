package hostilerelay_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/rpcerr"
	"github.com/getviewport/relay/relaytest"
)

// cuts ends the attacked end's stream with err behind the n-th frame of a message that has more to come: some of the
// message has arrived.
func (a *assault) cuts(times int, err func() error) rule {
	n := 0
	return func(l *link, w way, f *frame) []*frame {
		// Only the fragments in front of the last one are full.
		if !a.arrives(l, w, f) || f.Type != typeData || len(f.ciphertext) < 16000 || n >= times {
			return []*frame{f}
		}
		n++
		a.bite()
		l.inject(down, f)
		l.cut(err())
		return nil
	}
}

// An end of the stream says nothing about the sessions on it, whatever it says of itself.
func TestAStreamThatEndsInTheMiddleOfAMessageCutsNothingOff(t *testing.T) {
	attacks := []attack{
		{name: "as if all were well", rule: func(a *assault) rule { return a.cuts(1, func() error { return nil }) }},
		{name: "as if all were well, again and again", rule: func(a *assault) rule {
			return a.cuts(4, func() error { return nil })
		}},
	}
	for i, c := range []codes.Code{
		codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.NotFound, codes.OutOfRange, codes.Unavailable,
		codes.DataLoss, codes.Unauthenticated, 77,
	} {
		attacks = append(attacks, attack{name: c.String(), at: turns(i), rule: func(a *assault) rule {
			return a.cuts(1, func() error { return status.Error(c, "so says the relay") })
		}})
	}
	for i, code := range reason.All() {
		info, _ := reason.Lookup(code)
		if info.Scope != reason.ScopeStream && info.Scope != reason.ScopeEither {
			continue
		}
		x := attack{name: "reason " + string(code), at: turns(i), rule: func(a *assault) rule {
			return a.cuts(1, func() error { return rpcerr.Status(reason.New(code, "so says the relay")) })
		}}
		switch {
		case code == reason.Replaced || code == reason.DaemonAlreadyConnected:
			continue // an endpoint waits half a minute for those
		case code == reason.Closed:
			continue // no relay says that of a link
		case !info.Retryable && code != reason.TokenMissing && code != reason.TokenInvalid:
			// It goes, and its sessions with it. TOKEN_MISSING and TOKEN_INVALID get one more try.
			x.want, x.refuses = outcome{end{client.Reason(code), "relay"}, unaware}, code
		}
		attacks = append(attacks, x)
	}
	under(t, attacks)
}

func TestWhatIsNoEnvelopeCostsTheLinkAndNoSession(t *testing.T) {
	element := func(b ...byte) []byte { return append([]byte{0x0a, byte(len(b))}, b...) }
	var attacks []attack
	for name, raw := range map[string]func(f *frame) []byte{
		"junk":              func(*frame) []byte { return randomBytes(100) },
		"an empty envelope": func(*frame) []byte { return element() },
		"a truncated one":   func(f *frame) []byte { b := f.bytes(); return b[:len(b)-5] },
		"another wire type": func(*frame) []byte { return element(0x1a, 1, 3) },
		"a field twice":     func(f *frame) []byte { return element(0x20, 1, 0x20, 2) },
		"a long field": func(f *frame) []byte {
			return f.with(func(f *frame) { f.Workspace = make([]byte, 129) }).bytes()
		},
		"sequence 0":         func(f *frame) []byte { return f.with(func(f *frame) { f.Sequence = 0 }).bytes() },
		"sequence 2^63":      func(f *frame) []byte { return f.with(func(f *frame) { f.Sequence = 1 << 63 }).bytes() },
		"an ACK that counts": func(f *frame) []byte { return f.with(func(f *frame) { f.Type = typeAck }).bytes() },
		"a type beyond all":  func(f *frame) []byte { return f.with(func(f *frame) { f.Type = 39 }).bytes() },
		"a legacy frame":     func(f *frame) []byte { return f.with(func(f *frame) { f.Type = 33 }).bytes() },
		"a foreign id": func(f *frame) []byte {
			return f.with(func(f *frame) { f.Session = []byte("me") }).bytes()
		},
		"a malformed status": func(f *frame) []byte {
			return f.status(envelope.Status{}).with(func(f *frame) { f.Status = []byte{0xff} }).bytes()
		},
		"5 MiB": func(f *frame) []byte {
			return f.with(func(f *frame) { f.ciphertext = make([]byte, 5<<20) }).bytes()
		},
	} {
		attacks = append(attacks, attack{name: name, at: turns(len(attacks)), check: func(a *assault) {
			var links int
			if a.m.do(func() { links = a.m.count(a.at) }); links == 1 {
				a.t.Errorf("the %s is still on the link that brought it", a.at)
			}
		}, rule: func(a *assault) rule {
			return a.arriving(typeData, from(trigger, 2, a.inserts(func(f *frame) []*frame {
				return []*frame{{raw: raw(f)}}
			})))
		}})
	}
	under(t, attacks)
}

// limitsOf makes the relay say other limits than its own.
func limitsOf(says map[role]map[string]string) func(m *middle) {
	return func(m *middle) {
		m.announce = func(of role, md metadata.MD) {
			for k, v := range says[of] {
				if v == "" {
					delete(md, k)
				} else {
					md[k] = strings.Split(v, " ")
				}
			}
		}
	}
}

func TestSessionsObeyTheSmallestLimitsThatTheRelaySays(t *testing.T) {
	const window, message, envelopes = "viewport-session-window", "viewport-max-message", "viewport-max-envelope"
	least := map[string]string{window: "131072", message: "16000", envelopes: "65536"}
	most := map[string]string{window: "16777216", message: "16777216", envelopes: "4128768"}
	var jobs []job
	for name, says := range map[string]map[role]map[string]string{
		"the least":              {atClient: least, atDaemon: least},
		"the most":               {atClient: most, atDaemon: most},
		"the most to the client": {atClient: most, atDaemon: least},
		"the most to the daemon": {atClient: least, atDaemon: most},
		"another relay":          {atClient: {"viewport-relay-id": ""}, atDaemon: {"viewport-relay-id": "a b"}},
		"no heartbeats":          {atClient: {"viewport-heartbeat": "0"}, atDaemon: {"viewport-heartbeat": "0"}},
		"other heartbeats": {
			atClient: {"viewport-heartbeat": "60000"}, atDaemon: {"viewport-heartbeat": "3600000"},
		},
		"what nobody has asked for":  {atClient: {"viewport-other": "1"}, atDaemon: {"grpc-other": "x"}},
		"the same, to the other end": {atDaemon: {window: "131072"}, atClient: {message: "16000"}},
	} {
		for _, p := range profiles {
			jobs = append(jobs, job{fmt.Sprintf("%s/%s", name, p), func(t *testing.T, relay *relaytest.Relay) {
				w := newWorld(t, relay, p, settings{prepare: limitsOf(says)})
				up, down := w.open(w.client)
				if up.MaxMessage() != down.MaxMessage() {
					t.Errorf("the client sends messages of %d bytes, the daemon of %d", up.MaxMessage(),
						down.MaxMessage())
				}
				if says[atClient][message] == "16000" && up.MaxMessage() != 16000 {
					t.Errorf("got messages of %d bytes, want 16000", up.MaxMessage())
				}
				// Some windows of the smallest kind both ways, in messages of the longest kind.
				n := min(up.MaxMessage(), 200_000)
				for i := range 1 + 400_000/n {
					for _, way := range [][2]*client.Session{{up, down}, {down, up}} {
						msg := randomBytes(n)
						msg[0] = byte(i)
						sent := make(chan error, 1)
						go func() { sent <- way[0].Send(w.ctx, msg) }()
						got, err := way[1].Recv(w.ctx)
						if err := <-sent; err != nil {
							t.Fatalf("message %d: %v", i, err)
						}
						if err != nil || string(got) != string(msg) {
							t.Fatalf("message %d: got %d bytes, %v, want %d", i, len(got), err, n)
						}
					}
				}
			}})
		}
	}
	together(t, jobs)
}

func TestARelayThatSaysWhatNoRelayMaySayIsRefused(t *testing.T) {
	var jobs []job
	for header, values := range map[string][]string{
		"viewport-protocol": {"0", "2", "1 1", "one", "+1 1"},
		"viewport-session-window": {
			"", "0", "131071", "16777217", "-1", "1e6", "1048576 1048576", "0x100000", "99999999999999999999",
		},
		"viewport-max-envelope": {"", "0", "65535", "4194305", "65536 65536"},
		"viewport-max-message":  {"", "0", "15999", "16777217", "16000 16000"},
		"viewport-heartbeat":    {"", "-1", "3600001", "1 1"},
	} {
		for _, v := range values {
			jobs = append(jobs, job{fmt.Sprintf("%s/%q", header, v), func(t *testing.T, relay *relaytest.Relay) {
				w := newWorld(t, relay, identity.NoiseIK, settings{})
				says := map[string]string{header: v}
				w.m.do(func() { limitsOf(map[role]map[string]string{atClient: says, atDaemon: says})(w.m) })
				_, err := client.Dial(w.ctx, w.dial)
				if got, want := endOf(err), (end{"INTERNAL", "relay"}); got != want {
					t.Errorf("Dial: got %v, want %v", err, want)
				}
			}})
		}
	}
	together(t, jobs)
}

// A relay that promises heartbeats and sends none, or that swallows everything, is a link that is dead.
func TestALinkThatIsSilentIsReplacedAndNothingIsLost(t *testing.T) {
	var jobs []job
	for name, swallows := range map[string]bool{"no heartbeats": false, "nothing at all": true} {
		for _, r := range eachEnd {
			jobs = append(jobs, job{name + "/" + string(r), func(t *testing.T, relay *relaytest.Relay) {
				w := newWorld(t, relay, identity.NoiseIKpsk2, settings{prepare: limitsOf(map[role]map[string]string{
					r: {"viewport-heartbeat": "400"},
				})})
				c := w.converse('a')
				if err := c.exchange(w.ctx, 3); err != nil {
					t.Fatal(err)
				}
				var first *link
				w.m.do(func() { first = w.m.latest(r) })
				w.m.set(func(l *link, way way, f *frame) []*frame {
					if swallows && l == first {
						return nil
					}
					return []*frame{f}
				})
				talks := make(chan error, 1)
				if swallows {
					go func() { talks <- c.exchange(w.ctx, 3) }()
				}
				w.m.await(w.ctx, r, 3)
				if !swallows {
					talks <- c.exchange(w.ctx, 3)
				}
				if err := <-talks; err != nil {
					t.Errorf("the session: %v", err)
				}
				if err := c.finish(w.ctx); err != nil {
					t.Errorf("the session: %v", err)
				}
			}})
		}
	}
	together(t, jobs)
}
