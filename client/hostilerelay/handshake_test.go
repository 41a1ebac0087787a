package hostilerelay_test

import (
	"fmt"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/relaytest"
)

// shake is an attack on a handshake: on the first one that begins, and not on those that the client begins anew.
type shake struct {
	name string
	rule func(a *assault) rule
	// want is what becomes of Open; clean: the session opens, with the profile that both ends have pinned.
	want end
	// profiles are the ones that the attack is about; nil: both.
	profiles []identity.Profile
}

func underShaking(t *testing.T, shakes []shake) {
	t.Helper()
	var jobs []job
	for _, x := range shakes {
		with := x.profiles
		if with == nil {
			with = profiles
		}
		for _, p := range with {
			jobs = append(jobs, job{fmt.Sprintf("%s/%s", x.name, p), func(t *testing.T, relay *relaytest.Relay) {
				x.run(t, relay, p)
			}})
		}
	}
	together(t, jobs)
}

func (x *shake) run(t *testing.T, relay *relaytest.Relay, profile identity.Profile) {
	w := newWorld(t, relay, profile, settings{})
	a := &assault{world: w, x: &attack{}, older: record{}, begun: record{}}
	beside := w.converse('b')
	a.beside = beside.id()
	by := standBy(w.ctx, beside)
	a.bitten = by.bitten

	// The witness, which leaves a handshake to replay.
	w.m.set(a.recording(a.older))
	a.opens('w')

	w.m.set(chain(a.meets(), x.rule(a)))
	if x.want == clean {
		a.opens('a')
	} else if s, err := w.client.Open(w.ctx); endOf(err) != x.want {
		t.Errorf("Open: got %v, %v, want %v", s, err, x.want)
	}
	w.m.set(nil)
	if err := by.end(); err != nil {
		t.Errorf("the session beside it: %v", err)
	}
	if a.bites == 0 {
		t.Error("the attack did nothing")
	}
}

// opens opens a session and uses it.
func (a *assault) opens(tag byte) {
	a.t.Helper()
	c := a.converse(tag)
	for r, s := range c.ends {
		if got := s.session.Profile(); got != a.profile {
			a.t.Errorf("the %s has a session of profile %v, want %v", r, got, a.profile)
		}
	}
	if up, down := c.ends[atClient].session, c.ends[atDaemon].session; up.Peer() != a.ends.Daemon.Public ||
		down.Peer() != a.ends.Client.Public {
		a.t.Error("an end has another peer than the one it has pinned")
	}
	if err := c.exchange(a.ctx, 3); err != nil {
		a.t.Errorf("the session: %v", err)
	}
	if err := c.finish(a.ctx); err != nil {
		a.t.Errorf("the session: %v", err)
	}
}

// meets makes the first session that begins the attacked one.
func (a *assault) meets() rule {
	a.id = ""
	return func(_ *link, w way, f *frame) []*frame {
		if a.id == "" && w == up && f.Type == typeInit {
			a.id = string(f.Session)
		}
		return []*frame{f}
	}
}

// onInit and onResponse do something to a handshake frame of the attacked session where it arrives.
func onInit(do func(a *assault) act) func(a *assault) rule {
	return func(a *assault) rule {
		a.at = atDaemon
		return a.arriving(typeInit, do(a))
	}
}

func onResponse(do func(a *assault) act) func(a *assault) rule {
	return func(a *assault) rule {
		a.at = atClient
		return a.arriving(typeResponse, do(a))
	}
}

// instead and before put changed frames in the place of a frame, or in front of it.
func instead(how func(f *frame)) func(a *assault) act {
	return func(a *assault) act { return a.changes(how) }
}

func before(what func(a *assault, f *frame) []*frame) func(a *assault) act {
	return func(a *assault) act {
		return a.inserts(func(f *frame) []*frame { return what(a, f) })
	}
}

// What no end looks at, or only with a key.
func TestAHandshakeDoesNotCareForWhatNothingProves(t *testing.T) {
	var shakes []shake
	for name, how := range map[string]func(f *frame){
		"ack":       func(f *frame) { f.Ack, f.Consumed = 1<<40, 1<<40 },
		"resend":    func(f *frame) { f.Resend = true },
		"attempt":   func(f *frame) { f.ResumeAttempt = 1 << 40 },
		"timestamp": func(f *frame) { f.Timestamp = envelope.Timestamp{} },
		"bind key":  func(f *frame) { f.BindKey = randomBytes(16) },
		"status":    func(f *frame) { f.Status = envelope.Status{Code: reason.NotAuthorised}.Append(nil) },
	} {
		shakes = append(shakes, shake{name: "INIT/" + name, rule: onInit(instead(how))},
			shake{name: "RESPONSE/" + name, rule: onResponse(instead(how))})
	}
	for _, p := range []relayv1.Profile{0, 1, 2, 99} {
		shakes = append(shakes, shake{name: fmt.Sprintf("RESPONSE/profile %d", int32(p)), rule: onResponse(instead(
			func(f *frame) { f.Profile = p }))})
	}
	underShaking(t, shakes)
}

