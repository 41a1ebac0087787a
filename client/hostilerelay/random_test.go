package hostilerelay_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/relaytest"
)

var (
	seeds = flag.Int("seeds", 20, "how many random relays to play")
	first = flag.Uint64("first", 1, "the seed to begin with")
)

const (
	// enough is how often a random relay does something before its run is over.
	enough = 150
	// period bounds a run that does not get so far: a session that waits for a probe is what most of them come to.
	period = 30 * time.Second
	// remembered is how many envelopes a random relay keeps to send again.
	remembered = 256
)

// chaos is a relay that does something at random to one envelope in some, and knows nothing of what it does.
type chaos struct {
	rand  *rand.Rand
	often int // one envelope in so many
	seen  []*frame
	held  []heldFrame
	n     int
	bites map[string]int
	total int
	over  func() // called when the relay has done enough
}

// heldFrame is let go when the n-th envelope comes by.
type heldFrame struct {
	l *link
	w way
	f *frame
	n int
}

func newChaos(seed uint64) *chaos {
	r := rand.New(rand.NewPCG(seed, 0))
	return &chaos{rand: r, often: 8 + r.IntN(40), bites: map[string]int{}}
}

func (c *chaos) rule(l *link, w way, f *frame) []*frame {
	c.n++
	for i := 0; i < len(c.held); i++ {
		if h := c.held[i]; h.n <= c.n {
			h.l.inject(h.w, h.f)
			c.held = append(c.held[:i], c.held[i+1:]...)
			i--
		}
	}
	if len(c.seen) < remembered {
		c.seen = append(c.seen, f)
	} else {
		c.seen[c.rand.IntN(remembered)] = f
	}
	if c.rand.IntN(c.often) > 0 {
		return []*frame{f}
	}
	acts := []string{"drop", "double", "hold"}
	if w == down { // what is broken on its way up the honest relay refuses
		acts = append(acts, "change", "change", "insert", "replay", "splice", "reflect", "invent", "cut")
	}
	act := acts[c.rand.IntN(len(acts))]
	if act == "cut" && c.rand.IntN(8) > 0 {
		return []*frame{f}
	}
	c.bites[act]++
	if c.total++; c.total == enough {
		c.over()
	}
	switch act {
	case "drop":
		return nil
	case "double":
		return []*frame{f, f}
	case "hold":
		if len(c.held) < remembered {
			c.held = append(c.held, heldFrame{l, w, f, c.n + 1 + c.rand.IntN(40)})
		}
		return nil
	case "change":
		return []*frame{c.changed(f)}
	case "insert":
		return []*frame{c.changed(f), f}
	case "replay":
		return []*frame{f, c.any()}
	case "splice":
		return []*frame{f, renamed(c.any(), string(f.Session))}
	case "reflect":
		other := l.m.links[c.rand.IntN(len(l.m.links))]
		other.inject(down, f, renamed(f, string(c.any().Session)))
	case "invent":
		return []*frame{c.invented(f), f}
	case "cut":
		l.inject(down, f)
		l.drop()
		return nil
	}
	return []*frame{f}
}

func (c *chaos) any() *frame { return c.seen[c.rand.IntN(len(c.seen))] }

// changed is f with something else in it.
func (c *chaos) changed(f *frame) *frame {
	number := func() uint64 {
		if c.rand.IntN(4) == 0 {
			return c.rand.Uint64() >> 1
		}
		return uint64(c.rand.IntN(100))
	}
	return f.with(func(f *frame) {
		for range 1 + c.rand.IntN(3) {
			switch c.rand.IntN(12) {
			case 0:
				f.Type = c.any().Type
			case 1:
				f.Ack = number()
			case 2:
				f.Consumed = number()
			case 3:
				f.Resend = !f.Resend
			case 4:
				f.ResumeAttempt = number()
			case 5:
				f.Timestamp = c.any().Timestamp
			case 6:
				f.Session = c.any().Session
			case 7:
				if f.sequenced() {
					f.Sequence = max(1, number())
				}
			case 8:
				f.ciphertext = c.any().ciphertext
			case 9:
				f.Profile, f.Encoding = c.any().Profile, c.any().Encoding
			default:
				if len(f.ciphertext) > 0 {
					f.ciphertext[c.rand.IntN(len(f.ciphertext))] ^= 1 << c.rand.IntN(8)
				}
			}
		}
		f.form()
	})
}

// form makes what was changed an envelope again, mostly: what is none only costs the link.
func (f *frame) form() {
	switch {
	case f.sequenced():
		f.Sequence = max(1, f.Sequence)
	case f.Type != typeResume && f.Type != typeResumed:
		f.Sequence = 0
	}
	if len(f.Session) == 0 {
		f.Encoding = 0
	}
}

