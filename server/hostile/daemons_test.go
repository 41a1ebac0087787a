package hostile_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
)

const (
	clientRole = identity.Client
	daemonRole = identity.Daemon
)

func TestASecondDaemonDisturbsNobodyButTheOneItReplaces(t *testing.T) {
	g := start(t)
	install, generation := relaytest.InstallID, relaytest.Generation
	g.withstand(t, []row{
		{"of the same install", func(s *siege) {
			old, client := s.daemon(), s.client()
			handshake(client, old, s.session(1))
			fresh := s.daemon()
			old.wantEnd(codes.Aborted, "REPLACED")
			client.wantStatus("PEER_AVAILABLE", none)
			s.step()
			handshake(client, fresh, s.session(2))
		}},
		{"of another install while the first is alive", func(s *siege) {
			first, client, one := s.daemon(), s.client(), s.session(1)
			handshake(client, first, one)
			second := s.request(s.dial(), daemonRole, s.Token(daemonRole, s.workspace, home, install("install-2")))
			first.wantProbe()
			third := s.request(s.dial(), daemonRole, s.Token(daemonRole, s.workspace, home, install("install-3")))
			third.wantEnd(codes.AlreadyExists, "DAEMON_ALREADY_CONNECTED")
			s.step()
			first.send(&relayv1.Envelope{Type: typeHeartbeat})
			second.wantEnd(codes.AlreadyExists, "DAEMON_ALREADY_CONNECTED")
			client.send(one.data(2))
			first.want(one, typeData, 2)
		}},
		{"of another install when the first is dead", func(s *siege) {
			dead, client := s.daemon(), s.client()
			handshake(client, dead, s.session(1))
			second := s.connect(daemonRole, install("install-2"))
			dead.wantEnd(codes.Aborted, "REPLACED")
			client.wantStatus("PEER_AVAILABLE", none)
			handshake(client, second, s.session(2))
		}},
		{"of a lower generation", func(s *siege) {
			first, client, one := s.connect(daemonRole, generation(5)), s.client(), s.session(1)
			handshake(client, first, one)
			for _, stale := range []uint64{0, 1, 4} {
				p := s.request(s.dial(), daemonRole, s.Token(daemonRole, s.workspace, home, generation(stale), install("install-2")))
				p.wantEnd(codes.AlreadyExists, "STALE_GENERATION")
			}
			s.step()
			client.send(one.data(2))
			first.want(one, typeData, 2)
		}},
		{"of a lower generation after the first has left", func(s *siege) {
			first, client := s.connect(daemonRole, generation(5)), s.client()
			handshake(client, first, s.session(1))
			first.cancel()
			client.wantStatus("PEER_UNAVAILABLE", none)
			s.request(s.dial(), daemonRole, s.Token(daemonRole, s.workspace, home, generation(4))).
				wantEnd(codes.AlreadyExists, "STALE_GENERATION")
		}},
		{"two that replace each other fifty times", func(s *siege) {
			client, conn := s.client(), s.dial()
			token := s.Token(daemonRole, s.workspace, home)
			last := s.daemon()
			for i := range 50 {
				next := s.request(conn, daemonRole, token)
				next.admitted()
				last.wantEnd(codes.Aborted, "REPLACED")
				last = next
				if i%10 == 0 {
					s.step()
				}
			}
			if e, err := client.next(); err != nil || e.GetStatus().GetCode() != "PEER_AVAILABLE" {
				s.t.Fatalf("got %v, %v, want PEER_AVAILABLE", e, err)
			}
			client.lives()
			for _, e := range client.pending {
				if e.GetStatus().GetCode() != "PEER_AVAILABLE" {
					s.t.Errorf("got %v, want PEER_AVAILABLE only", e)
				}
			}
			client.pending = nil
			handshake(client, last, s.session(1))
		}},
	})
}

// wantProbe receives the relay's question whether the peer is alive.
func (p *peer) wantProbe() {
	p.s.t.Helper()
	var batch relayv1.EnvelopeBatch
	err := p.stream.RecvMsg(&batch)
	if e := batch.GetEnvelopes(); err != nil || len(e) != 1 || e[0].GetType() != typeHeartbeat || e[0].GetStatus().GetCode() != "PROBE" {
		p.s.t.Fatalf("got %v, %v, want a HEARTBEAT with PROBE", &batch, err)
	}
}