func TestAForgedHandshakeFrameInFrontOfTheTrueOneChangesNothing(t *testing.T) {
	// Few at a time: from the first on the client waits a second at most, which a slow machine may need for many.
	junk := func(_ *assault, f *frame) (fs []*frame) {
		for range 5 {
			fs = append(fs, f.with(func(f *frame) { f.ciphertext = randomBytes(len(f.ciphertext)) }))
		}
		return fs
	}
	lengthened := func(_ *assault, f *frame) (fs []*frame) {
		for _, n := range []int{0, 31, 48, len(f.ciphertext) - 1, len(f.ciphertext) + 1} {
			fs = append(fs, resized(f, n))
		}
		return fs
	}
	turned := func(_ *assault, f *frame) (fs []*frame) {
		for i := 0; i < len(f.ciphertext); i += 37 {
			fs = append(fs, f.with(func(f *frame) { f.ciphertext[i] ^= 1 << (i % 8) }))
		}
		return append(fs, f.with(func(f *frame) { clear(f.ciphertext[:32]) }))
	}
	shakes := []shake{
		{name: "RESPONSE/junk", rule: onResponse(before(junk))},
		{name: "RESPONSE/lengths", rule: onResponse(before(lengthened))},
		{name: "RESPONSE/bits", rule: onResponse(before(turned))},
		{name: "RESPONSE/of a session before", rule: onResponse(before(func(a *assault, f *frame) []*frame {
			return []*frame{renamed(a.oldest(typeResponse), a.id)}
		}))},
		{name: "RESPONSE/twice", rule: onResponse(before(func(_ *assault, f *frame) []*frame { return []*frame{f} }))},
		{name: "INIT/twice", rule: onInit(before(func(_ *assault, f *frame) []*frame { return []*frame{f} }))},
		{name: "INIT/of a session before", rule: onInit(before(func(a *assault, f *frame) []*frame {
			old := a.oldest(typeInit)
			return []*frame{old, renamed(old, envelope.SessionID(randomBytes(16)))}
		}))},
		{name: "INIT/of its own to the client", rule: func(a *assault) rule {
			a.at = atClient
			var own *frame
			return chain(func(_ *link, w way, f *frame) []*frame {
				if w == up && a.mine(f) && f.Type == typeInit {
					own = f
				}
				return []*frame{f}
			}, a.arriving(typeResponse, a.inserts(func(*frame) []*frame {
				return []*frame{own, own.with(func(f *frame) { f.Type = typeResponse })}
			})))
		}},
	}
	for name, what := range map[string]func(f *frame) *frame{
		"DATA":          func(f *frame) *frame { return f.with(func(f *frame) { f.Type, f.Sequence = typeData, 2 }) },
		"CLOSE":         func(f *frame) *frame { return f.with(func(f *frame) { f.Type, f.Sequence = typeClose, 2 }) },
		"ACK":           func(f *frame) *frame { return acks(f, 1, 1) },
		"RESUME":        func(f *frame) *frame { return proved(f, typeResume) },
		"RESUMED":       func(f *frame) *frame { return proved(f, typeResumed) },
		"SEQUENCE_GAP":  func(f *frame) *frame { return f.gap(0) },
		"a gap to go":   func(f *frame) *frame { return f.gap(1) },
		"a replay":      func(f *frame) *frame { return f.status(envelope.Status{Code: reason.SequenceReplay}) },
		"a future type": func(f *frame) *frame { return f.of(31) },
	} {
		twice := func(_ *assault, f *frame) []*frame { return []*frame{what(f), what(f)} }
		shakes = append(shakes, shake{name: "RESPONSE/" + name, rule: onResponse(before(twice))})
	}
	underShaking(t, shakes)
}

// oldest is a handshake frame of a session before.
func (a *assault) oldest(typ relayv1.FrameType) *frame {
	for _, fs := range a.older {
		for _, f := range fs {
			if f.Type == typ {
				return f
			}
		}
	}
	a.t.Error("there was no session before")
	return &frame{}
}

func TestAForgedAnswerInThePlaceOfTheDaemonsFailsTheHandshake(t *testing.T) {
	failed := end{client.HandshakeFailed, "local"}
	underShaking(t, []shake{
		{name: "junk", want: failed,
			rule: onResponse(instead(func(f *frame) { f.ciphertext = randomBytes(len(f.ciphertext)) }))},
		{name: "empty", want: failed, rule: onResponse(instead(func(f *frame) { f.ciphertext = nil }))},
		{name: "one byte less", want: failed,
			rule: onResponse(instead(func(f *frame) { f.ciphertext = f.ciphertext[:len(f.ciphertext)-1] }))},
		{name: "a bit of the key", want: failed, rule: onResponse(instead(func(f *frame) { f.ciphertext[3] ^= 4 }))},
		{name: "a bit of the parameters", want: failed,
			rule: onResponse(instead(func(f *frame) { f.ciphertext[40] ^= 1 }))},
		{name: "of a session before", want: failed, rule: onResponse(func(a *assault) act {
			return a.changes(func(f *frame) { f.ciphertext = a.oldest(typeResponse).ciphertext })
		})},
	})
}

