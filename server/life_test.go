package server_test

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

func TestALinkThatDoesNotLeaveIsEndedWithDraining(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon, client, _ := r.pair("stays")
	r.shutdown()
	for _, p := range []*peer{daemon, client} {
		if retry := p.wantEnd(codes.Unavailable, "DRAINING"); retry.GetRetryDelay().AsDuration() <= 0 {
			t.Error("got no retry_after")
		}
	}
	r.stop()
}

func TestRunEndsWithManyBusyLinksAndLeavesNothing(t *testing.T) {
	r := start(t)
	daemon := r.connect(endpoint{workspace: "busy", daemon: true})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			if _, err := daemon.next(); err != nil {
				return
			}
		}
	})
	clients := make([]*peer, 8)
	for i := range clients {
		clients[i] = r.connect(endpoint{workspace: "busy"})
	}
	for i, client := range clients {
		s := newSession(byte(i))
		running.Go(func() {
			if client.stream.Send(batch(client, s.init())) != nil {
				return
			}
			for n := uint64(2); ; n++ {
				// Nobody binds the daemon's side, so these are dropped: it is the relay's end that matters.
				if err := client.stream.Send(batch(client, s.data(n))); err != nil {
					if !errors.Is(err, io.EOF) {
						t.Errorf("send: %v", err)
					}
					return
				}
			}
		})
	}
	r.stop()
	running.Wait()
}

func batch(p *peer, e *relayv1.Envelope) *relayv1.EnvelopeBatch {
	e.WorkspaceId, e.RuntimeTargetId = p.workspace, target
	return &relayv1.EnvelopeBatch{Envelopes: []*relayv1.Envelope{e}}
}

func TestAPeerThatJustLeavesIsNoUnknownFaultInTheLog(t *testing.T) {
	r := start(t, func(c *server.Config) { c.DrainTime = time.Hour })
	r.connect(endpoint{workspace: "leaves"}).cancel()
	r.stop()
	if log := r.log.String(); !strings.Contains(log, "grpc.code=Canceled") || strings.Contains(log, "level=WARN") {
		t.Errorf("got %s, want one finished call with code Canceled, no warning", log)
	}
}

func TestRunEndsWhileAPeerWaitsForThePlatform(t *testing.T) {
	platform := ownPlatform(t)
	r := start(t, func(c *server.Config) { c.ValidateURL = platform.ValidateURL() })
	platform.SetFault(devplatform.Validate, devplatform.Hang)
	p := r.request(endpoint{workspace: "waits"})
	for platform.Calls().Validate == 0 {
		// The call arrives as soon as the stream does; there is nothing to be told by.
		if code, _ := get(t, "http://"+r.addr+"/livez", nil); code != 200 {
			t.Fatal("the relay does not answer")
		}
	}
	r.stop()
	if _, err := p.next(); err == nil {
		t.Error("the stream goes on after Run")
	}
}

func TestAServerThatNeverRanLeavesNothing(t *testing.T) {
	s, err := server.New(server.Config{Listen: "127.0.0.1:0", ValidateURL: platform.ValidateURL()})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().String()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := server.New(server.Config{Listen: addr, ValidateURL: platform.ValidateURL()})
	if err != nil {
		t.Fatalf("the port of a closed server: %v", err)
	}
	_ = again.Close()
}
