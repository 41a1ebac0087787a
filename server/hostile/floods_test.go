package hostile_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func TestAFloodEndsAtItsLimit(t *testing.T) {
	g := start(t)
	g.withstand(t, []row{
		{"links of one target", func(s *siege) {
			token, conn := s.Token(clientRole, s.workspace, home), s.dial()
			// The last place is the daemon's.
			for range limits.LinksPerTarget - 1 {
				s.request(conn, clientRole, token).admitted()
			}
			s.step()
			for range 20 {
				s.request(conn, clientRole, token).wantEnd(codes.ResourceExhausted, "CAPACITY")
			}
			s.step()
			s.daemon()
		}},
		{"links of one workspace", func(s *siege) {
			for i := range limits.LinksPerWorkspace + 10 {
				target := home + string(rune('a'+i/8))
				p := s.requestAt(s.dial(), clientRole, target, s.Token(clientRole, s.workspace, target))
				if i < limits.LinksPerWorkspace {
					p.admitted()
				} else {
					p.wantEnd(codes.ResourceExhausted, "CAPACITY")
				}
				if i%10 == 0 {
					s.step()
				}
			}
		}},
		{"links of one address", func(s *siege) {
			s.heap = 48 << 20 // the clients' own connections
			const witness = 2
			refused := 0
			for i := range limits.LinksPerAddress + 10 {
				mine := s.workspace
				s.workspace += string(rune('a' + i/10))
				p := s.request(s.dial(), clientRole, s.Token(clientRole, s.workspace, home))
				s.workspace = mine
				if i < limits.LinksPerAddress-witness {
					p.admitted()
				} else {
					p.wantEnd(codes.ResourceExhausted, "CAPACITY")
					refused++
				}
				if i%20 == 0 {
					s.step()
				}
			}
			if refused != 10+witness {
				s.t.Errorf("got %d refused, want %d", refused, 10+witness)
			}
		}},
		{"sessions of one client", func(s *siege) {
			daemon, client := s.daemon(), s.client()
			for i := range limits.HandshakeBurst {
				client.send(s.session(i).bound(typeInit, 1))
				if i < limits.SessionsPerClient {
					daemon.want(s.session(i), typeInit, 1)
				} else {
					client.wantStatus("CAPACITY", s.session(i))
				}
			}
			daemon.lives()
		}},
		{"sessions of one target", func(s *siege) {
			daemon := s.daemon()
			clients := []*peer{s.client(), s.client(), s.client(), s.client()}
			for i := range limits.SessionsPerTarget {
				clients[i/limits.SessionsPerClient].send(s.session(i).bound(typeInit, 1))
				daemon.want(s.session(i), typeInit, 1)
			}
			last := clients[len(clients)-1]
			for i := range 5 {
				more := s.session(limits.SessionsPerTarget + i)
				last.send(more.bound(typeInit, 1))
				last.wantStatus("CAPACITY", more)
			}
			s.step()
			// When one leaves, its sessions give way.
			clients[0].cancel()
			s.until(s.t, "the client is gone", func(st *relayv1.GetStatusResponse) bool { return st.GetClientLinks() == 4 })
			for i := range limits.SessionsPerClient {
				more := s.session(100 + i)
				last.send(more.bound(typeInit, 1))
				daemon.want(more, typeInit, 1)
			}
		}},
		{"handshakes that are given up at once", func(s *siege) {
			daemon, client := s.daemon(), s.client()
			before := s.drops(s.t, "rate_limited")
			for i := range 500 {
				client.send(s.session(i).bound(typeInit, 1), s.session(i).frame(typeReset, 0))
				if i%50 == 0 {
					s.step()
				}
			}
			client.lives()
			refused := s.drops(s.t, "rate_limited") - before
			if refused == 0 || refused > 500-uint64(limits.HandshakeBurst) {
				s.t.Errorf("got %d handshakes refused of 500, want most of them, but not the first %d", refused, limits.HandshakeBurst)
			}
			for _, e := range client.pending {
				if code := e.GetStatus().GetCode(); code != "RATE_LIMITED" && code != "SEQUENCE_GAP" {
					s.t.Errorf("got %v, want RATE_LIMITED or, of a session that was refused, SEQUENCE_GAP", e)
				}
			}
			daemon.lives()
			if n := len(daemon.pending); n != 2*int(500-refused) {
				s.t.Errorf("the daemon got %d frames, want the %d of what passed", n, 2*(500-refused))
			}
		}},
		{"streams with a bad token", func(s *siege) {
			conn, before := s.dial(), s.refusals(s.t, "TOKEN_INVALID")
			for i := range 150 {
				s.request(conn, clientRole, "a.b.c").wantEnd(codes.Unauthenticated, "TOKEN_INVALID")
				if i%100 == 0 {
					s.step()
				}
			}
			if got := s.refusals(s.t, "TOKEN_INVALID") - before; got != 150 {
				s.t.Errorf("got %d refusals, want 150", got)
			}
		}},
		{"connections that come and go", func(s *siege) {
			token := s.Token(clientRole, s.workspace, home)
			for i := range 60 {
				conn := s.dial()
				s.request(conn, clientRole, token).admitted()
				_ = conn.Close()
				if i%25 == 0 {
					s.step()
				}
			}
		}},
		{"batches of nothing but heartbeats", func(s *siege) {
			client := s.client()
			var b []byte
			beat := client.bytes(&relayv1.Envelope{Type: typeHeartbeat})
			for range limits.FramesPerBatch {
				b = element(b, beat)
			}
			for i := range 50 {
				client.sendRaw(b)
				if i%10 == 0 {
					s.step()
				}
			}
			client.lives()
		}},
	})
}
