package hostilerelay_test

import (
	"testing"
)

func TestFramesOfAnotherSessionAreNotDelivered(t *testing.T) {
	under(t, []attack{
		{name: "swapped with the session beside it", rule: func(a *assault) rule {
			n := 0
			return func(l *link, w way, f *frame) []*frame {
				other := a.beside
				if string(f.Session) == a.beside {
					other = a.id
				}
				if w != down || l.role != a.at || !a.mine(f) && other == a.beside || f.Type != typeData || n >= 6 {
					return []*frame{f}
				}
				n++
				a.bite()
				return []*frame{renamed(f, other)}
			}
		}},
		{name: "a session of another client", rule: func(a *assault) rule {
			up, down_ := a.open(a.another(a.stranger))
			c := newConversation('c', up, down_)
			id := c.id()
			talks := make(chan error, 1)
			go func() { talks <- c.exchange(a.ctx, talked) }()
			a.t.Cleanup(func() {
				if err := <-talks; err != nil {
					a.t.Errorf("the other client's session: %v", err)
				}
			})
			return func(_ *link, w way, f *frame) []*frame {
				if w == down && string(f.Session) == id {
					a.bite()
					a.m.latestOf(a.at, a.id).inject(down, renamed(f, a.id))
				}
				return []*frame{f}
			}
		}},
		{name: "the other direction", rule: func(a *assault) rule {
			return func(l *link, w way, f *frame) []*frame {
				if a.answers(l, w, f) {
					a.bite()
					a.m.latestOf(a.at, a.id).inject(down, f)
				}
				return []*frame{f}
			}
		}},
	})
}

func TestAnEndsOwnFramesDoNotComeFromItsPeer(t *testing.T) {
	reflects := func(l *link, w way, a *assault, f *frame) bool { return w == up && l.role == a.at && a.mine(f) }
	under(t, []attack{
		{name: "besides its peer's", rule: func(a *assault) rule {
			return chain(a.asks(atClient), a.asks(atDaemon), func(l *link, w way, f *frame) []*frame {
				if reflects(l, w, a, f) {
					a.bite()
					l.inject(down, f, f.with(func(f *frame) { f.Resend = true }))
				}
				return []*frame{f}
			})
		}},
		{name: "in place of its peer's", rule: func(a *assault) rule {
			n := 0
			return chain(a.asks(atClient), a.asks(atDaemon), func(l *link, w way, f *frame) []*frame {
				if reflects(l, w, a, f) {
					l.inject(down, f)
				}
				if !a.arrives(l, w, f) {
					return []*frame{f}
				}
				if n++; n < trigger || n >= 2*trigger {
					return []*frame{f}
				}
				return a.drops(l, f)
			})
		}},
		{name: "RESUME as RESUMED", rule: func(a *assault) rule {
			return chain(a.asks(a.at), func(l *link, w way, f *frame) []*frame {
				if reflects(l, w, a, f) && f.Type == typeResume {
					a.bite()
					l.inject(down, f, f.with(func(f *frame) { f.Type = typeResumed }))
				}
				return []*frame{f}
			})
		}},
	})
}

// Two clients of one daemon, and a relay that takes each for the other, at its daemon or at themselves.
func TestTwoClientsWhoseSessionsAreSwappedGetNothingOfEachOther(t *testing.T) {
	under(t, []attack{{name: "all", profiles: profiles, talk: func(a *assault) outcome {
		up, down_ := a.open(a.another(a.stranger))
		other := newConversation('c', up, down_)
		swaps := a.swapping(a.id, other.id())
		if a.target.tag != 'w' {
			a.m.set(swaps)
		}
		over := make(chan outcome, 1)
		second := &assault{world: a.world, x: &attack{}, at: a.at, target: other, id: other.id()}
		go func() { over <- second.talked(bears) }()
		got := a.talked(bears)
		if o := <-over; o != bears {
			a.t.Errorf("the other client's session: got %v, want %v", o, bears)
		}
		return got
	}, rule: func(a *assault) rule { return a.recording(a.older) }}})
}

// swapping delivers some frames of two sessions as each other's.
func (a *assault) swapping(one, two string) rule {
	n := 0
	return func(l *link, w way, f *frame) []*frame {
		other := ""
		switch string(f.Session) {
		case one:
			other = two
		case two:
			other = one
		}
		if w != down || l.role != a.at || other == "" || n >= 12 {
			return []*frame{f}
		}
		n++
		a.bite()
		if a.at == atDaemon {
			return []*frame{renamed(f, other)}
		}
		// To the other client, as the session it is and as the other's own.
		for _, to := range a.m.links {
			if to.role == atClient && to != l {
				to.inject(down, f, renamed(f, other))
			}
		}
		return nil
	}
}
