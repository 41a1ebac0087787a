package server_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

func TestEveryEnvelopeCrossesTheRelayUnchanged(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("unchanged")
	data := s.data(2)
	data.Timestamp = &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 5}
	data.Ack, data.Consumed = 1, 1
	data.Ciphertext = make([]byte, 100_000) // in more than one HTTP/2 frame
	tail := s.data(3)
	tail.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 2000, protowire.VarintType), 7))
	unknown := s.frame(20, 0) // a type that this relay does not know
	ack := s.frame(relayv1.FrameType_FRAME_TYPE_ACK, 0)
	ack.Ack = 1
	sent := []*relayv1.Envelope{data, tail, unknown, ack}
	client.send(data)
	client.send(tail, unknown, ack)
	for i, want := range sent {
		if got := daemon.nextFrame(); !proto.Equal(got, want) {
			t.Errorf("envelope %d: got %.300v, want %.300v", i, got, want)
		}
	}
}

func TestFramesOfManySessionsInOneBatchGoToTheirClients(t *testing.T) {
	r := start(t)
	daemon, first, s1 := r.pair("mixed")
	second := r.connect(endpoint{workspace: "mixed"})
	s2 := newSession(2)
	handshake(second, daemon, s2)
	daemon.send(s1.data(2), s2.data(2), s2.data(3), s1.data(3), s2.data(4))
	first.want(typeData, 2)
	first.want(typeData, 3)
	second.want(typeData, 2)
	second.want(typeData, 3)
	second.want(typeData, 4)
}

func TestAClientWithoutADaemonIsToldSoAndLaterThatThereIsOne(t *testing.T) {
	r := start(t)
	client := r.connect(endpoint{workspace: "alone"})
	client.send(newSession(1).init())
	client.wantStatus("PEER_UNAVAILABLE", "")
	daemon := r.connect(endpoint{workspace: "alone", daemon: true})
	client.wantStatus("PEER_AVAILABLE", "")
	s := newSession(2)
	handshake(client, daemon, s)
	daemon.cancel()
	client.wantStatus("PEER_UNAVAILABLE", "")
}

func TestAReplayAndAGapAreDroppedAndTold(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("guarded")
	client.send(s.data(2), s.data(2), s.data(5))
	daemon.want(typeData, 2)
	if st := client.wantStatus("SEQUENCE_REPLAY", s.id); st.GetExpectedSequence() != 3 {
		t.Errorf("replay: got expected %d, want 3", st.GetExpectedSequence())
	}
	if st := client.wantStatus("SEQUENCE_GAP", s.id); st.GetExpectedSequence() != 3 {
		t.Errorf("gap: got expected %d, want 3", st.GetExpectedSequence())
	}
	again := s.data(3)
	again.Resend = true
	client.send(again, s.data(4))
	daemon.want(typeData, 3)
	daemon.want(typeData, 4)
}

func TestAReplayInTheMiddleOfABatchIsLeftOutOfIt(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("middle")
	client.send(s.data(2), s.data(2), s.data(3), s.data(1), s.data(4))
	for sequence := uint64(2); sequence <= 4; sequence++ {
		daemon.want(typeData, sequence)
	}
	client.wantStatus("SEQUENCE_REPLAY", s.id)
}

func TestAnUnboundFrameGetsSequenceGapThatExpectsNothing(t *testing.T) {
	r := start(t)
	_, _, s := r.pair("unbound")
	stranger := r.connect(endpoint{workspace: "unbound"})
	stranger.send(s.data(2))
	if st := stranger.wantStatus("SEQUENCE_GAP", s.id); st.GetExpectedSequence() != 0 {
		t.Errorf("got expected %d, want 0", st.GetExpectedSequence())
	}
}

func TestAClientThatPresentsAForeignSessionIdGetsSessionConflict(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("conflict")
	thief := r.connect(endpoint{workspace: "conflict"})
	stolen := s.init()
	stolen.BindKey = make([]byte, 16)
	thief.send(stolen)
	thief.wantStatus("SESSION_CONFLICT", s.id)
	resume := s.frame(typeResume, 1)
	resume.BindKey, resume.ResumeAttempt = make([]byte, 16), 1
	thief.send(resume)
	thief.wantStatus("SESSION_CONFLICT", s.id)
	// The owner notices nothing, and the thief's own session works.
	client.send(s.data(2))
	daemon.want(typeData, 2)
	handshake(thief, daemon, newSession(9))
}

func TestAnEnvelopeForAnotherWorkspaceEndsItsStreamOnly(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("here")
	liar := r.connect(endpoint{workspace: "here"})
	lie := newSession(7).init()
	lie.WorkspaceId = "there"
	liar.send(lie)
	liar.wantEnd(codes.PermissionDenied, "ENVELOPE_MISMATCH")
	client.send(s.data(2))
	daemon.want(typeData, 2)
}

