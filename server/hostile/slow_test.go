package hostile_test

import (
	"testing"

	"google.golang.org/grpc"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// chunk is the ciphertext of the frames that fill queues.
const chunk = 16_000

// deaf connects a client that takes nothing beyond the first windows of HTTP/2, which stay as they are.
func (s *siege) deaf() *peer {
	s.t.Helper()
	p := s.request(s.dial(grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10)), clientRole,
		s.Token(clientRole, s.workspace, home))
	p.admitted()
	return p
}

// share is what a session may hold at a link in one direction.
const share = 2*(128<<10) + 4<<10

func TestAPeerThatNeverReadsHoldsUpNobodyAndFillsItsOwnShareOnly(t *testing.T) {
	g := start(t)
	g.withstand(t, []row{
		{"one session, until it is ended", func(s *siege) {
			daemon, reader, deaf := s.daemon(), s.client(), s.deaf()
			fine, slow := s.session(1), s.session(2)
			handshake(reader, daemon, fine)
			handshake(deaf, daemon, slow)
			codes := make(map[string]int)
			next, resend := uint64(2), false
			for n := uint64(2); codes["SLOW_CONSUMER"] == 0 && n < 400; n++ {
				big := slow.sized(next, chunk)
				big.Resend, resend = resend, false
				next++
				daemon.send(big, fine.data(n))
				reader.want(fine, typeData, n) // in its turn: behind each big frame, a small one
				daemon.lives()
				for _, e := range daemon.pending {
					if e.GetSessionId() != slow.id {
						s.t.Fatalf("got %v, want it about the slow session", e)
					}
					codes[e.GetStatus().GetCode()]++
					if e.GetStatus().GetCode() == "SEQUENCE_GAP" {
						next, resend = e.GetStatus().GetExpectedSequence(), true
					}
				}
				daemon.pending = nil
				if q := s.status(s.t).GetQueuedBytes(); q > share+burst*longest*2 {
					s.t.Fatalf("the queues keep %d bytes, want at most the share of %d and the witness's", q, share)
				}
				if n%40 == 0 {
					s.step()
				}
			}
			if codes["SLOW_CONSUMER"] != 1 || codes["SEQUENCE_GAP"] != 2 {
				s.t.Errorf("got %v, want SEQUENCE_GAP twice, then SLOW_CONSUMER", codes)
			}
			daemon.send(slow.data(next))
			daemon.lives()
		}},
		{"many sessions, until the process has no more to give", func(s *siege) {
			daemon := s.daemon()
			const many = 10
			var sessions []session
			for i := range many {
				deaf := s.deaf()
				sessions = append(sessions, s.session(i))
				handshake(deaf, daemon, sessions[i])
			}
			before := s.drops(s.t, "budget")
			for n := uint64(2); s.drops(s.t, "budget") == before && n < 60; n++ {
				for _, slow := range sessions {
					daemon.send(slow.sized(n, chunk))
				}
				s.step()
			}
			daemon.lives()
			if got := s.drops(s.t, "budget") - before; got == 0 {
				s.t.Errorf("got no frame over the budget, with %d bytes queued", s.status(s.t).GetQueuedBytes())
			}
			told := 0
			for _, e := range daemon.pending {
				if e.GetStatus().GetCode() == "SEQUENCE_GAP" {
					told++
				}
			}
			if told == 0 {
				s.t.Errorf("got %v, want SEQUENCE_GAP", daemon.pending)
			}
		}},
		{"one that asks for answers all the time", func(s *siege) {
			deaf := s.deaf()
			daemon := s.daemon()
			for i := range 40 {
				b := []byte(nil)
				for n := range 100 {
					b = element(b, deaf.bytes(&relayv1.Envelope{Type: typeHeartbeat, Status: &relayv1.Status{Code: "PROBE"}}))
					b = element(b, deaf.bytes(s.session(i*100+n).data(2))) // answered by a STATUS each
				}
				deaf.sendRaw(b)
				if i%10 == 0 {
					s.step()
				}
			}
			daemon.lives()
			// What waits for it is bounded by 512 STATUS: of the others it hears nothing.
			s.until(s.t, "answers are left out", func(*relayv1.GetStatusResponse) bool { return s.drops(s.t, "unbound") >= 4000 })
			if q := s.status(s.t).GetQueuedBytes(); q > 128<<10 {
				s.t.Errorf("the queues keep %d bytes, want less than 128 KiB", q)
			}
		}},
		{"a daemon, with clients that send to it", func(s *siege) {
			daemon := s.request(s.dial(grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10)), daemonRole,
				s.Token(daemonRole, s.workspace, home))
			daemon.admitted()
			client := s.client()
			for i := range limits.SessionsPerClient {
				handshake(client, daemon, s.session(i))
			}
			for n := uint64(2); n < 22; n++ {
				for i := range limits.SessionsPerClient {
					client.send(s.session(i).sized(n, chunk))
				}
				s.step()
			}
			client.lives()
			over := map[string]int{}
			for _, e := range client.pending {
				over[e.GetStatus().GetCode()]++
			}
			if over["SEQUENCE_GAP"] == 0 || len(over) != 1 {
				s.t.Errorf("got %v, want SEQUENCE_GAP only", over)
			}
		}},
	})
}
