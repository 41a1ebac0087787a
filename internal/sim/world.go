// Package sim drives the machines that decide (route with its guard, session with its keys) in one goroutine, from a
// seed: applications, endpoints, links and the relay take turns in an order that the seed draws, and the seed draws
// what goes wrong (Kind). A seed replays exactly.
//
// What it checks after every step are the promises of docs/protocol.md. A session survives anything: what an
// application receives is a prefix of what its peer sent, once, in order and from no other session or tenant; memory
// is bounded, at both ends and at the relay; nobody asks or sends again without end; and once the faults are over
// everything arrives and ends cleanly within Bound of virtual time. A session ends with an error only where one of
// its ends is gone (the daemon's or the client's process started over, the client was revoked, another daemon took
// its place, the application aborted), and then with exactly the error that docs/protocol.md gives for it, once.
package sim

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/secure"
)

const (
	target = "laptop"
	// tailBytes is how much of the steps before a failure is shown.
	tailBytes = 5000
	// inFlight is how many messages a direction of a link holds: beyond it whoever sends must wait, as with HTTP/2.
	inFlight = 4
	// heartbeat is viewport-heartbeat; a link that is silent for three times as long is dead.
	heartbeat = 20 * time.Second
	// lifetime is Config.Lifetime of the sessions.
	lifetime = 10 * time.Minute
	// keepalive is when a session that hears nothing asks whether its peer lives.
	keepalive = 5 * time.Minute
)

// world is one run.
type world struct {
	Options
	choose *rand.Rand // whose turn it is, and what goes wrong
	seed   uint64
	now    time.Time // virtual
	start  time.Time
	steps  int

	// nodes are the relays that run, all but the last draining; none while the relay is away, until downUntil.
	nodes     []*node
	nodeCount int
	downUntil time.Time
	tenants   []*tenant
	talks     uint64

	// faultsLeft and lossesLeft are still to happen; until step burst faults come soon after each other. trouble is when
	// the last is over, or will be.
	faultsLeft, lossesLeft int
	burst                  int
	trouble                time.Time

	// scripted: applications do what a test says. alter, if not nil, gets what a side puts on the wire, and returns what
	// does arrive there.
	scripted bool
	alter    func(l *link, up bool, message []byte) []byte

	turn   []turn // scratch
	dirty  dirty
	result *Result
	trace  strings.Builder // the last steps, for a failure
	digest uint64          // of all steps: two runs of a seed have the same
}

// tenant is a workspace: one daemon, its clients and their sessions.
type tenant struct {
	n         int
	workspace string
	daemon    *endpoint
	intruder  *endpoint // a daemon of another install, until leaves; nil without one
	leaves    time.Time
	clients   []*endpoint
	// pairs are all sessions ever begun, by both their ends.
	pairs []*pair
	// disturbed: something went wrong for it. Where nothing did, nobody may ask for anything again. silent: something
	// went wrong that not everybody could see, so that somebody may have to find out by a timer. touched is when
	// something was last seen by anybody to happen to a link.
	disturbed, silent bool
	touched           time.Time
}

// Result is what a run did.
type Result struct {
	// Digest is of every step: equal for two runs of one seed.
	Digest uint64
	// Steps and Virtual are how long it took; Faults what happened, by Kind; Lost how many envelopes were lost, doubled
	// or swapped; Delivered how many messages arrived; Ended how many sessions ended with an error.
	Steps                  int
	Virtual                time.Duration
	Faults                 [numKinds]int
	Lost, Delivered, Ended int
	// Handshakes is how many were begun; Resumes how many RESUME and RESUMED the relay received, Frames how many
	// sequenced frames, Needed how many of those were the first of their kind; Dropped is how many the relay dropped.
	Handshakes, Resumes, Frames, Needed int
	Dropped                             uint64
	// Recovery is how long after the end of all trouble everything had arrived and ended. MaxResumes is how many RESUME
	// and RESUMED an end sent since then, MaxResent how many frames it sent again, at most.
	Recovery              time.Duration
	MaxResumes, MaxResent int
}

