package hostilerelay_test

import (
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// This file is what rules are made of.

// trigger is the DATA frame that an attack waits for when it could begin anywhere: by then both ends talk.
const trigger = 4

// act is what is done to one frame: what goes on in its place.
type act func(l *link, f *frame) []*frame

// chain applies rules one after the other.
func chain(rules ...rule) rule {
	return func(l *link, w way, f *frame) []*frame {
		on := []*frame{f}
		for _, r := range rules {
			var next []*frame
			for _, f := range on {
				next = append(next, r(l, w, f)...)
			}
			on = next
		}
		return on
	}
}

// arriving does something to each frame of a type that arrives at the attacked end.
func (a *assault) arriving(typ relayv1.FrameType, do act) rule {
	return func(l *link, w way, f *frame) []*frame {
		if !a.arrives(l, w, f) || f.Type != typ {
			return []*frame{f}
		}
		return do(l, f)
	}
}

// answering is arriving at the attacked end's peer.
func (a *assault) answering(typ relayv1.FrameType, do act) rule {
	return func(l *link, w way, f *frame) []*frame {
		if !a.answers(l, w, f) || f.Type != typ {
			return []*frame{f}
		}
		return do(l, f)
	}
}

// from is how something is done from the n-th time on (the first is 1), and some times in a row.
func from(n, times int, do act) act {
	seen := 0
	return func(l *link, f *frame) []*frame {
		if seen++; seen < n || seen >= n+times {
			return []*frame{f}
		}
		return do(l, f)
	}
}

// once is from at the trigger, one time.
func once(do act) act {
	return from(trigger, 1, do)
}

// drops leaves a frame out.
func (a *assault) drops(*link, *frame) []*frame {
	a.bite()
	return nil
}

// changes puts a changed frame in the place of each.
func (a *assault) changes(how func(f *frame)) act {
	return func(_ *link, f *frame) []*frame {
		a.bite()
		return []*frame{f.with(how)}
	}
}

// inserts puts frames in front of each.
func (a *assault) inserts(what func(f *frame) []*frame) act {
	return func(_ *link, f *frame) []*frame {
		fs := what(f)
		for range fs {
			a.bite()
		}
		return append(fs, f)
	}
}

// asks makes the end r send RESUME, which its peer answers with RESUMED, now and then: by SEQUENCE_GAP expected 0.
func (a *assault) asks(r role) rule {
	seen := 0
	return func(l *link, w way, f *frame) []*frame {
		if w != down || l.role != r || !a.mine(f) || f.Type != typeData {
			return []*frame{f}
		}
		if seen++; seen%8 != trigger {
			return []*frame{f}
		}
		return []*frame{f.gap(0), f}
	}
}

// asked makes frames of a type arrive at the attacked end: of the types that nobody sends without need.
func (a *assault) asked(typ relayv1.FrameType) rule {
	switch typ {
	case typeResume:
		return a.asks(a.at.other())
	case typeResumed:
		return a.asks(a.at)
	case typeAck: // most acks ride on data
		return func(l *link, w way, f *frame) []*frame {
			if !a.arrives(l, w, f) || f.Type != typeData {
				return []*frame{f}
			}
			return []*frame{acks(f, f.Ack, f.Consumed), f}
		}
	}
	return func(_ *link, _ way, f *frame) []*frame { return []*frame{f} }
}

// renamed is f in another session.
func renamed(f *frame, id string) *frame {
	return f.with(func(f *frame) { f.Session = []byte(id) })
}
