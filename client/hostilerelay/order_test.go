package hostilerelay_test

import (
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// holds keeps some frames back until n others of the type have passed, and then sends them in an order.
func (a *assault) holds(n int, order func(held []*frame) []*frame) act {
	var held []*frame
	return func(_ *link, f *frame) []*frame {
		if held = append(held, f); len(held) < n {
			return nil
		}
		a.bite()
		fs := order(held)
		held = nil
		return fs
	}
}

func backwards(fs []*frame) []*frame {
	var turned []*frame
	for i := len(fs) - 1; i >= 0; i-- {
		turned = append(turned, fs[i])
	}
	return turned
}

func TestFramesInAnotherOrderAreDeliveredInTheRightOne(t *testing.T) {
	under(t, []attack{
		{name: "two swapped", rule: func(a *assault) rule {
			return a.arriving(typeData, from(trigger, 2, a.holds(2, backwards)))
		}},
		{name: "four backwards", rule: func(a *assault) rule {
			return a.arriving(typeData, from(trigger, 4, a.holds(4, backwards)))
		}},
		{name: "the first frame of all behind the second", at: []role{atClient}, rule: func(a *assault) rule {
			return a.arriving(typeData, from(1, 2, a.holds(2, backwards)))
		}},
		{name: "the end before the last data", rule: func(a *assault) rule {
			// DATA that is not sent again waits for CLOSE.
			var last *frame
			return func(l *link, w way, f *frame) []*frame {
				switch {
				case !a.arrives(l, w, f), f.Resend:
				case f.Type == typeData:
					was := last
					if last = f; was != nil {
						return []*frame{was}
					}
					return nil
				case f.Type == typeClose && last != nil:
					a.bite()
					was := last
					last = nil
					return []*frame{f, was}
				}
				return []*frame{f}
			}
		}},
		{name: "an old ack behind newer ones", rule: func(a *assault) rule {
			var first *frame
			return func(l *link, w way, f *frame) []*frame {
				if !a.arrives(l, w, f) {
					return []*frame{f}
				}
				if first == nil {
					first = f.of(typeAck)
					first.Ack, first.Consumed = f.Ack, f.Consumed
				}
				a.bite()
				return []*frame{f, first}
			}
		}},
		{name: "RESUMED behind what is sent again", rule: func(a *assault) rule {
			var held *frame
			return chain(a.asks(a.at), func(l *link, w way, f *frame) []*frame {
				switch {
				case !a.arrives(l, w, f):
				case f.Type == typeResumed && held == nil:
					held = f
					return nil
				case f.Type == typeData && held != nil:
					a.bite()
					was := held
					held = nil
					return []*frame{f, was}
				}
				return []*frame{f}
			})
		}},
	})
}

func TestFramesThatAreLostAreSentAgain(t *testing.T) {
	attacks := []attack{
		{name: "one in three", rule: func(a *assault) rule {
			n := 0
			return a.arriving(typeData, from(trigger, 9, func(l *link, f *frame) []*frame {
				if n++; n%3 == 0 {
					return a.drops(l, f)
				}
				return []*frame{f}
			}))
		}},
		{name: "every ack in a header", rule: func(a *assault) rule {
			return func(l *link, w way, f *frame) []*frame {
				switch {
				case !a.arrives(l, w, f):
				case f.Type == typeAck:
					return a.drops(l, f)
				case f.Type == typeData || f.Type == typeClose:
					return a.changes(func(f *frame) { f.Ack, f.Consumed = 0, 0 })(l, f)
				}
				return []*frame{f}
			}
		}},
		{name: "a frame before the relay and what the relay says of it", rule: func(a *assault) rule {
			lost := false
			return func(l *link, w way, f *frame) []*frame {
				switch {
				case l.role != a.at || !a.mine(f):
				case w == up && f.Type == typeData && f.Sequence == trigger && !lost:
					lost = true
					return a.drops(l, f)
				case w == down && f.Type == typeStatus:
					return a.drops(l, f)
				}
				return []*frame{f}
			}
		}},
		{name: "everything both ways until each end asks", rule: func(a *assault) rule {
			n := 0
			asked := map[role]bool{}
			return func(l *link, w way, f *frame) []*frame {
				if w != down || !a.mine(f) || len(asked) == 2 {
					return []*frame{f}
				}
				if f.Type == typeResume {
					asked[l.role] = true
				}
				if n++; n < 2*trigger {
					return []*frame{f}
				}
				return a.drops(l, f)
			}
		}},
	}
	for _, typ := range []relayv1.FrameType{typeData, typeClose, typeAck, typeResume, typeResumed} {
		first, most := 1, 1
		if typ == typeData || typ == typeAck { // the others wait for a probe each time
			first, most = trigger, 3
		}
		for name, times := range map[string]int{"one": 1, "some in a row": most} {
			if name != "one" && most == 1 {
				continue
			}
			attacks = append(attacks, attack{name: typ.String() + "/" + name, rule: func(a *assault) rule {
				return chain(a.asked(typ), a.arriving(typ, from(first, times, a.drops)))
			}})
		}
	}
	under(t, attacks)
}