// A handshake that is lost is begun anew, and the application sees an Open that takes longer.
func TestAHandshakeThatIsLostOnItsWayIsBegunAnew(t *testing.T) {
	drops := func(a *assault) act { return a.drops }
	other := envelope.SessionID([]byte("another bind key"))
	shakes := []shake{
		{name: "INIT", rule: onInit(drops)},
		{name: "RESPONSE", rule: onResponse(drops)},
		{name: "the first data", rule: func(a *assault) rule {
			a.at = atDaemon
			return a.arriving(typeData, from(1, 1, a.drops))
		}},
		{name: "RESPONSE/another sequence", rule: onResponse(instead(func(f *frame) { f.Sequence = 2 }))},
		{name: "RESPONSE/another session", rule: onResponse(instead(func(f *frame) { f.Session = []byte(other) }))},
	}
	cut := func(l *link) { l.drop() }
	for name, x := range map[string]shake{
		"INIT":     {rule: onInit(func(a *assault) act { return a.cutting(cut) })},
		"RESPONSE": {rule: onResponse(func(a *assault) act { return a.cutting(cut) })},
		"the first data": {rule: func(a *assault) rule {
			a.at = atDaemon
			return a.arriving(typeData, from(1, 1, a.cutting(cut)))
		}},
		"the client's link with INIT": {rule: onInit(func(a *assault) act {
			return a.cutting(func(*link) { a.m.latest(atClient).drop() })
		})},
	} {
		shakes = append(shakes, shake{name: "the link/" + name, rule: x.rule})
	}
	for name, how := range map[string]func(f *frame){
		"the other profile":   func(f *frame) { f.Profile = 3 - f.Profile },
		"no profile":          func(f *frame) { f.Profile = 0 },
		"a future profile":    func(f *frame) { f.Profile = 99 },
		"another encoding":    func(f *frame) { f.Encoding = 0 },
		"another sequence":    func(f *frame) { f.Sequence = 2 },
		"another session":     func(f *frame) { f.Session = []byte(other) },
		"a bit of the key":    func(f *frame) { f.ciphertext[3] ^= 4 },
		"a bit of the static": func(f *frame) { f.ciphertext[40] ^= 1 },
		"a bit of the tag":    func(f *frame) { f.ciphertext[len(f.ciphertext)-1] ^= 1 },
		"cut":                 func(f *frame) { f.ciphertext = f.ciphertext[:95] },
		"a longer payload":    func(f *frame) { f.ciphertext = append(f.ciphertext, 1, 2, 3) },
	} {
		shakes = append(shakes, shake{name: "INIT/" + name, rule: onInit(instead(how))})
	}
	underShaking(t, shakes)
}

func TestAHandshakeThatIsRefusedFailsWithTheReason(t *testing.T) {
	var shakes []shake
	var ignored []reason.Code
	for _, code := range everyCode() {
		switch code {
		case reason.NotAuthorised, reason.ProfileTooWeak, reason.PairingUnknown, reason.Capacity:
			shakes = append(shakes, shake{name: "RESET/" + string(code), want: end{client.Reason(code), "peer"},
				rule: onResponse(before(func(_ *assault, f *frame) []*frame { return []*frame{f.reset(code, nil)} }))})
		default:
			ignored = append(ignored, code)
		}
		told := shake{name: "STATUS/" + string(code), rule: onResponse(before(func(_ *assault, f *frame) []*frame {
			return []*frame{f.status(envelope.Status{Code: code})}
		}))}
		switch code {
		case reason.RateLimited, reason.HandshakeTimeout: // it is tried again
		default:
			if !harmless[code] || code == reason.Capacity {
				told.want = end{client.Reason(code), "relay"}
			}
		}
		shakes = append(shakes, told)
	}
	for i := range shakes {
		shakes[i].profiles = profiles[i%2:][:1]
	}
	anyOther := func(_ *assault, f *frame) (fs []*frame) {
		for _, code := range ignored {
			fs = append(fs, f.reset(code, nil), f.reset(code, randomBytes(32)))
		}
		return fs
	}
	shakes = append(shakes, shake{name: "RESET/any other", rule: onResponse(before(anyOther))})
	underShaking(t, shakes)
}

// cutting loses a link with a frame.
func (a *assault) cutting(cut func(l *link)) act {
	return func(l *link, f *frame) []*frame {
		cut(l)
		return a.drops(l, f)
	}
}
