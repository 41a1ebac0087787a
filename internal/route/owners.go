package route

import (
	"container/list"
	"time"

	"github.com/getviewport/relay/internal/guard"
)

// owners is a table of who owns what of the legacy protocol: the answer to a request, or a session. An entry lives until
// it is dropped, its owner's link ends, or it was not used for lifetime.
type owners struct {
	sessions bool // its entries are sessions
	lifetime time.Duration
	byID     map[string]*owned
	idle     list.List // of *owned, the one that was used longest ago first
}

// owned is an entry.
type owned struct {
	in   *owners
	id   string
	link *Link // a client's
	at   *list.Element
	due  time.Time
	// up and down guard the two directions of a session.
	up, down guard.Rising
}

// findOwned returns the entry of id, nil if there is none, and counts that as use.
func (t *Target) findOwned(in *owners, id []byte) *owned {
	o := in.byID[string(id)]
	if o != nil && !t.now.Before(o.due) {
		t.disown(o)
		return nil
	}
	if o != nil {
		in.idle.MoveToBack(o.at)
		o.due = t.now.Add(in.lifetime)
	}
	return o
}

// own gives id to l, whoever had it before. Where there are too many, l's own that it used longest ago gives way, or the
// target's.
func (t *Target) own(in *owners, id []byte, l *Link) {
	if o := in.byID[string(id)]; o != nil {
		t.disown(o)
	}
	if len(l.owns) >= maxOwnedPerLink {
		t.disown(l.oldest())
	}
	if in.idle.Len() >= maxOwned {
		t.disown(in.idle.Front().Value.(*owned))
	}
	o := &owned{in: in, id: string(id), link: l, due: t.now.Add(in.lifetime)}
	o.at = in.idle.PushBack(o)
	if in.byID == nil {
		in.byID = make(map[string]*owned)
	}
	in.byID[o.id] = o
	if l.owns == nil {
		l.owns = make(map[*owned]struct{})
	}
	l.owns[o] = struct{}{}
	t.at(o.due)
}

// legacySessions is how many legacy sessions are l's.
func (l *Link) legacySessions() (n int) {
	for o := range l.owns {
		if o.in.sessions {
			n++
		}
	}
	return n
}

// oldest is what l owns and used longest ago.
func (l *Link) oldest() (o *owned) {
	for x := range l.owns {
		if o == nil || x.due.Before(o.due) {
			o = x
		}
	}
	return o
}

// disown forgets an entry.
func (t *Target) disown(o *owned) {
	o.in.idle.Remove(o.at)
	delete(o.in.byID, o.id)
	delete(o.link.owns, o)
}

// disownAll forgets everything in a table.
func (t *Target) disownAll(in *owners) {
	for in.idle.Len() > 0 {
		t.disown(in.idle.Front().Value.(*owned))
	}
}

// expireOwned forgets what was not used for too long.
func (t *Target) expireOwned(in *owners) {
	for front := in.idle.Front(); front != nil; front = in.idle.Front() {
		o := front.Value.(*owned)
		if t.now.Before(o.due) {
			t.at(o.due)
			return
		}
		t.disown(o)
	}
}
