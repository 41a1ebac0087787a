package server_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// This file is about the moment of a takeover itself: what the old link may still hold up or say. Who takes over from
// whom is in takeover_test.go and server/hostile, the same with black holes and the SDK in server/hostilepath.

// frameOf is a DATA frame with size bytes of ciphertext, each of them what.
func (s session) frameOf(sequence uint64, size int, what byte) *relayv1.Envelope {
	e := s.data(sequence)
	e.Ciphertext = make([]byte, size)
	for i := range e.Ciphertext {
		e.Ciphertext[i] = what
	}
	return e
}

// resume binds s at a client and at a daemon that took over.
func (s session) resume(client, daemon *peer) {
	client.t.Helper()
	const resumed = relayv1.FrameType_FRAME_TYPE_RESUMED
	ask := s.frame(typeResume, 2)
	ask.BindKey, ask.ResumeAttempt = s.key[:], 1
	client.send(ask)
	daemon.want(typeResume, 2)
	answer := s.frame(resumed, 2)
	answer.ResumeAttempt = 1
	daemon.send(answer)
	client.want(resumed, 2)
}

func TestADaemonLinkThatTakesNothingAnyMoreDoesNotHoldUpTheNextOne(t *testing.T) {
	r := start(t)
	// Nobody reads this link, and what fits into its windows is soon sent: the relay's sender is stuck in it.
	old := r.connect(endpoint{workspace: "stuck", daemon: true, install: "i1", gen: 1, options: []grpc.DialOption{
		grpc.WithStaticStreamWindowSize(64 << 10), grpc.WithStaticConnWindowSize(64 << 10),
	}})
	client := r.connect(endpoint{workspace: "stuck"})
	s := newSession(1)
	handshake(client, old, s)
	const many, size = 40, 16_000
	for n := uint64(2); n < 2+many; n++ {
		client.send(s.frameOf(n, size, 'x'))
	}
	admin, ctx := r.admin()
	queued := func() uint64 {
		st, err := admin.GetStatus(ctx, &relayv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return st.GetQueuedBytes()
	}
	r.until("the old link's queue is full", func() bool { return queued() > many*size/2 })

	daemon := r.connect(endpoint{workspace: "stuck", daemon: true, install: "i1", gen: 1})
	client.wantStatus("PEER_AVAILABLE", "")
	s.resume(client, daemon)
	again := s.data(2)
	again.Resend = true
	client.send(again)
	daemon.want(typeData, 2)
	r.until("what waited for the old link is dropped", func() bool { return queued() == 0 })
	old.wantEnd(codes.Aborted, "REPLACED")
}

func TestWhatAReplacedDaemonLinkStillSendsReachesNobody(t *testing.T) {
	r := start(t)
	old, client, s := r.pair("late")
	daemon := r.connect(endpoint{workspace: "late", daemon: true, install: "i1", gen: 1})
	// The old one does not know it yet and goes on.
	for n := uint64(2); n < 20; n++ {
		old.send(s.frameOf(n, 100, 'o'))
	}
	client.wantStatus("PEER_AVAILABLE", "")
	s.resume(client, daemon)
	for n := uint64(2); n < 20; n++ {
		e := s.frameOf(n, 100, 'n')
		e.Resend = n == 2
		daemon.send(e)
		if got := client.want(typeData, n); got.GetCiphertext()[0] != 'n' {
			t.Fatalf("frame %d is the old link's", n)
		}
	}
	old.wantEnd(codes.Aborted, "REPLACED")
}