func TestAMalformedEnvelopeEndsTheStreamAfterTheFramesBeforeItWereForwarded(t *testing.T) {
	for name, c := range map[string]struct {
		bad    func(session) *relayv1.Envelope
		reason string
	}{
		"no type":               {func(s session) *relayv1.Envelope { return s.frame(0, 0) }, "FRAME_INVALID"},
		"DATA without sequence": {func(s session) *relayv1.Envelope { return s.data(0) }, "FRAME_INVALID"},
		"a legacy type":         {func(s session) *relayv1.Envelope { return s.frame(typeEvent, 0) }, "FRAME_INVALID"},
		"STATUS from a client":  {func(s session) *relayv1.Envelope { return s.frame(typeStatus, 0) }, "FRAME_INVALID"},
		"too large": {func(s session) *relayv1.Envelope {
			e := s.data(4)
			e.Ciphertext = make([]byte, 64<<10)
			return e
		}, "FRAME_TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *server.Config) { c.Limits.MaxEnvelope = 64 << 10 })
			daemon, client, s := r.pair("malformed")
			if c.reason == "FRAME_TOO_LARGE" {
				client.send(s.data(2), s.data(3))
				client.send(c.bad(s))
			} else {
				client.send(s.data(2), s.data(3), c.bad(s), s.data(4))
			}
			client.wantEnd(codes.InvalidArgument, c.reason)
			daemon.want(typeData, 2)
			daemon.want(typeData, 3)
			// The link's end is not the session's: another link goes on, and 4 was never forwarded.
			next := r.connect(endpoint{workspace: "malformed"})
			resume := s.frame(typeResume, 4)
			resume.BindKey, resume.ResumeAttempt = s.key[:], 1
			next.send(resume)
			daemon.want(typeResume, 4)
		})
	}
}

func TestAReceiverThatNeverReadsHoldsUpNoOtherSession(t *testing.T) {
	r := start(t, func(c *server.Config) { c.Limits.SessionWindow = 128 << 10 })
	daemon, reader, fine := r.pair("slow")
	// A fixed window: what is not read stays in the relay.
	stalled := r.connect(endpoint{workspace: "slow", options: []grpc.DialOption{grpc.WithStaticStreamWindowSize(64 << 10)}})
	slow := newSession(2)
	handshake(stalled, daemon, slow)
	statuses := make(chan *relayv1.Envelope, 1)
	go func() {
		defer close(statuses)
		for {
			e, err := daemon.next()
			if err != nil {
				return
			}
			if e.GetType() == typeStatus {
				statuses <- e
				return
			}
		}
	}()
	payload := make([]byte, 16000)
	var gap *relayv1.Envelope
	const most = 200 // 3.2 MB, far above the share of 257 KiB and what HTTP/2 holds
	n := uint64(2)
	for ; gap == nil && n < most; n++ {
		big := slow.data(n)
		big.Ciphertext = payload
		daemon.send(big)
		daemon.send(fine.data(n))
		reader.want(typeData, n)
		select {
		case gap = <-statuses:
		default:
		}
	}
	if gap == nil {
		t.Fatalf("%d frames of 16,000 bytes were queued and nobody was told", most)
	}
	if gap.GetStatus().GetCode() != "SEQUENCE_GAP" || gap.GetSessionId() != slow.id {
		t.Fatalf("got %v, want SEQUENCE_GAP about the slow session", gap)
	}
	// What was dropped is sent again, and arrives in order and complete once the receiver reads.
	from := gap.GetStatus().GetExpectedSequence()
	for i := from; i < from+4; i++ {
		again := slow.data(i)
		again.Resend = i == from
		daemon.send(again)
	}
	for i := uint64(2); i < from+4; i++ {
		stalled.want(typeData, i)
	}
	daemon.send(fine.data(n))
	reader.want(typeData, n)
}

func TestASilentPeerGetsHeartbeatsUntilTheRelayTakesItForDead(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Heartbeat = beat })
	client := r.connect(endpoint{workspace: "beats"})
	if got := client.header.Get("viewport-heartbeat"); len(got) != 1 || got[0] != "250" {
		t.Errorf("viewport-heartbeat: got %v, want 250", got)
	}
	// As long as we say something the link lives, however many intervals go by; and the relay never says it is silent.
	for range 5 {
		e, err := client.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.GetType() != typeHeartbeat || e.GetWorkspaceId() != "beats" || e.GetRuntimeTargetId() != target {
			t.Fatalf("got %v, want a HEARTBEAT for this target", e)
		}
		client.send(&relayv1.Envelope{Type: typeHeartbeat})
	}
	client.wantEnd(codes.Unavailable, "LINK_DEAD")
}

func TestWithHeartbeatsOffTheRelaySendsNoneButItsGreeting(t *testing.T) {
	r := start(t, func(c *server.Config) { c.Heartbeat = 0 })
	client := r.connect(endpoint{workspace: "quiet"})
	if got := client.header.Get("viewport-heartbeat"); len(got) != 1 || got[0] != "0" {
		t.Errorf("viewport-heartbeat: got %v, want 0", got)
	}
	if e, err := client.next(); err != nil || e.GetType() != typeHeartbeat {
		t.Errorf("got %v, %v, want the HEARTBEAT that gets the headers through a terminator", e, err)
	}
	client.send(newSession(1).init())
	if e, err := client.next(); err != nil || e.GetType() != typeStatus {
		t.Errorf("got %v, %v, want PEER_UNAVAILABLE next", e, err)
	}
}

func TestAProbeIsAnsweredAtOnce(t *testing.T) {
	r := start(t)
	client := r.connect(endpoint{workspace: "probing"})
	client.send(&relayv1.Envelope{Type: typeHeartbeat, Status: &relayv1.Status{Code: "PROBE"}})
	if e, err := client.next(); err != nil || e.GetType() != typeHeartbeat {
		t.Errorf("got %v, %v, want a HEARTBEAT", e, err)
	}
}
