package hostile_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
)

// victim is a session of the attacked target itself, with the SDK at both ends.
func (s *siege) victim() (*witness, session) {
	s.t.Helper()
	w, end := watch(s.ctx, s.t, s.Relay, relaytest.Pair(s.t, s.workspace, home))
	s.atEnd(end)
	w.moves(s.ctx, s.t, gain)
	return w, session{id: w.session.ID()}
}

func TestNobodyTakesASessionThatIsNotTheirs(t *testing.T) {
	g := start(t)
	// Each row is frames that a client of the same target sends about the victim's session, whose id it knows, and what
	// it is told.
	told := func(code string, frames ...*relayv1.Envelope) func(*siege, *peer, session) {
		return func(s *siege, thief *peer, stolen session) {
			for _, e := range frames {
				e.SessionId = stolen.id
				thief.send(e)
				st := thief.wantStatus(code, stolen)
				if st.GetExpectedSequence() != 0 {
					s.t.Errorf("got expected sequence %d, want 0: it is nobody's business", st.GetExpectedSequence())
				}
			}
		}
	}
	wrong, resend := newSession("wrong", 1), newSession("", 0).data(3)
	resend.Resend = true
	noKey := func(typ relayv1.FrameType, sequence uint64) *relayv1.Envelope {
		e := wrong.bound(typ, sequence)
		e.BindKey = nil
		return e
	}
	garbage := wrong.bound(typeResume, 1)
	garbage.Ciphertext, garbage.ResumeAttempt = make([]byte, 32), 1<<62
	rows := []row{}
	for name, steal := range map[string]func(*siege, *peer, session){
		"DATA by its id":                           told("SEQUENCE_GAP", wrong.data(2)),
		"DATA that goes on from anywhere":          told("SEQUENCE_GAP", resend),
		"ACK of all that there is":                 told("SEQUENCE_GAP", &relayv1.Envelope{Type: typeAck, Ack: 1 << 40, Consumed: 1 << 40}),
		"CLOSE":                                    told("SEQUENCE_GAP", wrong.frame(typeClose, 3)),
		"RESET":                                    told("SEQUENCE_GAP", wrong.frame(typeReset, 0)),
		"RESUMED":                                  told("SEQUENCE_GAP", wrong.frame(typeResumed, 1)),
		"a type of a later release":                told("SEQUENCE_GAP", wrong.frame(20, 0)),
		"HANDSHAKE_INIT without a bind key":        told("SESSION_CONFLICT", noKey(typeInit, 1), noKey(typeInit, 1)),
		"HANDSHAKE_INIT with another's bind key":   told("SESSION_CONFLICT", wrong.bound(typeInit, 1)),
		"RESUME without a bind key":                told("SESSION_CONFLICT", noKey(typeResume, 1)),
		"RESUME with another's bind key":           told("SESSION_CONFLICT", wrong.bound(typeResume, 1)),
		"RESUME with garbage":                      told("SESSION_CONFLICT", garbage),
		"all of it in turn, refused or not before": told("SESSION_CONFLICT", wrong.bound(typeInit, 1), garbage, noKey(typeInit, 1)),
	} {
		rows = append(rows, row{name, func(s *siege) {
			// A link of its own, for it is told about a session once a second.
			thief := s.client()
			defer thief.cancel()
			steal(s, thief, session{id: s.victimID})
		}})
	}
	g.during(t, func(s *siege) {
		victim, owned := s.victim()
		s.victimID = owned.id
		for _, r := range rows {
			s.run(r.name, func() {
				r.attack(s)
				victim.moves(s.ctx, s.t, gain)
				s.step()
			})
		}
		s.run("a RESUME of one's own session with a garbage proof", func() {
			thief, own := s.client(), s.session(1)
			thief.send(own.bound(typeResume, 5))
			// The daemon has no such session: it says so without a proof, and the relay passes that on.
			if e := thief.want(own, typeReset, 0); e.GetStatus().GetCode() != "SESSION_UNKNOWN" {
				s.t.Errorf("got RESET %v, want SESSION_UNKNOWN", e.GetStatus())
			}
			victim.moves(s.ctx, s.t, gain)
		})
		s.run("the other tenant's session", func() {
			thief, foreign := s.client(), session{id: s.witness.session.ID()}
			thief.send(foreign.data(3))
			thief.wantGap(foreign, 0) // as for one that does not exist
			resume := wrong.bound(typeResume, 1)
			resume.SessionId = foreign.id
			thief.send(resume)
			thief.wantStatus("SESSION_CONFLICT", foreign)
			s.step()
		})
	})
}

