package hostilerelay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/relaytest"
)

const (
	// atOnce is how many attacks of a table run at once; several tables do.
	atOnce = 8
	// talked is how many messages each end of an attacked session sends.
	talked = 20
)

// end is how a session ends at one of its ends.
type end struct {
	reason client.Reason
	by     string
}

var (
	// clean: every message came, and io.EOF behind them.
	clean = end{}
	// unaware: the session lives on; nobody has told this end.
	unaware = end{by: "nobody"}
	// silent: nothing came from the peer for the session's lifetime.
	silent = end{client.PeerSilent, "local"}
)

func (e end) String() string {
	switch e {
	case clean:
		return "a clean end"
	case unaware:
		return "no end"
	}
	return fmt.Sprintf("%q (%s)", string(e.reason), e.by)
}

// endOf is the end that an error of a session stands for.
func endOf(err error) end {
	var e *client.Error
	switch {
	case errors.Is(err, io.EOF):
		return clean
	case errors.As(err, &e):
		return end{e.Reason, e.By}
	}
	return end{client.Reason(fmt.Sprint(err)), "the test"}
}

// outcome is how an attacked session ends: at the end that is attacked, and at its peer.
type outcome struct{ at, peer end }

func (o outcome) String() string { return fmt.Sprintf("%v, and at its peer %v", o.at, o.peer) }

// eachEnd are both.
var eachEnd = []role{atClient, atDaemon}

// turns is one end after the other, for tables whose rows are many and alike.
func turns(i int) []role { return eachEnd[i%2:][:1] }

// bears is the outcome of an attack that a session bears.
var bears = outcome{clean, clean}

// told is an end that the attacked end finds out and tells its peer.
func told(reason client.Reason) outcome { return outcome{end{reason, "local"}, end{reason, "peer"}} }

// attack is what the man in the middle does to one session.
type attack struct {
	name string
	// at are the ends that it is done to; nil: each.
	at []role
	// profiles are the ones that it is done with at each end; nil: one at the client and the other at the daemon.
	profiles []identity.Profile
	settings
	// rule is the attack, made for one session.
	rule func(a *assault) rule
	// want is how the session ends; the zero value: it bears it.
	want outcome
	// talk is what the session is used for meanwhile; nil: talked.
	talk func(a *assault) outcome
	// check is called when the session is over; nil: nothing else is to be checked.
	check func(a *assault)
	// refuses is the reason with which the attack ends the attacked end's link for good, and so all its sessions.
	refuses reason.Code
}

// assault is one attack under way. All but bites is static; that belongs to the rule.
type assault struct {
	*world
	x      *attack
	at     role
	target *conversation
	id     string // of the session that is attacked
	beside string // the id of a session between the same ends that isn't
	met    string // the id of one that was used before in the same way
	older  record // what the ends received in a session before that is over
	begun  record // what they received while the attacked one was opened
	bites  int
	bitten chan struct{} // the bystander's
}

// record is what arrived at each end.
type record map[role][]*frame

// recording records what arrives but for the bystander's session, and changes nothing.
func (a *assault) recording(r record) rule {
	return func(l *link, w way, f *frame) []*frame {
		if w == down && len(f.Session) > 0 && string(f.Session) != a.beside {
			r[l.role] = append(r[l.role], f.clone())
		}
		return []*frame{f}
	}
}

// last is what arrived last of a type at an end in a session.
func (r record) last(at role, id string, typ relayv1.FrameType) *frame {
	for i := len(r[at]) - 1; i >= 0; i-- {
		if f := r[at][i]; f.Type == typ && string(f.Session) == id {
			return f
		}
	}
	return nil
}

// bite counts what the attack does.
func (a *assault) bite() {
	a.bites++
	signal(a.bitten)
}

// mine reports whether f belongs to the session that is attacked.
func (a *assault) mine(f *frame) bool { return string(f.Session) == a.id }

// arrives reports whether f of the attacked session is about to arrive at the attacked end.
func (a *assault) arrives(l *link, w way, f *frame) bool {
	return w == down && l.role == a.at && a.mine(f)
}

// answers reports whether f of the attacked session is about to arrive at the attacked end's peer.
func (a *assault) answers(l *link, w way, f *frame) bool {
	return w == down && l.role != a.at && a.mine(f)
}

// under runs attacks, several at once, at each end.
func under(t *testing.T, attacks []attack) {
	t.Helper()
	var jobs []job
	for i := range attacks {
		x := &attacks[i]
		at := x.at
		if at == nil {
			at = eachEnd
		}
		for j, r := range at {
			with := x.profiles
			if with == nil {
				with = profiles[(i+j)%2:][:1]
			}
			for _, p := range with {
				name := fmt.Sprintf("%s/%s/%s", x.name, r, p)
				jobs = append(jobs, job{name, func(t *testing.T, relay *relaytest.Relay) { x.run(t, relay, r, p) }})
			}
		}
	}
	together(t, jobs)
}

