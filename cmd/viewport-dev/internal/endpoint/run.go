package endpoint

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxLine is the longest line of input, in bytes: a Config of a thousand clients.
const maxLine = 16 << 20

// process is what all sessions of a process share.
type process struct {
	// Static.
	config Config
	log    *slog.Logger
	// finish is closed by Finish.
	finish chan struct{}

	running sync.WaitGroup // sessions, and who opens or accepts them

	mu sync.Mutex
	// Guarded by mu.
	out    *json.Encoder
	states map[*func() state]bool // of what has not ended
}

// state is what something is at, and since when nothing has moved.
type state struct {
	text  string
	since time.Time
}

// Run is the whole life of a process. Log gets what the SDK has to say.
func Run(ctx context.Context, stdin io.Reader, stdout, log io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, maxLine)
	if !lines.Scan() {
		return errors.Join(errors.New("endpoint: no configuration"), lines.Err())
	}
	p := &process{
		log:    slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		finish: make(chan struct{}), out: json.NewEncoder(stdout), states: map[*func() state]bool{},
	}
	if err := json.Unmarshal(lines.Bytes(), &p.config); err != nil {
		return fmt.Errorf("endpoint: the configuration: %w", err)
	}
	p.running.Go(func() {
		if p.config.Daemon == nil {
			p.clients(ctx, p.config.Clients)
		} else if err := p.daemon(ctx, *p.config.Daemon); err != nil {
			p.fail(ctx, err)
		}
	})
	p.obey(lines)
	cancel()
	p.running.Wait()
	return nil
}

// fail tells why the process can't go on, unless it ends anyway.
func (p *process) fail(ctx context.Context, err error) {
	if ctx.Err() == nil {
		p.tell(Event{Failed: err.Error()})
	}
}

// obey does what the lines say, until they end.
func (p *process) obey(lines *bufio.Scanner) {
	var once sync.Once
	for lines.Scan() {
		switch lines.Text() {
		case Finish:
			once.Do(func() { close(p.finish) })
		case State:
			p.tell(Event{State: p.state()})
		}
	}
}

// tell writes an event. If nobody reads it any more the input ends, too.
func (p *process) tell(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(e)
}

// track makes what is tells part of what State tells, until the function that it returns is called.
func (p *process) track(is func() state) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states[&is] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.states, &is)
	}
}

// state is what has not ended is at, what has waited longest first.
func (p *process) state() []string {
	p.mu.Lock()
	functions := slices.Collect(maps.Keys(p.states))
	p.mu.Unlock()
	var all []state
	for _, is := range functions {
		all = append(all, (*is)())
	}
	slices.SortFunc(all, func(a, b state) int { return a.since.Compare(b.since) })
	texts := []string{} // that there is none must be said, too
	for _, s := range all {
		texts = append(texts, s.text)
	}
	return texts
}

// play plays a session to its end and tells the result.
func (p *process) play(ctx context.Context, pl *player) {
	end := p.track(pl.state)
	result := pl.play(ctx)
	end()
	p.tell(Event{Result: &result})
}