// Run plays a seed. An error is a broken promise, with the last steps before it.
func Run(seed uint64, o Options) (result Result, err error) {
	w := newWorld(seed, o)
	w.result = &result
	defer func() {
		result.Digest, result.Steps, result.Virtual = w.digest, w.steps, w.now.Sub(w.start)
		if err != nil {
			err = fmt.Errorf("seed %d %+v, step %d, after %v: %w\n%s", seed, o, w.steps, result.Virtual, err, w.tail())
		}
	}()
	err = w.play()
	return result, err
}

func newWorld(seed uint64, o Options) *world {
	w := &world{
		Options: o, choose: rand.New(rand.NewPCG(seed, 2)), seed: seed, now: time.Unix(1_800_000_000, 0),
		faultsLeft: o.Faults, lossesLeft: o.Losses, result: new(Result),
	}
	w.start, w.trouble = w.now, w.now
	for n := range max(o.Tenants, 1) {
		t := &tenant{n: n, workspace: fmt.Sprint("acme-", n)}
		key := w.keyPair("daemon")
		t.daemon = &endpoint{world: w, tenant: t, name: fmt.Sprint("daemon ", n), role: route.Daemon, static: key}
		for i := range o.Clients {
			name := fmt.Sprintf("client %d.%d", n, i)
			t.clients = append(t.clients, &endpoint{world: w, tenant: t, name: name, role: route.Client, number: i,
				static: w.keyPair("client", i), daemonKey: key.Public, toOpen: o.SessionsEach})
		}
		w.tenants = append(w.tenants, t)
	}
	w.startNode()
	return w
}

// source is the randomness of one purpose: the same for all tenants, so that their keys and session ids are the same.
func (w *world) source(purpose ...any) *rand.ChaCha8 {
	h := fnv.New128a()
	_, _ = fmt.Fprint(h, purpose...)
	var key [32]byte
	h.Sum(key[:0])
	binary.LittleEndian.PutUint64(key[16:], w.seed)
	return rand.NewChaCha8(key)
}

func (w *world) keyPair(purpose ...any) secure.KeyPair {
	k, err := secure.GenerateKeyPair(w.source(purpose...))
	if err != nil {
		panic(err)
	}
	return k
}

// note records a step.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%8.3fs ", w.now.Sub(w.start).Seconds()) + fmt.Sprintf(format, args...) + "\n"
	for i := range len(line) { // FNV-1a
		w.digest = (w.digest ^ uint64(line[i])) * 0x100000001b3
	}
	if w.trace.Len() > 1<<16 {
		rest := w.trace.String()[w.trace.Len()-1<<13:]
		w.trace.Reset()
		w.trace.WriteString(rest)
	}
	w.trace.WriteString(line)
}

func (w *world) tail() string {
	s := w.trace.String()
	return s[max(0, len(s)-tailBytes):]
}

// endpoints calls f for each.
func (w *world) endpoints(f func(e *endpoint)) {
	for _, t := range w.tenants {
		f(t.daemon)
		for _, c := range t.clients {
			f(c)
		}
		if t.intruder != nil {
			f(t.intruder)
		}
	}
}

// chance is true n times of 1,000.
func (w *world) chance(n int) bool { return n > 0 && w.choose.IntN(1000) < n }

// within draws a time below d.
func (w *world) within(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.choose.Int64N(int64(d)))
}

// troubleUntil says that nobody may expect anything before t.
func (w *world) troubleUntil(t time.Time) {
	if t.After(w.trouble) {
		w.trouble = t
	}
}

// front is the relay that takes new links, nil while there is none.
func (w *world) front() *node {
	if len(w.nodes) == 0 || !w.nodes[len(w.nodes)-1].drainEnd.IsZero() {
		return nil
	}
	return w.nodes[len(w.nodes)-1]
}
