package hostilerelay_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
	"github.com/getviewport/relay/internal/session"
	"github.com/getviewport/relay/relaytest"
)

// This file is a relay that plays an end itself, with keys of its own or with some that it has stolen.

const (
	ik     = relayv1.Profile_PROFILE_NOISE_IK
	ikpsk2 = relayv1.Profile_PROFILE_NOISE_IKPSK2
)

func newKeys(t testing.TB) secure.KeyPair {
	t.Helper()
	keys, err := secure.KeyPairFromPrivate([32]byte(randomBytes(32)))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func keysOf(t testing.TB, id identity.Identity) secure.KeyPair {
	t.Helper()
	keys, err := secure.KeyPairFromPrivate(id.Private.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// sessions are what sessions of these ends are for.
func (w *world) sessions() session.Config {
	return session.Config{Workspace: workspace, Target: w.ends.Target}
}

// transmits is what a machine has to send.
func transmits(t testing.TB, m *session.Machine) []*frame {
	t.Helper()
	out, _ := m.Transmit(nil, maxEnvelope, time.Now())
	var b envelope.Batch
	b.Load(out)
	defer b.Free()
	if err := b.Split(envelope.Limits{MaxEnvelope: maxEnvelope, MaxBatch: maxEnvelope}); err != nil {
		t.Fatal(err)
	}
	return frames(&b)
}

// impostor is a client that the relay plays.
func (w *world) impostor(profile relayv1.Profile, own secure.KeyPair, daemon [32]byte, psk []byte) *session.Machine {
	w.t.Helper()
	m, err := session.NewClient(w.sessions(), session.ClientHandshake{
		Profile: profile, Static: own, PeerStatic: daemon, PSK: psk,
	}, rand.Reader, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// answered is a RESPONSE to an INIT, made by who has these keys; nil if they can't read it.
func (w *world) answered(f *frame, profile relayv1.Profile, own secure.KeyPair, psk []byte) *frame {
	w.t.Helper()
	h := f.Header
	h.Profile = profile
	in, err := session.ReadInit(w.sessions(), own, &h, f.ciphertext, rand.Reader)
	if err != nil {
		return nil
	}
	m, err := in.Accept(psk, rand.Reader, time.Now())
	if err != nil {
		w.t.Error(err)
		return nil
	}
	return transmits(w.t, m)[0]
}

func TestARelayThatPlaysTheDaemonFailsTheHandshake(t *testing.T) {
	failed := end{client.HandshakeFailed, "local"}
	// A relay without the daemon's key can't read INIT: it answers one that it has made itself.
	playing := func(profile relayv1.Profile) func(a *assault) rule {
		return func(a *assault) rule {
			a.at = atClient
			keys, psk := newKeys(a.t), randomBytes(32)
			if profile == ik {
				psk = nil
			}
			return a.swallows(func(f *frame) *frame {
				own := transmits(a.t, a.impostor(profile, newKeys(a.t), keys.Public, psk))[0]
				return renamed(a.answered(own, profile, keys, psk), string(f.Session))
			})
		}
	}
	underShaking(t, []shake{
		{name: "with its own key as IK", want: failed, rule: playing(ik)},
		{name: "with its own key as IKpsk2", want: failed, rule: playing(ikpsk2)},
		{name: "with the daemon's stolen key but not the PSK", want: failed,
			profiles: []identity.Profile{identity.NoiseIKpsk2}, rule: func(a *assault) rule {
				a.at = atClient
				keys := keysOf(a.t, a.ends.Daemon)
				return a.swallows(func(f *frame) *frame {
					if a.answered(f, ik, keys, nil) != nil {
						a.t.Error("INIT of profile IKpsk2 was read as one of IK")
					}
					answer := a.answered(f, ikpsk2, keys, randomBytes(32))
					if answer == nil {
						a.t.Error("the daemon's key does not read INIT")
						return proved(f, typeResumed)
					}
					return answer
				})
			}},
		{name: "with the daemon's stolen key as IK", want: failed, profiles: []identity.Profile{identity.NoiseIKpsk2},
			rule: func(a *assault) rule {
				// The client's own key as an IK client would have sent it: what the relay would need of INIT.
				a.at = atClient
				keys := keysOf(a.t, a.ends.Daemon)
				return a.swallows(func(f *frame) *frame {
					own := transmits(a.t, a.impostor(ik, newKeys(a.t), keys.Public, nil))[0]
					return renamed(a.answered(own, ik, keys, nil), string(f.Session))
				})
			}},
	})
}

// swallows keeps INIT from the daemon and answers it.
func (a *assault) swallows(answer func(f *frame) *frame) rule {
	return func(l *link, w way, f *frame) []*frame {
		if w != up || f.Type != typeInit || !a.mine(f) {
			return []*frame{f}
		}
		a.bite()
		l.inject(down, answer(f))
		return nil
	}
}

func TestARelayThatPlaysAClientGetsNoSession(t *testing.T) {
	stolen := func(w *world) secure.KeyPair { return keysOf(w.t, w.ends.Client) }
	unknown := func(w *world) secure.KeyPair { return newKeys(w.t) }
	var jobs []job
	for _, x := range []struct {
		name    string
		pinned  identity.Profile // by the daemon
		profile relayv1.Profile  // of the impostor
		keys    func(w *world) secure.KeyPair
		// want is the code of the daemon's RESET; empty: it answers, and the impostor can do nothing with that.
		want reason.Code
	}{
		{"an unknown key as IK", identity.NoiseIK, ik, unknown, reason.NotAuthorised},
		{"an unknown key as IKpsk2", identity.NoiseIK, ikpsk2, unknown, reason.NotAuthorised},
		{"an unknown key where a PSK is pinned", identity.NoiseIKpsk2, ik, unknown, reason.NotAuthorised},
		{"the client's stolen key as IK", identity.NoiseIKpsk2, ik, stolen, reason.ProfileTooWeak},
		{"the client's stolen key without the PSK", identity.NoiseIKpsk2, ikpsk2, stolen, ""},
	} {
		jobs = append(jobs, job{x.name, func(t *testing.T, relay *relaytest.Relay) {
			w := newWorld(t, relay, x.pinned, settings{})
			psk := randomBytes(32)
			if x.profile == ik {
				psk = nil
			}
			m := w.impostor(x.profile, x.keys(w), w.ends.Daemon.Public, psk)
			answers := make(chan *frame, 16)
			w.m.set(func(l *link, way way, f *frame) []*frame {
				if way == up && string(f.Session) == m.ID() {
					select {
					case answers <- f:
					default:
					}
				}
				return []*frame{f}
			})
			inject := func(fs ...*frame) { w.m.do(func() { w.m.latest(atDaemon).inject(down, fs...) }) }
			inject(transmits(t, m)...)
			answer := w.receives(answers)
			if x.want != "" {
				w.wantReset(answer, x.want)
			} else {
				if answer.Type != typeResponse {
					t.Fatalf("got %v, want a RESPONSE", answer)
				}
				m.Receive(&answer.Header, answer.ciphertext, time.Now())
				if m.State() != session.Handshaking {
					t.Fatal("the RESPONSE verifies without the PSK")
				}
				// It is half-open at the daemon, and stays so. What can't be right ends it.
				for range 64 {
					f := answer.of(typeData)
					f.Sequence, f.Encoding, f.ciphertext = 2, noise, randomBytes(60)
					inject(f)
				}
				for answer.Type != typeReset {
					answer = w.receives(answers)
				}
				w.wantReset(answer, reason.DecryptFailed)
			}
			// The next session that the daemon accepts is an honest one.
			next, err := w.client.Open(w.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := w.listener.Accept(w.ctx); err != nil || s.ID() != next.ID() {
				t.Errorf("the daemon accepted another session than the client's: %v", err)
			}
		}})
	}
	together(t, jobs)
}

// receives is the next frame of a channel.
func (w *world) receives(frames <-chan *frame) *frame {
	w.t.Helper()
	select {
	case f := <-frames:
		return f
	case <-w.ctx.Done():
		w.t.Fatal("the daemon says nothing")
		return nil
	}
}

func (w *world) wantReset(f *frame, code reason.Code) {
	w.t.Helper()
	s, err := envelope.DecodeStatus(f.Status)
	if f.Type != typeReset || err != nil || s.Code != code {
		w.t.Errorf("got %v with status %v, want RESET %s", f, s, code)
	}
}

// Both ends' profile is the one that they have pinned, whatever the relay makes of the headers: as long as it tells the
// daemon another one there is no session at all.
func TestADowngradeThatTheRelayKeepsUpOpensNoSession(t *testing.T) {
	var jobs []job
	for _, p := range profiles {
		for _, shown := range []relayv1.Profile{0, ik, ikpsk2, 99} {
			if shown == relayv1.Profile(p) {
				continue
			}
			jobs = append(jobs, job{fmt.Sprintf("%s as %d", p, shown), func(t *testing.T, relay *relaytest.Relay) {
				w := newWorld(t, relay, p, settings{})
				inits, responses := 0, 0
				w.m.set(func(l *link, way way, f *frame) []*frame {
					switch {
					case way == down && f.Type == typeInit:
						inits++
						return []*frame{f.with(func(f *frame) { f.Profile = shown })}
					case f.Type == typeResponse:
						responses++
					}
					return []*frame{f}
				})
				ctx, stop := context.WithTimeout(w.ctx, aWhile)
				defer stop()
				if s, err := w.client.Open(ctx); err == nil {
					t.Errorf("Open: got a session of profile %v", s.Profile())
				}
				w.m.do(func() {
					if inits == 0 || responses > 0 {
						t.Errorf("%d INITs were downgraded and %d answered, want none answered", inits, responses)
					}
				})
				w.m.set(nil)
				up, down := w.open(w.client)
				if up.Profile() != p || down.Profile() != p {
					t.Errorf("without the attack: profiles %v and %v, want %v", up.Profile(), down.Profile(), p)
				}
			}})
		}
	}
	together(t, jobs)
}
