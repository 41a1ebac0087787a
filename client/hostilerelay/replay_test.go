package hostilerelay_test

import (
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// everyType is what one end can send the other within a session that goes well.
var everyType = []relayv1.FrameType{
	typeInit, typeResponse, typeData, typeClose, typeAck, typeResume, typeResumed,
}

// targets are the ends at which a type arrives.
func targets(typ relayv1.FrameType) []role {
	switch typ {
	case typeInit:
		return []role{atDaemon}
	case typeResponse:
		return []role{atClient}
	}
	return nil
}

// repeats are the ways to send a frame that arrives at the attacked end again: what goes on in its place.
var repeats = map[string]func(a *assault) act{
	"at once": func(a *assault) act {
		return a.inserts(func(f *frame) []*frame { return []*frame{f, f} })
	},
	"a hundred times": func(a *assault) act {
		// More often than what does not verify may come in a row.
		return from(1, 3, a.inserts(func(f *frame) (fs []*frame) {
			for range 100 {
				fs = append(fs, f)
			}
			return fs
		}))
	},
	"with all before it": func(a *assault) act {
		var all []*frame
		return a.inserts(func(f *frame) []*frame {
			all = append(all, f)
			if len(all) > 40 {
				return nil
			}
			return all[:len(all):len(all)]
		})
	},
	"as going on from here": func(a *assault) act {
		var last *frame
		return a.inserts(func(f *frame) []*frame {
			was := last
			if last = f; was == nil {
				was = f
			}
			return []*frame{was.with(func(f *frame) { f.Resend = true })}
		})
	},
	"in the session beside it": func(a *assault) act {
		return a.inserts(func(f *frame) []*frame { return []*frame{renamed(f, a.beside)} })
	},
	"from a session before": func(a *assault) act {
		before := &assault{world: a.world, x: &attack{}, at: a.at, target: a.converse('o')}
		before.id = before.target.id()
		a.m.set(chain(before.asks(atClient), before.asks(atDaemon), before.asked(typeAck), a.recording(a.older)))
		if got := before.talked(bears); got != bears {
			a.t.Fatalf("the session before: got %v, want %v", got, bears)
		}
		n := 0
		return a.inserts(func(f *frame) []*frame {
			var was []*frame
			for _, o := range a.older[a.at] {
				if o.Type == f.Type {
					was = append(was, renamed(o, a.id))
				}
			}
			n++
			return was[n%len(was):][:1]
		})
	},
	"on another link": func(a *assault) act {
		a.another(a.dial)
		return func(l *link, f *frame) []*frame {
			for _, other := range a.m.links {
				if other != l {
					a.bite()
					other.inject(down, f)
				}
			}
			return []*frame{f}
		}
	},
}

func TestAFrameThatComesAgainChangesNothing(t *testing.T) {
	var attacks []attack
	for _, typ := range everyType {
		for name, again := range repeats {
			x := attack{name: typ.String() + "/" + name, at: targets(typ)}
			x.rule = func(a *assault) rule {
				do := again(a)
				if typ == typeInit || typ == typeResponse {
					// They came before: let them come again behind a frame of now.
					return a.arriving(typeData, from(trigger, 3, func(l *link, f *frame) []*frame {
						return append([]*frame{f}, do(l, a.begun.last(a.at, a.id, typ))...)
					}))
				}
				return chain(a.asked(typ), a.arriving(typ, do))
			}
			attacks = append(attacks, x)
		}
	}
	under(t, attacks)
}

// A daemon keeps a session that was closed to answer for it, and forgets one that was broken off but for its id.
func TestAWholeSessionThatComesAgainAfterItsEndOpensNone(t *testing.T) {
	var attacks []attack
	for name, use := range map[string]func(a *assault) outcome{
		"closed": func(a *assault) outcome { return a.talked(bears) },
		"broken off": func(a *assault) outcome {
			if err := a.target.exchange(a.ctx, 3); err != nil {
				a.t.Error(err)
			}
			a.target.ends[atDaemon].session.Abort()
			if e := a.over(a.ctx, a.target.ends[atClient]); e != (end{"CANCELLED", "peer"}) {
				a.t.Errorf("got %v", e)
			}
			return bears
		},
	} {
		attacks = append(attacks, attack{name: name, at: turns(len(attacks)), profiles: profiles,
			rule: func(a *assault) rule { return a.recording(a.older) },
			talk: func(a *assault) outcome {
				got := use(a)
				a.returns()
				return got
			}})
	}
	under(t, attacks)
}

// returns sends all again that both ends have received in sessions that are over.
func (a *assault) returns() {
	known := map[string]bool{a.id: true, a.met: true}
	a.met = a.id
	a.m.set(func(_ *link, w way, f *frame) []*frame {
		if w == up && f.Type == typeResponse && known[string(f.Session)] {
			a.t.Errorf("the daemon answered an INIT again: %v", f)
		}
		return []*frame{f}
	})
	a.m.do(func() {
		for _, r := range eachEnd {
			fs := append(a.older[r][:len(a.older[r]):len(a.older[r])], a.begun[r]...)
			a.m.latest(r).inject(down, fs...)
			a.bites += len(fs)
		}
	})
	// The next session that the daemon accepts is a new one.
	next, err := a.client.Open(a.ctx)
	if err != nil {
		a.t.Fatalf("the session after it: %v", err)
	}
	s, err := a.listener.Accept(a.ctx)
	if err != nil || s.ID() != next.ID() {
		a.t.Fatalf("the daemon accepted another session than the one that was opened: %v", err)
	}
	next.Abort()
}

// Each RESUME costs its receiver a window that it sends again, so one is not answered twice.
func TestAResumeThatComesAgainIsNotAnsweredAgain(t *testing.T) {
	under(t, []attack{{name: "many times", profiles: profiles, rule: func(a *assault) rule {
		answered := 0
		var asked []*frame
		a.t.Cleanup(func() {
			if answered > len(asked) {
				a.t.Errorf("the %s has answered %d RESUMEs with %d RESUMEDs", a.at, len(asked), answered)
			}
		})
		return chain(a.asked(typeResume), func(l *link, w way, f *frame) []*frame {
			switch {
			case a.arrives(l, w, f) && f.Type == typeResume:
				asked = append(asked, f)
			case a.arrives(l, w, f) && f.Type == typeData:
				return a.inserts(func(*frame) []*frame { return asked })(l, f)
			case w == up && l.role == a.at && a.mine(f) && f.Type == typeResumed:
				answered++
			}
			return []*frame{f}
		})
	}}})
}