func TestAClientWithoutADaemonIsToldAndMakesNoSession(t *testing.T) {
	g := start(t)
	g.withstand(t, []row{
		{"handshakes", func(s *siege) {
			client, before := s.client(), s.status(s.t).GetSessions()
			for i := range 300 {
				client.send(s.session(i).bound(typeInit, 1), s.session(i).data(2))
			}
			client.wantStatus("PEER_UNAVAILABLE", none)
			client.lives()
			if got := s.status(s.t).GetSessions(); got != before {
				s.t.Errorf("got %d sessions, want the %d of before", got, before)
			}
		}},
		{"other frames", func(s *siege) {
			client, before := s.client(), s.status(s.t).GetSessions()
			for i := range 300 {
				client.send(s.session(i).data(2), s.session(i).frame(typeAck, 0), s.session(i).frame(typeReset, 0))
			}
			client.wantStatus("PEER_UNAVAILABLE", none)
			client.lives()
			if len(client.pending) != 0 {
				s.t.Errorf("got %v, want nothing more", client.pending)
			}
			if got := s.status(s.t).GetSessions(); got != before {
				s.t.Errorf("got %d sessions, want the %d of before", got, before)
			}
		}},
		{"resumes beyond the limit of a client", func(s *siege) {
			client, before := s.client(), s.status(s.t).GetSessions()
			for i := range limits.SessionsPerClient + 5 {
				client.send(s.session(i).bound(typeResume, 2))
			}
			client.lives()
			if got := s.status(s.t).GetSessions() - before; got != uint64(limits.SessionsPerClient) {
				s.t.Errorf("got %d sessions more, want %d", got, limits.SessionsPerClient)
			}
			refused := 0
			for _, e := range client.pending {
				if e.GetStatus().GetCode() == "CAPACITY" {
					refused++
				}
			}
			if refused != 5 {
				s.t.Errorf("got %d times CAPACITY, want 5", refused)
			}
		}},
	})
}

func TestADaemonReachesNoSessionThatItDoesNotHave(t *testing.T) {
	g := start(t)
	frames := func(about session) []*relayv1.Envelope {
		return []*relayv1.Envelope{
			about.response(), about.data(2), about.frame(typeClose, 3), about.frame(typeAck, 0), about.frame(typeReset, 0),
			about.frame(typeResume, 1), about.frame(typeResumed, 1), about.frame(20, 0),
		}
	}
	dropped := func(s *siege, about session) {
		daemon := s.daemon()
		before := s.drops(s.t, "unknown_session")
		all := frames(about)
		daemon.send(all...)
		daemon.lives()
		if got := s.drops(s.t, "unknown_session") - before; got != uint64(len(all)) {
			s.t.Errorf("got %d frames dropped, want %d", got, len(all))
		}
		if len(daemon.pending) > 0 {
			s.t.Errorf("got %v, want no answer", daemon.pending)
		}
		client := s.client()
		handshake(client, daemon, s.session(7))
	}
	ends := func(typ relayv1.FrameType, sequence uint64) func(*siege) {
		return func(s *siege) {
			daemon, client, one := s.daemon(), s.client(), s.session(1)
			handshake(client, daemon, one)
			e := one.bound(typ, sequence)
			if typ == typeStatus {
				e.Status = &relayv1.Status{Code: "SESSION_CONFLICT"}
			}
			daemon.send(e)
			daemon.wantEnd(codes.InvalidArgument, "FRAME_INVALID")
			client.wantStatus("PEER_UNAVAILABLE", none)
			client.lives()
			if len(client.pending) > 0 {
				s.t.Errorf("the client got %v", client.pending)
			}
		}
	}
	g.withstand(t, []row{
		{"one that nobody has", func(s *siege) { dropped(s, s.session(1)) }},
		{"one of another tenant", func(s *siege) { dropped(s, session{id: s.witness.session.ID()}) }},
		{"one of another target of its tenant", func(s *siege) {
			victim, owned := s.victim()
			mine := s.workspace
			s.workspace += "-2"
			dropped(s, owned)
			s.workspace = mine
			victim.moves(s.ctx, s.t, gain)
		}},
		{"a STATUS", ends(typeStatus, 0)},
		{"a HANDSHAKE_INIT", ends(typeInit, 1)},
		{"sessions without end", func(s *siege) {
			daemon := s.daemon()
			before := s.drops(s.t, "unknown_session")
			sessions := s.status(s.t).GetSessions()
			for i := range 200 {
				daemon.send(frames(s.session(i))...)
			}
			daemon.lives()
			s.step()
			if got := s.drops(s.t, "unknown_session") - before; got != 200*8 {
				s.t.Errorf("got %d frames dropped, want 1600", got)
			}
			if got := s.status(s.t).GetSessions(); got != sessions {
				s.t.Errorf("got %d sessions, want the %d of before", got, sessions)
			}
		}},
	})
}
