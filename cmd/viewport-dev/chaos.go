package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/faults"
)

type chaosCommand struct {
	Time    time.Duration `default:"30s" help:"How long there are faults (${default})."`
	Seed    uint64        `help:"What decides the faults and the bytes (default: a random one, which is printed)."`
	JSON    bool          `name:"json" help:"Print the result as one line of JSON."`
	Verbose bool          `short:"v" help:"Print each fault as it happens, to standard error."`
}

// chaosResult is what chaos found.
type chaosResult struct {
	Seed  uint64 `json:"seed"`
	Kills int    `json:"kills"`
	// Cuts are connections that were reset, finished, forgotten, moved or frozen.
	Cuts int `json:"cuts"`
	outcome
}

// String is the line for people.
func (r chaosResult) String() string {
	return fmt.Sprintf("chaos: seed %d, kills %d, cuts %d, resumes %d, sessions %d, bytes %s, lost %d, doubled %d, "+
		"reordered %d, longest stall %.1f s", r.Seed, r.Kills, r.Cuts, r.Resumes, r.Sessions, thousands(r.Bytes), r.Lost,
		r.Doubled, r.Reordered, r.Stall)
}

const (
	// chaosHeartbeat is the relay's interval: an endpoint that is cut off notices within three.
	chaosHeartbeat = "1s"
	// chaosTime is how long it may take until all has arrived when there are no faults any more.
	chaosTime = 2 * time.Minute
)

// chaos is one run.
type chaos struct {
	*ensemble
	command *chaosCommand
	stderr  io.Writer
	links   []namedLink
	result  chaosResult
}

// namedLink is the way of one process to the relay.
type namedLink struct {
	name  string
	proxy *faults.Proxy
}

func (c *chaosCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.Time < time.Second || c.Time > time.Hour {
		return errors.New("--time: from 1s to 1h")
	}
	if c.Seed == 0 {
		c.Seed = uint64(rand.Uint32())
	}
	_, _ = fmt.Fprintf(stderr, "chaos: seed %d, faults for %v; Ctrl-C ends it\n", c.Seed, c.Time)
	e, err := newEnsemble(ctx, plan{
		name: "chaos", seed: strconv.FormatUint(c.Seed, 10), patience: chaosTime,
		settings: []string{"RELAY_HEARTBEAT=" + chaosHeartbeat},
	})
	if err != nil {
		return err
	}
	r := &chaos{ensemble: e, command: c, stderr: stderr, result: chaosResult{Seed: c.Seed}}
	finished, err := e.run(ctx, stderr, r.steps)
	if !finished {
		return fmt.Errorf("chaos: seed %d: %w", c.Seed, err)
	}
	return errors.Join(report(stdout, c.JSON, r.result), r.result.verdict("chaos"), err)
}

// report prints a result: for people, or as JSON.
func report(stdout io.Writer, asJSON bool, r fmt.Stringer) error {
	line := []byte(r.String())
	if asJSON {
		var err error
		if line, err = json.Marshal(r); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(stdout, "%s\n", line)
	return err
}

// steps runs all up to the result.
func (r *chaos) steps(ctx context.Context) error {
	if err := r.startEnds(ctx); err != nil {
		return err
	}
	if err := r.faults(ctx); err != nil {
		return err
	}
	err := r.finish(ctx)
	r.result.outcome = r.outcome()
	if err != nil {
		return errors.Join(err, r.result.verdict("so far"))
	}
	return nil
}

// verdict is nil, or an error that says what is wrong.
func (o outcome) verdict(what string) error {
	if o.ok() {
		return nil
	}
	problems := strings.Join(atMost(o.Problems, maxShown), "\n  ")
	return fmt.Errorf("%s: wrong in %d sessions:\n  %s", what, o.Sessions, problems)
}

// startEnds starts a daemon and the clients, each behind a proxy of its own, and returns when all sessions are open.
func (r *chaos) startEnds(ctx context.Context) error {
	way, err := r.way("daemon")
	if err != nil {
		return err
	}
	daemon, err := r.newCast("target", way)
	if err != nil {
		return err
	}
	clients := map[string]endpoint.Client{}
	for _, c := range chaosClients() {
		if way, err = r.way(c.name); err != nil {
			return err
		}
		if clients[c.name], err = daemon.client(way, c.scripts...); err != nil {
			return err
		}
	}
	if err := r.start("daemon", endpoint.Config{Daemon: &daemon.daemon}); err != nil {
		return err
	}
	if err := r.awaitReady(ctx); err != nil {
		return err
	}
	for _, c := range chaosClients() {
		if err := r.start(c.name, endpoint.Config{Clients: []endpoint.Client{clients[c.name]}}); err != nil {
			return err
		}
	}
	return r.awaitReady(ctx)
}

// way makes a proxy for the link of one process and returns its address.
func (r *chaos) way(name string) (string, error) {
	p, err := r.proxy()
	if err != nil {
		return "", err
	}
	r.links = append(r.links, namedLink{name, p})
	return p.Addr(), nil
}

// chaosClient is a client process and the sessions that it plays.
type chaosClient struct {
	name    string
	scripts []endpoint.Script
}

// chaosClients are the clients.
func chaosClients() []chaosClient {
	const ms = time.Millisecond
	keys := endpoint.Plan{Most: 200, Pause: 20 * ms}
	bulk := endpoint.Plan{Least: 1 << 10, Most: 256 << 10}
	long := endpoint.Plan{Least: 64, Most: 16 << 10, Pause: 10 * ms}
	huge := endpoint.Plan{Least: 128 << 10, Most: 512 << 10, Pause: 250 * ms}
	some := endpoint.Plan{Least: 64, Most: 64 << 10, Pause: 20 * ms, Blocks: 100}
	late := endpoint.Plan{Most: 1 << 10, Blocks: 3, Late: true}
	short := endpoint.Plan{Least: 64, Most: 32 << 10, Pause: 5 * ms, Blocks: 20}
	return []chaosClient{
		{"client-1", []endpoint.Script{
			{Name: "bulk", Up: bulk, Down: bulk},
			{Name: "keys and screen", Up: keys, Down: long},
		}},
		{"client-2", []endpoint.Script{
			{Name: "client half-closes", Up: some, Down: long},
			{Name: "daemon half-closes", Up: long, Down: some},
			{Name: "idle", Up: late, Down: late},
		}},
		{"client-3", []endpoint.Script{
			{Name: "opened anew", Up: short, Down: short, Again: true},
			{Name: "long messages", Up: huge, Down: huge},
		}},
	}
}
