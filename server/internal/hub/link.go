package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

// Info is what the hub knows of a link from its admission. It holds nothing about people.
type Info struct {
	// Workspace and Target are what the link was admitted for.
	Workspace, Target string
	// Peer is what the target's machine decides takeover and profile by.
	Peer route.Peer
	// TokenID is the name of the link's token; empty if it has none. Expires is when the token does; zero: never.
	TokenID string
	Expires time.Time
	// Source is the address of the peer's connection; Version what it says it runs (at most 64 bytes); Attempt which
	// connection attempt this was, 0 if it does not say. For operators only.
	Source, Version string
	Attempt         uint32
}

// Link is one admitted link. Its reader calls Sequence and Forward, its sender Take; both may run at once, each in one
// goroutine. The transport calls Open when it may send and Detach when it has ended.
type Link struct {
	// Static after Attach.
	Info
	Since   time.Time
	hub     *Hub
	target  *target
	machine *route.Link
	send    func()

	// verdict gets the machine's answer to Attach, once.
	verdict chan *reason.Error
	// done is closed when the relay ends the link, after end was set.
	done chan struct{}
	once sync.Once
	end  *reason.Error
	left atomic.Bool // Detach was called
	// onEnd is called when the relay ends the link; nil: nothing is, or it was.
	onEnd atomic.Pointer[func()]

	// Guarded by the target's mutex.
	admitted   bool // the machine's answer to Attach was yes
	open       bool // the transport may send
	wakeAtOpen bool // something waits for it
	detached   bool // the target has forgotten it
	channels   []string
}

// Batch is one received batch and what the target's machine said of its frames.
type Batch struct {
	envelope.Batch
	runs []run // what passed, in order
	// NoPeer: Sequence has dropped a legacy frame because no daemon is attached.
	NoPeer bool
}

// run is neighbours of a batch, the frames [from, to), that go the same way.
type run struct {
	pass     route.Pass
	from, to int
}

// Serial is the link's place in the order of admission.
func (l *Link) Serial() uint64 { return l.machine.Serial() }

// Done is closed when the relay ends the link; Err then says why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why the relay ended the link. Call it after Done is closed.
func (l *Link) Err() *reason.Error { return l.end }

// finish makes the transport end with why, and reports whether it was not ending already.
func (l *Link) finish(why *reason.Error) (first bool) {
	l.once.Do(func() {
		l.end, first = why, true
		close(l.done)
		l.tellEnd()
	})
	return first
}

// OnEnd has f called once, in a goroutine of the hub, when the relay ends the link, or now if it has.
func (l *Link) OnEnd(f func()) {
	l.onEnd.Store(&f)
	select {
	case <-l.done:
		l.tellEnd()
	default:
	}
}

func (l *Link) tellEnd() {
	if f := l.onEnd.Swap(nil); f != nil {
		l.hub.Go(*f)
	}
}

// Open tells that the transport has sent its headers: from now on send may be called.
func (l *Link) Open() {
	t := l.target
	t.mu.Lock()
	defer t.mu.Unlock()
	l.open = true
	if l.wakeAtOpen && !l.detached {
		l.send()
	}
}

// Detach takes the link out of its target: what it had queued is discarded, and what it sends is dropped. A link may be
// detached more than once.
func (l *Link) Detach() {
	if stats, first := l.detach(); first {
		l.hub.retire(stats)
	}
	if !l.left.Swap(true) {
		l.hub.gone()
	}
}

func (l *Link) detach() (last route.LinkStats, first bool) {
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	if l.detached {
		return last, false
	}
	t.remove(l, nil, now)
	return l.machine.Stats(), true
}

// Sequence asks the target's machine about every frame of b, in order, and reports how many pass: Forward queues them. An
// error ends the link; the frames in front of the bad one still count.
func (l *Link) Sequence(b *Batch) (passed int, end *reason.Error) {
	if err := b.Split(l.hub.frames); err != nil {
		end = reason.Of(err)
	}
	b.runs, b.NoPeer = b.runs[:0], false
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	frames := b.Frames()
	for i := range frames {
		v := t.machine.Sequence(l.machine, &frames[i], now)
		if v.End != nil {
			end = v.End
			break
		}
		if !v.Pass.OK() {
			b.NoPeer = b.NoPeer || v.NoPeer
			continue
		}
		passed++
		// A frame that was dropped ends the run before it: what follows begins another one.
		if n := len(b.runs); n > 0 && b.runs[n-1].to == i && b.runs[n-1].pass.Extend(v.Pass) {
			b.runs[n-1].to++
		} else {
			b.runs = append(b.runs, run{pass: v.Pass, from: i, to: i + 1})
		}
	}
	t.act(t.machine.Effects())
	return passed, end
}

// Receive takes one message whole, which belongs to the hub from then on: what passes is queued. b is the reader's own,
// and empty again. It reports how many frames passed; an error ends the link, the frames in front of the bad one still
// count.
func (l *Link) Receive(b *Batch, message []byte) (passed int, end *reason.Error) {
	b.Load(message)
	defer b.Free()
	if passed, end = l.Sequence(b); passed > 0 {
		l.Forward(b)
	}
	return passed, end
}

// Forward queues the frames of b that passed, as they were received. It frees the batch.
func (l *Link) Forward(b *Batch) {
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	for _, r := range b.runs {
		t.machine.Forward(l.machine, r.pass, b.Run(r.from, r.to), now)
	}
	t.act(t.machine.Effects())
	b.Free()
}

// Take moves at most max bytes (or one envelope) of what the link has to send into o, and reports false when there was
// nothing: then the sender ends, and send is called when there is something again.
func (l *Link) Take(max int, o *envelope.Outgoing) bool {
	t := l.target
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.machine.Take(l.machine, max, o)
}
