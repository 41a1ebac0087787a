package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/faults"
	"github.com/getviewport/relay/internal/devplatform"
)

type stormCommand struct {
	Clients int           `default:"2000" help:"How many clients (${default})."`
	Seed    uint64        `help:"What decides the bytes (default: a random one, which is printed)."`
	JSON    bool          `name:"json" help:"Print the result as one line of JSON."`
	Calm    time.Duration `default:"11s" hidden:"" help:"How long links live before they are cut."`
}

const (
	stormDaemons   = 5
	stormProcesses = 2 // of clients
	maxStorm       = 20_000
	// stormTime is how long it may take until all are back: on a machine that does other things, too.
	stormTime = 5 * time.Minute
	// validateAtOnce is the relay's bound on validate calls, and validateTime how long each takes: as long as a call to
	// another machine, so that many are under way.
	validateAtOnce = 64
	validateTime   = 20 * time.Millisecond
	// spareFiles are those that this process has open besides links.
	spareFiles = 256
)

// stormResult is what a storm found.
type stormResult struct {
	Seed    uint64       `json:"seed"`
	Clients int          `json:"clients"`
	Daemons int          `json:"daemons"`
	Rounds  []stormRound `json:"rounds"`
	outcome
}

// String is the lines for people.
func (r stormResult) String() string {
	var text string
	for _, round := range r.Rounds {
		text += round.String() + "\n"
	}
	return text + fmt.Sprintf("storm: seed %d, clients %s, daemons %d, rounds %d, resumes %s, messages %s, lost %d, "+
		"doubled %d, reordered %d", r.Seed, thousands(uint64(r.Clients)), r.Daemons, len(r.Rounds),
		thousands(uint64(r.Resumes)), thousands(r.Blocks), r.Lost, r.Doubled, r.Reordered)
}

// storm is one run.
type storm struct {
	*ensemble
	command *stormCommand
	links   *faults.Proxy // of the clients
	daemons *faults.Proxy
	result  stormResult
}

func (c *stormCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.Clients < 1 || c.Clients > maxStorm {
		return fmt.Errorf("--clients: from 1 to %d", maxStorm)
	}
	if err := c.enoughFiles(); err != nil {
		return err
	}
	if c.Seed == 0 {
		c.Seed = uint64(rand.Uint32())
	}
	_, _ = fmt.Fprintf(stderr, "storm: seed %d, %d clients; Ctrl-C ends it\n", c.Seed, c.Clients)
	e, err := newEnsemble(ctx, plan{
		name: "storm", seed: strconv.FormatUint(c.Seed, 10), patience: stormTime,
		platform: devplatform.Config{ValidateTime: validateTime},
		settings: []string{
			"RELAY_VALIDATE_CONCURRENCY=" + strconv.Itoa(validateAtOnce), "RELAY_MAX_LINKS=" + strconv.Itoa(2*maxStorm),
			// All come from one address, as behind a terminator.
			"RELAY_MAX_LINKS_PER_ADDRESS=0", "RELAY_MAX_LINKS_PER_WORKSPACE=0", "RELAY_MAX_LINKS_PER_TARGET=0",
		},
	})
	if err != nil {
		return err
	}
	r := &storm{
		ensemble: e, command: c, result: stormResult{Seed: c.Seed, Clients: c.Clients, Daemons: min(stormDaemons, c.Clients)},
	}
	finished, err := e.run(ctx, stderr, r.steps)
	if !finished {
		return fmt.Errorf("storm: seed %d: %w", c.Seed, err)
	}
	errs := []error{report(stdout, c.JSON, r.result)}
	for _, round := range r.result.Rounds {
		errs = append(errs, round.verdict())
	}
	return errors.Join(append(errs, r.result.verdict("storm"), err)...)
}

// enoughFiles says what to do if the system does not allow as many open files as the links need in this process: two
// for each. Go has raised the soft limit to the hard one.
func (c *stormCommand) enoughFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("asking for the limit on open files: %w", err)
	}
	want, most := 2*c.Clients+spareFiles, uint64(limit.Cur)
	if uint64(want) <= most {
		return nil
	}
	fits := (max(int(most), spareFiles) - spareFiles) / 2
	return fmt.Errorf("storm: %d clients need %d open files in a process, and %d are allowed: raise the limit (ulimit "+
		"-Hn %d as root, or LimitNOFILE), or take at most %d clients (make storm STORM=%d)", c.Clients, want, most, want,
		fits, fits)
}

// steps runs all up to the result.
func (r *storm) steps(ctx context.Context) error {
	if err := r.startEnds(ctx); err != nil {
		return err
	}
	for _, cut := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"all links cut", func(context.Context) error {
			r.links.Reset()
			r.daemons.Reset()
			return nil
		}},
		{"relay killed and started again", func(ctx context.Context) error {
			if err := r.relay.kill(); err != nil {
				return err
			}
			return r.relay.start(ctx)
		}},
	} {
		if err := r.calm(ctx); err != nil {
			return err
		}
		if err := r.round(ctx, cut.what, cut.do); err != nil {
			return err
		}
	}
	err := r.finish(ctx)
	r.result.outcome = r.outcome()
	if err != nil {
		return errors.Join(err, r.result.verdict("so far"))
	}
	return nil
}

// calm lets the links live for a while.
func (r *storm) calm(ctx context.Context) error {
	select {
	case <-time.After(r.command.Calm):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startEnds starts daemons and clients, and returns when all sessions are open.
func (r *storm) startEnds(ctx context.Context) (err error) {
	if r.links, err = r.proxy(); err != nil {
		return err
	}
	if r.daemons, err = r.proxy(); err != nil {
		return err
	}
	var casts []*cast
	for n := range r.result.Daemons {
		c, err := r.newCast(fmt.Sprintf("target-%d", n+1), r.daemons.Addr())
		if err != nil {
			return err
		}
		casts = append(casts, c)
	}
	say, answer := endpoint.Plan{Most: 1 << 10, Pause: 5 * time.Second}, endpoint.Plan{Most: 1 << 10, Echo: true}
	clients := make([][]endpoint.Client, min(stormProcesses, r.command.Clients))
	for n := range r.command.Clients {
		script := endpoint.Script{Name: fmt.Sprintf("client-%d", n+1), Up: say, Down: answer}
		c, err := casts[n%len(casts)].client(r.links.Addr(), script)
		if err != nil {
			return err
		}
		clients[n%len(clients)] = append(clients[n%len(clients)], c)
	}
	for _, c := range casts {
		if err := r.start("daemon of "+c.daemon.Target, endpoint.Config{Daemon: &c.daemon}); err != nil {
			return err
		}
	}
	if err := r.awaitReady(ctx); err != nil {
		return err
	}
	for n, some := range clients {
		if err := r.start(fmt.Sprintf("clients %d of %d", n+1, len(clients)), endpoint.Config{Clients: some}); err != nil {
			return err
		}
	}
	return r.awaitReady(ctx)
}