// invented is something about f's session that nobody said.
func (c *chaos) invented(f *frame) *frame {
	if len(f.Session) == 0 {
		return f
	}
	switch c.rand.IntN(12) {
	case 0:
		// An end, now and then.
		if all := reason.All(); c.rand.IntN(4) == 0 {
			return f.status(envelope.Status{Code: all[c.rand.IntN(len(all))]})
		}
		return f.reset(reason.SessionUnknown, nil)
	case 1:
		return f.reset(reason.DataLost, randomBytes(32))
	case 2:
		return proved(f, typeResume)
	case 3:
		return proved(f, typeResumed)
	case 4, 5:
		n := f.Ack + uint64(c.rand.IntN(4))
		return acks(f, n, min(n, f.Consumed+uint64(c.rand.IntN(4))))
	case 6:
		code := reason.PeerAvailable
		if c.rand.IntN(2) == 0 {
			code = reason.PeerUnavailable
		}
		return f.linkStatus(envelope.Status{Code: code})
	case 7:
		if c.rand.IntN(8) == 0 {
			return f.linkStatus(envelope.Status{Code: reason.Draining, RetryAfter: time.Millisecond})
		}
		return f.gap(0)
	case 8:
		return f.status(envelope.Status{Code: reason.SequenceReplay, Expected: c.rand.Uint64N(50)})
	default:
		return f.gap(c.rand.Uint64N(60))
	}
}

// tally is what became of the sessions of a run.
type tally struct{ clean, broken, cut, messages atomic.Int64 }

func TestWhateverARelayDoesNoWrongByteArrives(t *testing.T) {
	var all tally
	var mu sync.Mutex
	bites := map[string]int{}
	var jobs []job
	for i := range *seeds {
		seed := *first + uint64(i)
		jobs = append(jobs, job{fmt.Sprintf("seed=%d", seed), func(t *testing.T, relay *relaytest.Relay) {
			done := play(t, relay, seed, &all)
			mu.Lock()
			defer mu.Unlock()
			for act, n := range done {
				bites[act] += n
			}
		}})
	}
	together(t, jobs)
	t.Logf("%d relays: %d sessions ended cleanly, %d with an error, %d lived on; %d messages; %v", *seeds,
		all.clean.Load(), all.broken.Load(), all.cut.Load(), all.messages.Load(), bites)
	if *seeds >= 20 && (all.clean.Load() == 0 || all.messages.Load() == 0 || len(bites) < 9) {
		t.Error("the relays were too harmless or too harmful to show anything")
	}
}

// play lets one random relay have its way with two clients and two sessions of each at a time.
func play(t *testing.T, relay *relaytest.Relay, seed uint64, sum *tally) map[string]int {
	w := newWorld(t, relay, profiles[seed%2], settings{})
	second := w.another(w.stranger)
	accepted := w.accepts()
	ctx, stop := context.WithTimeout(w.ctx, period)
	defer stop()
	c := newChaos(seed)
	c.over = stop
	w.m.set(c.rule)
	var running sync.WaitGroup
	for i, from := range []*client.Client{w.client, w.client, second, second} {
		running.Go(func() {
			for tag := byte('a' + i); ctx.Err() == nil; tag += 4 {
				up, err := from.Open(ctx)
				switch {
				case err == nil:
				case from.Err() != nil:
					return // the relay has refused it for good
				default:
					continue
				}
				conversation := accepted.converse(ctx, tag, up)
				if conversation == nil {
					up.Abort()
					continue
				}
				conversation.under(ctx, t, seed, sum)
			}
		})
	}
	running.Wait()
	w.m.set(nil)
	if c.total == 0 {
		t.Errorf("seed %d: the relay did nothing", seed)
	}
	return c.bites
}

// under lets both ends talk until the session has ended at both, or ctx does, and checks what arrives.
func (c *conversation) under(ctx context.Context, t *testing.T, seed uint64, sum *tally) {
	var running sync.WaitGroup
	for _, s := range c.ends {
		running.Go(func() {
			if s.send(ctx, talked) == nil {
				_ = s.closeWrite()
			}
		})
		running.Go(func() {
			err := s.receive(ctx, -1)
			sum.messages.Add(s.received.Load())
			switch {
			case errors.Is(err, errUnsafe):
				t.Errorf("seed %d: %v", seed, err)
			case errors.Is(err, io.EOF):
				sum.clean.Add(1)
			case ctx.Err() != nil:
				sum.cut.Add(1)
			default:
				sum.broken.Add(1)
				s.peer.session.Abort() // it may not be told
			}
		})
	}
	running.Wait()
	for _, s := range c.ends {
		s.session.Abort()
	}
}

// accepts finds the daemon's end of a session, whatever order they come in.
type acceptor struct {
	mu      sync.Mutex
	waiting map[string]chan *client.Session
}

func (w *world) accepts() *acceptor {
	a := &acceptor{waiting: map[string]chan *client.Session{}}
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			s, err := w.listener.Accept(ctx)
			if err != nil {
				return
			}
			a.of(s.ID()) <- s
		}
	}()
	w.t.Cleanup(func() { stop(); <-done })
	return a
}

// of is where the daemon's end of a session comes.
func (a *acceptor) of(id string) chan *client.Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[id] == nil {
		a.waiting[id] = make(chan *client.Session, 1)
	}
	return a.waiting[id]
}

// converse is the conversation of a client's end with the daemon's; nil when that does not come.
func (a *acceptor) converse(ctx context.Context, tag byte, up *client.Session) *conversation {
	select {
	case down := <-a.of(up.ID()):
		return newConversation(tag, up, down)
	case <-up.Done():
	case <-ctx.Done():
	}
	return nil
}
