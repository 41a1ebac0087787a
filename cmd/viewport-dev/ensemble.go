package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/faults"
	"github.com/getviewport/relay/internal/devplatform"
)

// stateTime is how long processes get to say what they are at.
const stateTime = 3 * time.Second

// ensemble is a relay, daemons and clients as processes of their own, with a development platform and proxies that can
// cut their links in this one.
type ensemble struct {
	// Static.
	name      string // of the command
	workspace string
	seed      string        // decides what the ends send
	patience  time.Duration // how long what is promised may take once no fault is left
	self      string
	dir       string // removed at the end; marks the processes
	log       *tail  // of all processes
	platform  *devplatform.Server
	relay     *relayProcess

	// proxies and children belong to whoever runs the ensemble.
	proxies  []*faults.Proxy
	children []*child

	mu sync.Mutex
	// Guarded by mu.
	changed  chan struct{} // closed at each event, then made anew
	failed   error         // the first failure
	ready    int           // children that are
	finished int           // children whose sessions have all ended
	sessions map[string]*sessionEnds
	back     map[string]time.Time // when a session last went on
	states   map[*child][]string  // what was told since askStates
}

// sessionEnds is what both ends of a session told; nil: nothing yet.
type sessionEnds struct{ client, daemon *endpoint.Result }

// plan is what an ensemble begins with.
type plan struct {
	name, seed string
	patience   time.Duration
	platform   devplatform.Config
	settings   []string // of the relay
}

// newEnsemble starts a platform and a relay. Whoever gets an ensemble must call run.
func newEnsemble(ctx context.Context, p plan) (e *ensemble, err error) {
	self, _, err := binaries()
	if err != nil {
		return nil, err
	}
	relay, err := beside(self, "viewport-relay")
	if err != nil {
		return nil, err
	}
	e = &ensemble{
		name: p.name, workspace: p.name, seed: p.seed, patience: p.patience, self: self, log: &tail{},
		changed: make(chan struct{}), sessions: map[string]*sessionEnds{}, back: map[string]time.Time{},
		states: map[*child][]string{},
	}
	if e.dir, err = os.MkdirTemp("", "viewport-"+p.name+"-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.abort())
		}
	}()
	if e.platform, err = startPlatform(p.platform); err != nil {
		return nil, err
	}
	if e.relay, err = newRelayProcess(relay, e.dir, e.platform.JWKSURL(), e.platform.ValidateURL(), e.log,
		p.settings...); err != nil {
		return nil, err
	}
	return e, e.relay.start(ctx)
}

// startPlatform starts a platform on a free port.
func startPlatform(c devplatform.Config) (*devplatform.Server, error) {
	platform, err := devplatform.New(c)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := platform.Start(ln); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return platform, nil
}

// proxy returns a new proxy in front of the relay.
func (e *ensemble) proxy() (*faults.Proxy, error) {
	p, err := faults.NewProxy(e.relay.addr)
	if err == nil {
		e.proxies = append(e.proxies, p)
	}
	return p, err
}

// start starts a process of daemon or clients.
func (e *ensemble) start(name string, c endpoint.Config) error {
	c.Workspace, c.Seed = e.workspace, e.seed
	next, err := e.startChild(name, c, e.take)
	if err == nil {
		e.children = append(e.children, next)
	}
	return err
}

// stop ends everything in the order in which nobody misses another, and says what did not end well.
func (e *ensemble) stop() error {
	var errs []error
	var clients sync.WaitGroup
	results := make(chan error, len(e.children))
	for _, daemons := range []bool{false, true} {
		for _, c := range e.children {
			if c.daemon == daemons {
				clients.Go(func() { results <- c.stop() })
			}
		}
		clients.Wait()
	}
	close(results)
	for err := range results {
		errs = append(errs, err)
	}
	e.children = nil
	errs = append(errs, e.relay.stop(), e.abort())
	return errors.Join(errs...)
}

// abort ends everything at once. It may be called after stop, and twice.
func (e *ensemble) abort() error {
	for _, c := range e.children {
		c.kill()
		_ = c.stdin.Close()
	}
	e.children = nil
	for _, p := range e.proxies {
		p.Close()
	}
	var errs []error
	if e.relay != nil {
		errs = append(errs, e.relay.kill())
	}
	if e.platform != nil {
		errs = append(errs, e.platform.Close())
	}
	return errors.Join(errors.Join(errs...), survivors(e.dir), os.RemoveAll(e.dir))
}

// run does the steps and ends everything: well if they succeed, else at once. finished tells which; the error tells what
// processes said, or what did not end well after all steps.
func (e *ensemble) run(ctx context.Context, stderr io.Writer, steps func(context.Context) error) (finished bool, err error) {
	if err := steps(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: stopped: %w", e.name, context.Cause(ctx))
		} else if log := e.log.String(); log != "" {
			_, _ = fmt.Fprintf(stderr, "--- the last lines of relay, daemons and clients\n%s\n---\n", log)
		}
		return false, errors.Join(err, e.abort())
	}
	return true, e.stop()
}