// job is a test of its own within another.
type job struct {
	name string
	run  func(t *testing.T, relay *relaytest.Relay)
}

// together runs jobs with one relay, atOnce at a time: more than testing does by itself, for they mostly wait.
func together(t *testing.T, jobs []job) {
	t.Helper()
	t.Parallel()
	alone(t, jobs)
}

// alone is together without other tests at the same time, for what starves beside them.
func alone(t *testing.T, jobs []job) {
	t.Helper()
	relay := relaytest.Start(t, relaytest.WithJWKSOnly())
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for _, j := range jobs {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			t.Run(j.name, func(t *testing.T) { j.run(t, relay) })
		})
	}
	running.Wait()
}

// tries is how often an attack is begun anew that has found nothing to alter.
const tries = 3

// run is one attack with its witness.
func (x *attack) run(t *testing.T, relay *relaytest.Relay, at role, profile identity.Profile) {
	w := newWorld(t, relay, profile, x.settings)
	a := &assault{world: w, x: x, at: at, older: record{}, begun: record{}}
	beside := w.converse('b')
	a.beside = beside.id()
	besideCtx, stop := context.WithCancel(w.ctx)
	defer stop()
	by := standBy(besideCtx, beside)
	a.bitten = by.bitten

	// The witness: the same use of a session, without the attack.
	w.m.set(a.recording(a.older))
	a.target = w.converse('w')
	a.id = a.target.id()
	if got := a.used(bears); got != bears {
		t.Fatalf("without the attack: got %v, want %v", got, bears)
	}

	var got outcome
	for range tries { // what an attack waits for may not be under way on a slow machine
		w.m.set(a.recording(a.begun))
		a.target = w.converse('a')
		w.m.do(func() { a.id = a.target.id() })
		w.m.set(x.rule(a))
		got = a.used(x.want)
		w.m.set(nil)
		if a.bites > 0 {
			break
		}
	}
	if got != x.want {
		t.Errorf("got %v, want %v", got, x.want)
	}
	if x.check != nil {
		x.check(a)
	}
	if x.refuses != "" {
		a.refused(beside)
		stop()
		_ = by.end()
	} else if err := by.end(); err != nil {
		t.Errorf("the session beside it: %v", err)
	}
	if a.bites == 0 {
		t.Error("the attack did nothing")
	}
}

// refused checks that the attacked end has given up, and says why.
func (a *assault) refused(beside *conversation) {
	a.t.Helper()
	s := beside.ends[a.at].session
	select {
	case <-s.Done():
	case <-a.ctx.Done():
	}
	if got := endOf(s.Err()); got != a.x.want.at {
		a.t.Errorf("the session beside it: got %v, want %v", got, a.x.want.at)
	}
	err := a.client.Err()
	if a.at == atDaemon {
		_, err = a.listener.Accept(a.ctx)
	}
	if got, want := endOf(err), (end{client.Reason(a.x.refuses), "relay"}); got != want {
		a.t.Errorf("the %s: got %v, want %v", a.at, got, want)
	}
}

// used uses the target and returns how that ended.
func (a *assault) used(want outcome) outcome {
	if a.x.talk != nil {
		return a.x.talk(a)
	}
	return a.talked(want)
}

// talked lets both ends talk and close. An end that nothing is to end is asked when the other has ended.
func (a *assault) talked(want outcome) outcome {
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	got := map[role]chan end{}
	wants := map[role]end{a.at: want.at, a.at.other(): want.peer}
	for r, s := range a.target.ends {
		over := make(chan end, 1)
		got[r] = over
		running.Go(func() {
			if err := s.send(ctx, talked); err == nil {
				_ = s.closeWrite()
			}
		})
		running.Go(func() { over <- a.over(ctx, s) })
	}
	result := map[role]end{}
	for r, e := range wants {
		if e != unaware {
			result[r] = <-got[r]
		}
	}
	for r, e := range wants {
		if e == unaware {
			s := a.target.ends[r].session
			if s.Err() == nil {
				result[r] = unaware
				stop()
				s.Abort()
			} else {
				result[r] = <-got[r]
			}
		}
	}
	return outcome{result[a.at], result[a.at.other()]}
}

// over receives until the session has ended at s, and returns how.
func (a *assault) over(ctx context.Context, s *side) end {
	err := s.receive(ctx, -1)
	if errors.Is(err, errUnsafe) {
		a.t.Error(err)
	}
	e := endOf(err)
	if e != clean {
		return e
	}
	// A session whose end came is over when what it sent has come, too.
	select {
	case <-s.session.Done():
		if err := s.session.Err(); err != nil {
			return endOf(err)
		}
	case <-ctx.Done():
		return endOf(ctx.Err())
	}
	return clean
}