func TestFramesThatAreNotInOrderOrOfNoSessionAreDroppedAndTold(t *testing.T) {
	g := start(t)
	unknown := func(typ relayv1.FrameType, sequence uint64) func(*siege) {
		return func(s *siege) {
			daemon, client := s.daemon(), s.client()
			before := s.drops(s.t, "unbound")
			for i := range 3 {
				never := s.session(i)
				client.send(never.frame(typ, sequence))
				client.wantGap(never, 0)
			}
			client.lives()
			daemon.lives()
			if got := s.drops(s.t, "unbound") - before; got != 3 {
				s.t.Errorf("got %d frames dropped as unbound, want 3", got)
			}
			handshake(client, daemon, s.session(9)) // and nothing came before it
		}
	}
	both := func(f func(s *siege, daemon, client *peer, one session)) func(*siege) {
		return func(s *siege) {
			daemon, client, one := s.daemon(), s.client(), s.session(1)
			handshake(client, daemon, one)
			f(s, daemon, client, one)
			s.step()
			next := one.data(2)
			next.Resend = true
			client.send(next)
			daemon.want(one, typeData, 2)
			client.lives()
		}
	}
	g.withstand(t, []row{
		{"DATA of an unknown session", unknown(typeData, 2)},
		{"CLOSE of an unknown session", unknown(typeClose, 2)},
		{"ACK of an unknown session", unknown(typeAck, 0)},
		{"RESET of an unknown session", unknown(typeReset, 0)},
		{"RESUMED of an unknown session", unknown(typeResumed, 3)},
		{"a handshake again and again", both(func(s *siege, _, client *peer, one session) {
			replays, refused := s.drops(s.t, "replay"), s.drops(s.t, "rate_limited")
			for range 200 {
				client.send(one.bound(typeInit, 1))
			}
			if st := client.wantStatus("SEQUENCE_REPLAY", one); st.GetExpectedSequence() != 2 {
				s.t.Errorf("got expected %d, want 2", st.GetExpectedSequence())
			}
			client.lives()
			replays, refused = s.drops(s.t, "replay")-replays, s.drops(s.t, "rate_limited")-refused
			if replays+refused != 200 || replays < uint64(limits.HandshakeBurst)-1 || refused == 0 {
				s.t.Errorf("got %d replays and %d handshakes too many, want 200, the first %d as replays", replays, refused,
					limits.HandshakeBurst-1)
			}
			if st := client.wantStatus("RATE_LIMITED", one); st.GetRetryAfter().AsDuration() <= 0 {
				s.t.Errorf("got %v, want a time to wait", st)
			}
		})},
		{"a replay of what passed", both(func(s *siege, daemon, client *peer, one session) {
			client.send(one.data(2), one.data(3))
			daemon.want(one, typeData, 2)
			daemon.want(one, typeData, 3)
			client.send(one.data(2), one.data(3), one.data(2))
			client.wantStatus("SEQUENCE_REPLAY", one)
			client.lives()
		})},
		{"a gap", both(func(_ *siege, _, client *peer, one session) {
			client.send(one.data(3), one.data(4), one.data(1<<62))
			client.wantGap(one, 2)
			client.lives()
		})},
		{"sequences at random", both(func(s *siege, _, client *peer, one session) {
			for i := range uint64(300) {
				client.send(one.data(3 + i*i*7919%100_000))
			}
			client.wantGap(one, 2)
			client.lives()
		})},
		{"a daemon's replay and gap", func(s *siege) {
			daemon, client, one := s.daemon(), s.client(), s.session(1)
			handshake(client, daemon, one)
			daemon.send(one.data(2), one.data(2), one.data(9))
			client.want(one, typeData, 2)
			daemon.wantStatus("SEQUENCE_REPLAY", one)
			daemon.wantGap(one, 3)
			s.step()
			daemon.send(one.data(3))
			client.want(one, typeData, 3)
		}},
	})
}

