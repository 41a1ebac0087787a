// Package sim drives the machines that decide (route with its guard, session with its keys) in one goroutine, from a
// seed: applications, endpoints, links and the relay take turns in an order that the seed draws, links are cut with what
// is in flight lost, the relay restarts with all its state gone. A seed replays exactly.
//
// What it checks after every step are the promises of docs/protocol.md: what an application receives is a prefix of what
// its peer sent, in order and from no other session; memory is bounded (the machines' own Check); without a fault
// everything arrives and ends cleanly; after a cut or a restart the session ends at both ends with an error and a new one
// works.
package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/secure"
)

const (
	workspace = "acme"
	target    = "laptop"
	// inFlight is how many messages a direction of a link holds: beyond it whoever sends must wait, as with HTTP/2.
	inFlight = 4
	// lifetime is Config.Lifetime of the sessions; long enough that only a dead one meets it.
	lifetime = 10 * time.Minute
)

// Options say what happens in a run.
type Options struct {
	// Clients is how many clients there are; SessionsEach how many sessions each opens, one after the other or at once.
	Clients, SessionsEach int
	// Messages is how many messages each side of a session sends.
	Messages int
	// Window is viewport-session-window, MaxMessage the longest message, both in bytes.
	Window, MaxMessage int
	// Faults is how many cuts and restarts happen.
	Faults int
	// Loss is how many envelopes of 1,000 a link loses silently, both ways: no real link does, but that is what makes
	// SEQUENCE_GAP and going back on the same link happen.
	Loss int
}

// Draw makes options from a seed, so that many seeds cover many shapes.
func Draw(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 1))
	o := Options{
		Clients: 1 + r.IntN(3), SessionsEach: 1 + r.IntN(3), Messages: 1 + r.IntN(12),
		Window:     []int{1, 20_000, 131_072}[r.IntN(3)],
		MaxMessage: []int{100, 16_001, 70_000}[r.IntN(3)],
	}
	switch seed % 3 {
	case 1:
		o.Faults = 1 + r.IntN(4)
	case 2:
		o.Loss = 1 + r.IntN(60)
	}
	return o
}

// world is one run.
type world struct {
	Options
	choose *rand.Rand    // whose turn it is
	random *rand.ChaCha8 // keys and ids
	now    time.Time     // virtual
	start  time.Time
	steps  int

	relay   *node
	daemon  *endpoint
	clients []*endpoint
	// pairs are all sessions ever begun, by both their ends.
	pairs []*pair
	// faultsLeft are still to happen.
	faultsLeft int

	trace  strings.Builder // the last steps, for a failure
	digest uint64          // of all steps: two runs of a seed have the same
}

// Result is what a run did.
type Result struct {
	// Digest is of every step: equal for two runs of one seed.
	Digest uint64
	// Steps and Virtual are how long it took; Cuts and Restarts what happened; Delivered how many messages arrived;
	// GoneBack how many frames were sent again; Ended how many sessions ended with an error.
	Steps            int
	Virtual          time.Duration
	Cuts, Restarts   int
	Delivered, Ended int
	Dropped          uint64
}

// Run plays a seed. An error is a broken promise, with the last steps before it.
func Run(seed uint64, o Options) (result Result, err error) {
	w := newWorld(seed, o)
	defer func() {
		result.Digest, result.Steps, result.Virtual = w.digest, w.steps, w.now.Sub(w.start)
		for _, p := range w.pairs {
			result.Delivered += p.up.delivered + p.down.delivered
		}
		if err != nil {
			err = fmt.Errorf("seed %d %+v, step %d, after %v: %w\n%s", seed, o, w.steps, result.Virtual, err, w.tail())
		}
	}()
	err = w.play(&result)
	return result, err
}

func newWorld(seed uint64, o Options) *world {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	w := &world{
		Options: o, choose: rand.New(rand.NewPCG(seed, 2)), random: rand.NewChaCha8(key),
		now: time.Unix(1_800_000_000, 0), faultsLeft: o.Faults,
	}
	w.start = w.now
	w.relay = newNode(w)
	daemonKey := w.keyPair()
	w.daemon = &endpoint{world: w, name: "daemon", role: route.Daemon, static: daemonKey}
	for i := range o.Clients {
		c := &endpoint{world: w, name: fmt.Sprintf("client %d", i), role: route.Client, static: w.keyPair(), daemonKey: daemonKey.Public}
		c.toOpen = o.SessionsEach
		w.clients = append(w.clients, c)
	}
	return w
}

func (w *world) keyPair() secure.KeyPair {
	k, err := secure.GenerateKeyPair(w.random)
	if err != nil {
		panic(err)
	}
	return k
}

// note records a step.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%8.3fs ", w.now.Sub(w.start).Seconds()) + fmt.Sprintf(format, args...) + "\n"
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%x", w.digest)
	_, _ = h.Write([]byte(line))
	w.digest = h.Sum64()
	if w.trace.Len() > 1<<16 {
		rest := w.trace.String()[w.trace.Len()-1<<13:]
		w.trace.Reset()
		w.trace.WriteString(rest)
	}
	w.trace.WriteString(line)
}

func (w *world) tail() string {
	s := w.trace.String()
	return s[max(0, len(s)-4000):]
}

func (w *world) endpoints() []*endpoint { return append([]*endpoint{w.daemon}, w.clients...) }

// chance is true n times of 1,000.
func (w *world) chance(n int) bool { return w.choose.IntN(1000) < n }
