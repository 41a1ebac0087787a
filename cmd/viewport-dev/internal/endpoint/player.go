package endpoint

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/ledger"
)

// player is one end of a session that plays its plan.
type player struct {
	// Static.
	name    string
	session *client.Session
	plan    Plan
	random  *rand.Rand // owned by send
	finish  <-chan struct{}
	back    func(Back)    // a block came after the peer had been lost; nil: nobody wants to know
	poke    chan struct{} // has an element when a pause is to end
	came    chan struct{} // has an element when echoes has grown
	over    chan struct{} // closed when the peer's direction has ended

	mu sync.Mutex
	// Guarded by mu.
	writer    *ledger.Writer
	reader    *ledger.Reader
	echoes    int // blocks that came and were not answered
	sending   waiting
	receiving waiting
	lost      bool // the peer can't be reached
	returned  bool // it can again, and no block came since
	resumes   int
}

// waiting is what a direction waits for, and since when.
type waiting struct {
	what  string
	since time.Time
}

// newPlayer returns a player of s that sends one stream and gets another.
func (p *process) newPlayer(s *client.Session, name string, plan Plan, out, in string) *player {
	plan.Least = max(plan.Least, ledger.MinBlock)
	plan.Most = min(max(plan.Most, plan.Least), s.MaxMessage())
	sum := sha256.Sum256([]byte(p.config.Seed + "\x00plan " + out))
	pl := &player{
		name: name, session: s, plan: plan, random: rand.New(rand.NewChaCha8(sum)), finish: p.finish,
		poke: make(chan struct{}, 1), came: make(chan struct{}, 1), over: make(chan struct{}),
		writer: ledger.NewWriter(p.config.Seed, out), reader: ledger.NewReader(p.config.Seed, in),
	}
	if p.config.Daemon == nil {
		pl.back = func(b Back) { p.tell(Event{Back: &b}) }
	}
	return pl
}

// play returns when the session has ended.
func (p *player) play(ctx context.Context) Result {
	var both sync.WaitGroup
	var sent, received error
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { p.watch(stop) })
	both.Go(func() {
		if sent = p.send(ctx); sent != nil {
			p.session.Abort()
		}
	})
	both.Go(func() {
		defer close(p.over)
		if received = p.receive(ctx); received != nil {
			p.session.Abort()
		}
	})
	both.Wait()
	p.waits(&p.sending, "its end")
	err := errors.Join(sent, received)
	if err == nil {
		select {
		case <-p.session.Done():
			err = p.session.Err()
		case <-ctx.Done():
			p.session.Abort()
			err = context.Cause(ctx)
		}
	}
	close(stop)
	watching.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	r := Result{Name: p.name, Sent: p.writer.Sent(), Got: p.reader.Tally(), Resumes: p.resumes}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// send plays the plan.
func (p *player) send(ctx context.Context) error {
	for n := 0; p.more(ctx, n); n++ {
		p.waits(&p.sending, "the window")
		p.mu.Lock()
		block := p.writer.Block(p.size(), time.Now())
		p.mu.Unlock()
		if err := p.session.Send(ctx, block); err != nil {
			return fmt.Errorf("sending block %d: %w", n, err)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.waits(&p.sending, "the window, for its end")
	p.mu.Lock()
	end := p.writer.End(time.Now())
	p.mu.Unlock()
	if err := p.session.Send(ctx, end); err != nil {
		return fmt.Errorf("sending the end: %w", err)
	}
	if err := p.session.CloseWrite(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}

// more waits until the plan wants the next block, which is number n, and reports whether it wants one.
func (p *player) more(ctx context.Context, n int) bool {
	finish := p.finish
	switch {
	case p.plan.Echo:
		return p.echo(ctx)
	case p.plan.Late:
		p.waits(&p.sending, "being told to finish")
		select {
		case <-p.finish:
		case <-ctx.Done():
		}
		return n < p.plan.Blocks && ctx.Err() == nil
	case p.plan.Blocks > 0:
		finish = nil // it sends them all, whatever happens
		if n == p.plan.Blocks {
			return false
		}
	}
	if p.plan.Pause > 0 && n > 0 {
		p.waits(&p.sending, "its pause")
		pause := time.NewTimer(time.Duration(p.random.ExpFloat64() * float64(p.plan.Pause)))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-p.poke:
		case <-finish:
		case <-ctx.Done():
		}
	}
	select {
	case <-finish:
		return false
	default:
		return ctx.Err() == nil
	}
}

// echo waits for a block to answer.
func (p *player) echo(ctx context.Context) bool {
	p.waits(&p.sending, "something to answer")
	for {
		p.mu.Lock()
		due := p.echoes > 0
		if due {
			p.echoes--
		}
		p.mu.Unlock()
		if due {
			return true
		}
		select {
		case <-p.came:
		case <-p.over:
			p.mu.Lock()
			left := p.echoes > 0
			p.mu.Unlock()
			if !left {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// size draws a size: as many of one order of magnitude as of the next.
func (p *player) size() int {
	least, most := math.Log(float64(p.plan.Least)), math.Log(float64(p.plan.Most))
	return int(math.Round(math.Exp(least + p.random.Float64()*(most-least))))
}

// receive takes what comes, until a clean end.
func (p *player) receive(ctx context.Context) error {
	for {
		p.waits(&p.receiving, "its peer")
		b, err := p.session.Recv(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		now := time.Now()
		p.mu.Lock()
		p.reader.Take(b, now)
		if p.plan.Echo && !p.reader.Tally().Ended {
			p.echoes++
			signal(p.came)
		}
		returned := p.returned
		p.returned = false
		p.mu.Unlock()
		if returned && p.back != nil {
			p.back(Back{Name: p.name, At: now.UnixNano()})
		}
	}
}

// watch counts how often the peer is found again, until stop.
func (p *player) watch(stop <-chan struct{}) {
	for first := true; ; first = false {
		ok, changed := p.session.Reachable()
		p.mu.Lock()
		// If it was reachable and is after a change, it was not in between.
		if ok && !first {
			p.resumes++
			p.returned = true
			signal(p.poke) // to see soon that it works
		}
		p.lost = !ok
		p.mu.Unlock()
		select {
		case <-changed:
		case <-stop:
			return
		}
	}
}

func (p *player) waits(w *waiting, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*w = waiting{what, time.Now()}
}

// state describes what the session is at. What it waits to receive is the best sign of whether it moves.
func (p *player) state() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := func(w waiting) string { return fmt.Sprintf("%s for %.1f s", w.what, time.Since(w.since).Seconds()) }
	reach := "reachable"
	if p.lost {
		reach = "not reachable"
	}
	text := fmt.Sprintf("%s: peer %s; sent %d blocks, waits for %s; got %d, waits for %s", p.name, reach,
		p.writer.Sent().Blocks, since(p.sending), p.reader.Tally().Blocks, since(p.receiving))
	return state{text, p.receiving.since}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