func TestNothingOfARefusedSessionOrStreamIsForwarded(t *testing.T) {
	g := start(t)
	g.withstand(t, []row{
		{"frames of a session that was refused for its profile", func(s *siege) {
			daemon, client := s.daemon(), s.connect(clientRole, relaytest.CryptoPairing())
			weak := s.session(1)
			init := weak.bound(typeInit, 1)
			init.Profile = relayv1.Profile_PROFILE_NOISE_IK
			client.send(init, weak.data(2), weak.frame(typeClose, 3))
			client.wantStatus("PROFILE_TOO_WEAK", weak)
			client.wantGap(weak, 0)
			s.step()
			handshake(client, daemon, s.session(2))
		}},
		{"frames of a session that was refused for capacity", func(s *siege) {
			daemon, client := s.daemon(), s.client()
			for i := range limits.SessionsPerClient {
				handshake(client, daemon, s.session(i))
			}
			more := s.session(limits.SessionsPerClient)
			for range 3 {
				client.send(more.bound(typeInit, 1), more.data(2))
			}
			if st := client.wantStatus("CAPACITY", more); st.GetRetryAfter().AsDuration() <= 0 || !st.GetRetryable() {
				s.t.Errorf("got %v, want it retryable, after a time", st)
			}
			client.wantGap(more, 0)
			client.lives()
			s.step()
			client.send(s.session(0).data(2))
			daemon.want(s.session(0), typeData, 2)
		}},
		{"frames of a session that was taken by a newer link", func(s *siege) {
			daemon, old, one := s.daemon(), s.client(), s.session(1)
			handshake(old, daemon, one)
			fresh := s.client()
			fresh.send(one.bound(typeResume, 2))
			daemon.want(one, typeResume, 2)
			before := s.drops(s.t, "stale_link")
			old.send(one.data(2), one.frame(typeReset, 0), one.bound(typeResume, 2))
			old.lives()
			if got := s.drops(s.t, "stale_link") - before; got != 3 {
				s.t.Errorf("got %d frames dropped as of an old link, want 3", got)
			}
			daemon.lives()
			s.step()
			again := one.data(2)
			again.Resend = true
			fresh.send(again)
			daemon.want(one, typeData, 2)
		}},
		{"frames behind a refused token", func(s *siege) {
			daemon, conn := s.daemon(), s.dial()
			for name, token := range map[string]string{
				"TOKEN_INVALID":      "no.token.atall",
				"TOKEN_EXPIRED":      s.Token(clientRole, s.workspace, home, relaytest.TTL(-1e12)),
				"WORKSPACE_MISMATCH": s.Token(clientRole, "witness", home),
				"ROLE_MISMATCH":      s.Token(daemonRole, s.workspace, home),
			} {
				before := s.refusals(s.t, name)
				p := s.request(conn, clientRole, token)
				for i := range uint64(20) {
					p.send(s.session(1).bound(typeInit, 1), s.session(1).data(i+2))
				}
				code := codes.PermissionDenied
				if name[:5] == "TOKEN" {
					code = codes.Unauthenticated
				}
				p.wantEnd(code, name)
				if got := s.refusals(s.t, name) - before; got != 1 {
					s.t.Errorf("got %d refusals with %s, want 1", got, name)
				}
			}
			s.step()
			daemon.lives()
			client := s.client()
			handshake(client, daemon, s.session(2)) // and nothing came before it
		}},
		{"frames behind the end of a stream", func(s *siege) {
			daemon, client, one := s.daemon(), s.client(), s.session(1)
			handshake(client, daemon, one)
			client.sendRaw(nil)
			for i := range uint64(100) {
				client.send(one.data(i + 2))
			}
			client.wantEnd(codes.InvalidArgument, "FRAME_INVALID")
			s.step()
			handshake(s.client(), daemon, s.session(2)) // and nothing came before it
		}},
	})
}
