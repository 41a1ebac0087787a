package hostilerelay_test

import (
	"testing"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// moves loses the attacked end's link some times, each time in the middle of things, and shows the rest to next: what
// arrives there on any link that is not the first. first is everything of the session that arrived on those before.
func (a *assault) moves(times int, next func(l *link, f *frame, first []*frame) []*frame) rule {
	var before []*frame
	on := a.m.latestOf(a.at, a.id)
	moved, seen := 0, 0
	return func(l *link, w way, f *frame) []*frame {
		if !a.arrives(l, w, f) {
			return []*frame{f}
		}
		if l != on {
			if moved < times { // the way is new: what came before is old now
				moved++
				seen = 0
			}
			on = l
		}
		out := []*frame{f}
		if moved > 0 {
			out = next(l, f, before)
		}
		before = append(before, f)
		if seen++; moved < times && f.Type == typeData && seen >= 2*trigger {
			seen = 0
			l.toDown.push(out...)
			l.drop()
			return nil
		}
		return out
	}
}

// firstTime is true once for each link.
func firstTime() func(l *link) bool {
	seen := map[*link]bool{}
	return func(l *link) bool {
		was := seen[l]
		seen[l] = true
		return !was
	}
}

func TestANewLinkIsNoNewSession(t *testing.T) {
	under(t, []attack{
		{name: "nothing else", rule: func(a *assault) rule {
			return a.moves(2, func(_ *link, f *frame, _ []*frame) []*frame {
				a.bite()
				return []*frame{f}
			})
		}},
		{name: "all from the old one again", rule: func(a *assault) rule {
			first := firstTime()
			again := a.moves(2, func(l *link, f *frame, before []*frame) []*frame {
				if !first(l) {
					return []*frame{f}
				}
				a.bite()
				return append(append([]*frame{}, before...), f)
			})
			return chain(a.asks(atClient), a.asks(atDaemon), again)
		}},
		{name: "all from the old one again as going on from there", rule: func(a *assault) rule {
			first := firstTime()
			return a.moves(1, func(l *link, f *frame, before []*frame) []*frame {
				if !first(l) {
					return []*frame{f}
				}
				a.bite()
				out := []*frame{f}
				for _, b := range before {
					out = append(out, b.with(func(f *frame) { f.Resend = true }))
				}
				return out
			})
		}},
		{name: "an old RESUMED before the new one", rule: func(a *assault) rule {
			first := firstTime()
			return chain(a.asks(a.at), a.moves(1, func(l *link, f *frame, before []*frame) []*frame {
				var old []*frame
				for _, b := range before {
					if first(l) && (b.Type == typeResumed || b.Type == typeResume) {
						old = append(old, b, b.with(func(f *frame) { f.ResumeAttempt += 1000 }))
					}
				}
				a.bite()
				return append(old, f)
			}))
		}},
		{name: "RESUME and RESUMED lost", rule: func(a *assault) rule {
			n := 0
			return a.moves(1, func(l *link, f *frame, _ []*frame) []*frame {
				if (f.Type == typeResume || f.Type == typeResumed) && n < 1 {
					n++
					return a.drops(l, f)
				}
				return []*frame{f}
			})
		}},
		{name: "an answer of the relay's own", rule: func(a *assault) rule {
			return a.moves(2, a.puts(func(f *frame) []*frame {
				forged := proved(f, typeResumed)
				return []*frame{
					forged, forged.with(func(f *frame) { f.Sequence = 1 << 40 }), proved(f, typeResume),
					acks(f, 1<<40, 1<<40),
				}
			}))
		}},
		{name: "a daemon that comes and goes", rule: func(a *assault) rule {
			n := 0
			return a.moves(2, a.puts(func(f *frame) []*frame {
				if n++; n > 8 {
					return nil
				}
				return []*frame{
					f.linkStatus(envelope.Status{Code: reason.PeerUnavailable}),
					f.linkStatus(envelope.Status{Code: reason.PeerAvailable}),
				}
			}))
		}},
		{name: "gaps of all kinds", rule: func(a *assault) rule {
			return a.moves(2, a.puts(func(f *frame) []*frame {
				return []*frame{f.gap(0), f.gap(1), f.gap(2), f.gap(1 << 40)}
			}))
		}},
		{name: "SESSION_UNKNOWN in the daemon's name", at: []role{atClient},
			want: outcome{end{"SESSION_UNKNOWN", "peer"}, unaware}, rule: func(a *assault) rule {
				cut := a.moves(1, func(_ *link, f *frame, _ []*frame) []*frame { return []*frame{f} })
				on := a.m.latestOf(a.at, a.id)
				return func(l *link, w way, f *frame) []*frame {
					if l != on && w == up && a.mine(f) && f.Type == typeResume {
						a.bite()
						l.inject(down, f.reset(reason.SessionUnknown, nil))
						return nil
					}
					return cut(l, w, f)
				}
			}},
	})
}

// puts is inserts for moves.
func (a *assault) puts(what func(f *frame) []*frame) func(l *link, f *frame, before []*frame) []*frame {
	do := a.inserts(what)
	return func(l *link, f *frame, _ []*frame) []*frame { return do(l, f) }
}

// While one link takes over from another a relay has both.
func TestWhileALinkTakesOverFromAnotherNothingIsLostOrDoubled(t *testing.T) {
	under(t, []attack{
		{name: "each one's frames on the other", rule: func(a *assault) rule {
			leaves := a.leaves()
			return func(l *link, w way, f *frame) []*frame {
				out := leaves(l, w, f)
				if w == down && l.role == a.at && a.mine(f) {
					for _, other := range a.m.links {
						if other.role == a.at && other != l {
							a.bite()
							other.inject(down, f)
						}
					}
				}
				return out
			}
		}},
		{name: "the old one's late", rule: func(a *assault) rule {
			// What the old link had to say when it was left comes on the new one, behind the new beginning.
			leaves := a.leaves()
			old := a.m.latestOf(a.at, a.id)
			var held []*frame
			return func(l *link, w way, f *frame) []*frame {
				out := leaves(l, w, f)
				switch {
				case !a.arrives(l, w, f):
				case l == old:
					held = append(held, f)
				case len(held) > 0:
					a.bite()
					out = append(out, held...)
					held = nil
				}
				return out
			}
		}},
		{name: "the old one's in place of the new one's", rule: func(a *assault) rule {
			// The old link brings what is meant for the new one, for a while.
			leaves := a.leaves()
			old := a.m.latestOf(a.at, a.id)
			n := 0
			return func(l *link, w way, f *frame) []*frame {
				out := leaves(l, w, f)
				if a.arrives(l, w, f) && l != old && n < 1 {
					n++
					a.bite()
					old.inject(down, out...)
					return nil
				}
				return out
			}
		}},
	})
}

// leaves asks the attacked end to move to another link, and keeps from it what comes on the one that it has.
func (a *assault) leaves() rule {
	old := a.m.latestOf(a.at, a.id)
	n := 0
	return func(l *link, w way, f *frame) []*frame {
		if !a.arrives(l, w, f) || l != old {
			return []*frame{f}
		}
		if n++; n == trigger {
			l.inject(down, f.linkStatus(envelope.Status{Code: reason.Draining}))
		}
		if n >= trigger {
			return nil
		}
		return []*frame{f}
	}
}
