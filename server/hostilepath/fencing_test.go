package hostilepath_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/relaytest"
)

// In these tests the relay believes in the old link to the end: its heartbeats are far apart.

const sessionUnknown = client.Reason("SESSION_UNKNOWN")

// beforeHole is how many messages go each way before a path becomes a hole, in which one more follows. Together they fit
// into HTTP/2's first window of 64 KiB: its updates may be in the hole, too, and the relay's last words come after them.
const beforeHole = 1

func TestADaemonWhoseNetworkVanishedTakesOverFromItsOwnBlackHoleAndItsSessionsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, seldom)
	p := newPath(t, w.Addr)
	k := w.couple(t, "moves", p, w.clean).talk()
	k.exchange(beforeHole)
	p.setExisting(func(f *faults) { f.hold = [2]bool{true, true} })
	k.allow(1)
	p.await("frames are in the hole", func(n counts) bool { return n.held[up] > 0 && n.held[down] > 0 })
	p.abandon()
	k.arrive()
	p.await("the old link is told REPLACED", func(n counts) bool { return n.reasons["REPLACED"] == 1 })
	// What the hole held comes to the relay only now.
	p.setExisting(func(f *faults) { *f = faults{} })
	p.await("the old link is gone", func(n counts) bool { return n.open == 1 })
	k.exchange(10)
	k.finish()
	if n := p.counts(); n.conns != 2 || n.reasons["LINK_DEAD"]+n.probes > 0 {
		t.Errorf("got %+v, want one connection after the first, without a question whether that is dead", n)
	}
	if n := w.clean.counts(); n.conns != 1 {
		t.Errorf("the client connected %d times, want once", n.conns)
	}
}

func TestADaemonProcessThatTakesOverFromABlackHoleIsNotFoughtWhenThePathHeals(t *testing.T) {
	for name, successor := range map[string][]relaytest.Claim{
		"the same install":                       nil,
		"another install with higher generation": {relaytest.InstallID("install-2"), relaytest.Generation(2)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seldom)
			hole := newPath(t, w.Addr)
			warned := make(warnings, 100)
			c := &couple{t: t, world: w, ends: relaytest.Pair(t, "acme", "processes")}
			c.listener = w.listen(t, c.ends, hole, []func(*client.Config){func(cfg *client.Config) {
				cfg.Log, cfg.SessionLifetime = slog.New(warned), 2*time.Second
			}})
			c.dialer = w.dial(t, c.ends, w.clean, nil)
			k := c.talk()
			k.exchange(beforeHole)
			hole.setExisting(func(f *faults) { f.hold = [2]bool{true, true} })
			k.allow(1)
			hole.await("frames are in the hole", func(n counts) bool { return n.held[up] > 0 && n.held[down] > 0 })

			next := &couple{t: t, world: w, ends: c.ends, dialer: c.dialer}
			next.listener = w.listen(t, c.ends, w.clean, nil, successor...)
			hole.await("the old link is told REPLACED, into the hole", func(n counts) bool { return n.reasons["REPLACED"] == 1 })
			// Its keys are in the other process, so what the client had there is lost, and it says so.
			wantEnd(t, k.up, sessionUnknown)
			if err := k.up.Send(patient(t), []byte("late")); !errors.Is(err, sessionUnknown) {
				t.Errorf("Send: got %v, want %v", err, sessionUnknown)
			}
			again := next.talk()
			again.exchange(10)

			hole.heal()
			pause, err := warned.next(t)
			if !errors.Is(err, client.Replaced) || pause < 30*time.Second {
				t.Errorf("the old daemon comes back %v after %v, want at least 30 s after REPLACED", pause, err)
			}
			hole.await("its link is gone", func(n counts) bool { return n.open == 0 })
			wantEnd(t, k.down, client.PeerSilent)
			again.exchange(10)
			again.finish()
			if n := hole.counts(); n.conns != 1 || n.probes > 0 {
				t.Errorf("got %+v, want one connection of the old daemon, and no question whether it is alive", n)
			}
			if n := w.clean.counts(); n.conns != 2 {
				t.Errorf("the new daemon and the client connected %d times, want once each", n.conns)
			}
		})
	}
}

func TestADaemonOfALowerGenerationIsRefusedEvenIfTheHigherOneIsInABlackHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, seldom)
	hole := newPath(t, w.Addr)
	c := &couple{t: t, world: w, ends: relaytest.Pair(t, "acme", "generations")}
	c.listener = w.listen(t, c.ends, hole, nil, relaytest.Generation(7))
	c.dialer = w.dial(t, c.ends, w.clean, nil)
	k := c.talk()
	k.exchange(5)
	hole.setExisting(func(f *faults) { f.hold = [2]bool{true, true} })
	k.allow(10)
	cfg := w.ListenConfig(c.ends, relaytest.Generation(6))
	stale, err := client.Listen(patient(t), cfg)
	if !errors.Is(err, client.Reason("STALE_GENERATION")) {
		t.Errorf("got %v, want STALE_GENERATION", err)
	}
	if err == nil {
		_ = stale.Close()
	}
	hole.heal()
	k.arrive()
	k.finish()
	if n := hole.counts(); n.conns != 1 || len(n.reasons) > 0 {
		t.Errorf("got %+v, want the higher one's link undisturbed", n)
	}
}

// wantEnd waits for the end of a session, which must be for this reason.
func wantEnd(t *testing.T, s *client.Session, reason client.Reason) {
	t.Helper()
	select {
	case <-s.Done():
	case <-patient(t).Done():
		t.Fatalf("the session does not end, want %v", reason)
	}
	if err := s.Err(); !errors.Is(err, reason) {
		t.Errorf("the session ended with %v, want %v", err, reason)
	}
}

// warnings is a log that hands out its warnings.
type warnings chan slog.Record

// next waits for the next one and returns what it says of an error and a pause.
func (w warnings) next(t *testing.T) (pause time.Duration, err error) {
	t.Helper()
	select {
	case r := <-w:
		r.Attrs(func(a slog.Attr) bool {
			switch v := a.Value.Any().(type) {
			case error:
				err = v
			case time.Duration:
				pause = v
			}
			return true
		})
		return pause, err
	case <-patient(t).Done():
		t.Fatal("the log says nothing")
		return 0, nil
	}
}

// Enabled keeps what is below a warning out.
func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle keeps a record for next.
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	select {
	case w <- r:
	default:
	}
	return nil
}

// WithAttrs is not needed here.
func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup is not needed here.
func (w warnings) WithGroup(string) slog.Handler { return w }
