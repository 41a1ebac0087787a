package hostilerelay_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/relaytest"
)

// These tests measure the process, so they run alone: none is parallel.

// heap is what is in use after all garbage is gone.
func heap() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

func TestWhatARelayInventsTakesNoMemory(t *testing.T) {
	relay := relaytest.Start(t, relaytest.WithJWKSOnly())
	const (
		ordinary = 10_000  // envelopes of a flood
		inits    = 60_000  // of one of INITs: a daemon remembers 16,384 ids, which take 4 MiB
		most     = 8 << 20 // bytes
		extra    = 16      // goroutines
	)
	stranger := func(f *frame) *frame { return renamed(f, envelope.SessionID(randomBytes(16))) }
	for name, what := range map[string]func(f *frame, i int) *frame{
		"INIT of sessions that nobody began": func(f *frame, _ int) *frame {
			return stranger(f).with(func(f *frame) {
				f.Type, f.Sequence, f.Profile, f.Encoding, f.ciphertext = typeInit, 1, 2, noise, randomBytes(104)
			})
		},
		"RESUME of sessions that there are none of": func(f *frame, _ int) *frame {
			return proved(stranger(f), typeResume)
		},
		"DATA of sessions that there are none of": func(f *frame, _ int) *frame { return stranger(f) },
		"DATA far ahead": func(f *frame, i int) *frame {
			return f.with(func(f *frame) { f.Sequence += uint64(1 + i) })
		},
		"DATA of long ago": func(f *frame, i int) *frame {
			return f.with(func(f *frame) { f.Sequence = 1 + uint64(i)%2 })
		},
		"probes": func(f *frame, _ int) *frame {
			h := f.linkStatus(envelope.Status{Code: reason.Probe})
			h.Type = typeHeartbeat
			return h
		},
		"RESET of sessions that there are none of": func(f *frame, _ int) *frame {
			return stranger(f).reset(reason.DataLost, randomBytes(32))
		},
	} {
		count := ordinary
		if strings.HasPrefix(name, "INIT") {
			count = inits
		}
		for _, r := range eachEnd {
			t.Run(name+"/"+string(r), func(t *testing.T) {
				w := newWorld(t, relay, identity.NoiseIKpsk2, settings{})
				c := w.converse('a')
				if err := c.exchange(w.ctx, 4); err != nil {
					t.Fatal(err)
				}
				before, goroutines := heap(), runtime.NumGoroutine()
				n := 0
				w.m.set(func(l *link, way way, f *frame) []*frame {
					if way != down || l.role != r || string(f.Session) != c.id() || f.Type != typeData ||
						len(f.ciphertext) > 4000 || n >= count {
						return []*frame{f}
					}
					fs := make([]*frame, 0, count/10+1)
					for range count / 10 {
						fs = append(fs, what(f, n))
						n++
					}
					return append(fs, f)
				})
				// Behind the flood there is the session: it has passed when this has.
				if err := c.exchange(w.ctx, 20); err != nil {
					t.Fatalf("the session: %v", err)
				}
				w.m.set(nil)
				if err := c.exchange(w.ctx, 4); err != nil {
					t.Fatalf("the session: %v", err)
				}
				if n < count {
					t.Fatalf("the attack sent %d envelopes, want %d", n, count)
				}
				if grown := heap() - before; grown > most {
					t.Errorf("the process has %d KiB more after it, want at most %d", grown>>10, most>>10)
				}
				if more := runtime.NumGoroutine() - goroutines; more > extra {
					t.Errorf("the process has %d goroutines more after it, want at most %d", more, extra)
				}
			})
		}
	}
}

// A relay that tells a sender nothing makes it wait, with no more than a window in its hands.
func TestARelayThatKeepsAllAcksToItselfFillsNoMemory(t *testing.T) {
	const window = 128 << 10
	relay := relaytest.Start(t, relaytest.WithJWKSOnly())
	w := newWorld(t, relay, identity.NoiseIK, settings{window: window})
	c := w.converse('a')
	for r, s := range c.ends {
		w.m.set(func(l *link, way way, f *frame) []*frame {
			if way != down || l.role != r || string(f.Session) != c.id() {
				return []*frame{f}
			}
			return nil
		})
		ctx, stop := context.WithTimeout(w.ctx, aWhile)
		taken := 0
		var err error
		for msg := make([]byte, 16000); ; taken += len(msg) {
			if err = s.session.Send(ctx, msg); err != nil {
				break
			}
		}
		stop()
		if taken > window || taken < window/2 {
			t.Errorf("the %s has taken %d bytes that nobody acked, want at most a window of %d", r, taken, window)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send at the %s: got %v, want it to wait", r, err)
		}
		w.m.set(nil)
		for n := 0; n < taken; {
			msg, err := s.peer.session.Recv(w.ctx)
			if err != nil {
				t.Fatalf("behind it: %v", err)
			}
			n += len(msg)
		}
	}
	if err := c.exchange(w.ctx, 4); err != nil {
		t.Errorf("the session: %v", err)
	}
}

// An application that has a limit is told.
func TestASenderWhosePeerNeverAnswersIsToldWithinItsLimit(t *testing.T) {
	var jobs []job
	for name, x := range map[string]struct {
		settings
		drops func(f *frame) bool
		want  client.Reason
	}{
		// The peer is there, by its proofs, but the relay keeps its credit.
		"no credit": {settings{sendTimeout: time.Second}, func(f *frame) bool { return f.Type == typeAck },
			client.PeerSlow},
		"no word": {settings{lifetime: shortLife}, func(*frame) bool { return true }, client.PeerSilent},
	} {
		jobs = append(jobs, job{name, func(t *testing.T, relay *relaytest.Relay) {
			x.window = 128 << 10
			w := newWorld(t, relay, identity.NoiseIK, x.settings)
			c := w.converse('a')
			w.m.set(func(l *link, way way, f *frame) []*frame {
				if way == down && l.role == atClient && string(f.Session) == c.id() && x.drops(f) {
					return nil
				}
				return []*frame{f}
			})
			var err error
			for msg := make([]byte, 16000); err == nil; {
				err = c.ends[atClient].session.Send(w.ctx, msg)
			}
			if !errors.Is(err, x.want) {
				t.Errorf("Send: got %v, want %s", err, x.want)
			}
		}})
	}
	together(t, jobs)
}
