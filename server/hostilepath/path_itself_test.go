package hostilepath_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// This file holds the path itself to what it says, with plain gRPC streams that are answered with what they send.

type echo struct {
	relayv1.UnimplementedRelayServiceServer
}

func (echo) ConnectClient(s grpc.BidiStreamingServer[relayv1.EnvelopeBatch, relayv1.EnvelopeBatch]) error {
	for {
		b, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.Send(b)
		}
		if err != nil {
			return err
		}
	}
}

// echoPath is a path to a server that echoes, and a connection through it.
func echoPath(t *testing.T) (*path, *grpc.ClientConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	relayv1.RegisterRelayServiceServer(server, echo{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	p := newPath(t, ln.Addr().String())
	conn, err := grpc.NewClient("passthrough:///"+p.ln.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return p, conn
}

// call is a stream that counts what it sent and what came back.
type call struct {
	t *testing.T
	grpc.BidiStreamingClient[relayv1.EnvelopeBatch, relayv1.EnvelopeBatch]
	cancel     context.CancelFunc
	sent, back uint64
}

func open(t *testing.T, conn *grpc.ClientConn) *call {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	s, err := relayv1.NewRelayServiceClient(conn).ConnectClient(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &call{t: t, BidiStreamingClient: s, cancel: cancel}
}

// put sends n numbered messages of about 10 KB.
func (c *call) put(n int) {
	c.t.Helper()
	for range n {
		c.sent++
		e := &relayv1.Envelope{Sequence: c.sent, Ciphertext: make([]byte, 10_000)}
		if err := c.Send(&relayv1.EnvelopeBatch{Envelopes: []*relayv1.Envelope{e}}); err != nil {
			c.t.Fatalf("message %d: %v", c.sent, err)
		}
	}
}

// get receives until n messages are back, in order.
func (c *call) get(n uint64) {
	c.t.Helper()
	for c.back < n {
		b, err := c.Recv()
		if err != nil {
			c.t.Fatalf("after %d messages: %v", c.back, err)
		}
		c.back++
		if got := b.GetEnvelopes()[0]; got.GetSequence() != c.back || len(got.GetCiphertext()) != 10_000 {
			c.t.Fatalf("got %d with %d bytes, want %d", got.GetSequence(), len(got.GetCiphertext()), c.back)
		}
	}
}

// trade sends n messages and takes them back.
func (c *call) trade(n int) {
	c.t.Helper()
	for range n {
		c.put(1)
		c.get(c.sent)
	}
}

func TestAPathWithoutFaultsAddsNothingAndLosesNothing(t *testing.T) {
	p, conn := echoPath(t)
	c := open(t, conn)
	c.trade(100)
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the clean end", err)
	}
	if n := p.counts(); n.conns != 1 || n.streams != 1 || n.pings+n.cut+n.goAways+n.refused+n.resets != 0 {
		t.Errorf("got %+v, want one connection with one stream, and nothing done to it", n)
	}
}

func TestWhatChangesOnlyTheTimingOfBytesChangesNoByte(t *testing.T) {
	for name, change := range map[string]func(*faults){
		"byte by byte": func(f *faults) { f.trickle = true },
		"a delay":      func(f *faults) { f.delay = 3 * time.Millisecond },
		"a buffer":     func(f *faults) { f.buffer = 9_000 }, // a message of 10 KB pushes itself out
		"PINGs that the path answers": func(f *faults) {
			f.pings = answered
		},
		"PINGs that nobody answers": func(f *faults) { f.pings = swallowed },
	} {
		t.Run(name, func(t *testing.T) {
			p, conn := echoPath(t)
			p.set(change)
			c := open(t, conn)
			c.trade(3)
			p.heal()
			c.trade(3)
			p.set(change)
			c.trade(3)
			if n := p.counts(); p.next.pings != forwarded && n.pings == 0 {
				t.Errorf("got %+v, want PINGs kept from the other side", n)
			}
		})
	}
}

func TestABufferKeepsDataBackUntilTheTick(t *testing.T) {
	p, conn := echoPath(t)
	c := open(t, conn)
	c.trade(1)
	p.set(func(f *faults) { f.buffer = 32 << 10 })
	before := p.counts().data
	c.put(2)
	p.await("two messages wait", func(n counts) bool { return n.held[up] > 20_000 })
	if n := p.counts(); n.data != before {
		t.Errorf("got %v DATA frames across, want %v as before", n.data, before)
	}
	p.flush()
	p.await("their echo waits", func(n counts) bool { return n.held[up] == 0 && n.held[down] > 20_000 })
	p.flush()
	c.get(3)
}

func TestABlackHoleHoldsBothWaysAndGoesOnWhenItHeals(t *testing.T) {
	for _, held := range [][2]bool{{up: true}, {down: true}, {true, true}} {
		t.Run(fmt.Sprint(held), func(t *testing.T) {
			p, conn := echoPath(t)
			c := open(t, conn)
			c.trade(5)
			p.set(func(f *faults) { f.hold = held })
			c.put(3)
			waiting := down
			if held[up] {
				waiting = up
			}
			p.await("messages wait", func(n counts) bool { return n.held[waiting] >= 30_000 })
			p.heal()
			c.get(8)
			c.trade(5)
		})
	}
}

func TestABlackHoleForNewConnectionsSparesTheOldOnes(t *testing.T) {
	p, conn := echoPath(t)
	c := open(t, conn)
	c.trade(1)
	p.setNew(func(f *faults) { f.hold = [2]bool{true, true} })
	d, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := io.WriteString(d, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	p.await("the new connection's preface waits", func(n counts) bool { return n.held[up] == len(http2.ClientPreface) })
	c.trade(5)
}

func TestWhatIsSwallowedIsGoneAndItsConnectionIsCutWhenThePathHeals(t *testing.T) {
	p, conn := echoPath(t)
	c := open(t, conn)
	c.trade(5)
	p.set(func(f *faults) { f.swallow[down] = true })
	c.put(3)
	p.await("the echo is swallowed", func(n counts) bool { return n.lost[down] >= 3 })
	p.heal()
	if _, err := c.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	open(t, conn).trade(5)
	if n := p.counts(); n.conns != 2 || n.resets != 2 {
		t.Errorf("got %+v, want a second connection, and the first reset towards both sides", n)
	}
}

func TestOnlySilentStreamsAreCutAndBothSidesAreTold(t *testing.T) {
	p, conn := echoPath(t)
	silent, busy := open(t, conn), open(t, conn)
	silent.trade(1)
	busy.trade(1)
	p.cutSilent(http2.ErrCodeNo) // begins the period
	busy.trade(1)
	p.cutSilent(http2.ErrCodeCancel)
	if _, err := silent.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want what gRPC makes of RST_STREAM with CANCEL", err)
	}
	busy.trade(5)
	if n := p.counts(); n.cut != 1 || n.conns != 1 {
		t.Errorf("got %+v, want one stream cut of one connection", n)
	}
}

func TestAfterGoAwayStreamsEndWhereTheyAreAndNewOnesGoElsewhere(t *testing.T) {
	p, conn := echoPath(t)
	p.set(func(f *faults) { f.goAway = 2 })
	var calls []*call
	for range 5 {
		c := open(t, conn)
		c.trade(1)
		calls = append(calls, c)
	}
	for _, c := range calls {
		c.trade(5)
	}
	if n := p.counts(); n.conns != 3 || n.goAways != 2 || n.open != 3 {
		t.Errorf("got %+v, want 5 streams on 3 connections, two of which were told", n)
	}
	for _, c := range calls[:2] {
		if err := c.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("got %v, want the clean end", err)
		}
	}
	p.await("the first connection is closed", func(n counts) bool { return n.open == 2 })
	p.goAway()
	p.await("the last one is told, too", func(n counts) bool { return n.goAways == 3 })
	for _, c := range calls[2:] {
		c.trade(1)
	}
}

func TestACutEndsConnectionsWithAResetAndNewOnesWork(t *testing.T) {
	p, conn := echoPath(t)
	c := open(t, conn)
	c.trade(1)
	p.cut()
	if _, err := c.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	open(t, conn).trade(1)
}

func TestAnAbandonedConnectionIsDeadAtTheEndpointAndOpenAtTheRelayUntilThePathHeals(t *testing.T) {
	p, conn := echoPath(t)
	c := open(t, conn)
	c.trade(1)
	p.abandon()
	if _, err := c.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	open(t, conn).trade(1)
	if n := p.counts(); n.open != 2 || n.resets != 1 {
		t.Errorf("got %+v, want both connections open, one reset at one side", n)
	}
	p.setExisting(func(f *faults) { *f = faults{} })
	p.await("the old one is gone", func(n counts) bool { return n.open == 1 })
}
