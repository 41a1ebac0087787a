package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

// stopping is logged when the next signal would end the relay at once.
const stopping = "stopping; another signal ends it at once"

const admin = "an-admin-token-of-more-than-twenty-four"

// draining is a real relay process with a platform, that links can be opened at.
type draining struct {
	running
	t        *testing.T
	platform *devplatform.Server
	addr     string
	admin    string
}

// startDraining runs a relay with these times on an address; ":0" is any free port.
func startDraining(t *testing.T, platform *devplatform.Server, addr, delay, limit string) *draining {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	r, line := start(t, "serving", "RELAY_HOST="+host, "RELAY_LISTEN_PORT="+port, "RELAY_VALIDATE_URL="+platform.ValidateURL(),
		"RELAY_READINESS_DELAY="+delay, "RELAY_DRAIN_TIME="+limit,
		"RELAY_ADMIN_TOKEN="+admin, "RELAY_ADMIN_LISTEN=127.0.0.1:0")
	return &draining{running: r, t: t, platform: platform, addr: line["listen"].(string), admin: line["admin"].(string)}
}

func newPlatform(t *testing.T) *devplatform.Server {
	t.Helper()
	p, err := devplatform.New(devplatform.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ln); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// bounded is a context that ends a test that would hang.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (d *draining) conn() *grpc.ClientConn {
	d.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+d.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type link = grpc.BidiStreamingClient[relayv1.EnvelopeBatch, relayv1.EnvelopeBatch]

// link opens a client's link on a connection of its own and waits until it is admitted.
func (d *draining) link() link {
	d.t.Helper()
	token, err := d.platform.Mint(devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: "w", RuntimeTargetID: "t",
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(bounded(d.t), "authorization", "Bearer "+token,
		"viewport-workspace-id", "w", "viewport-runtime-target-id", "t")
	l, err := relayv1.NewRelayServiceClient(d.conn()).ConnectClient(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	if header, err := l.Header(); err != nil || len(header.Get("viewport-protocol")) == 0 {
		_, end := l.Recv()
		d.t.Fatalf("not admitted: %v, %v", err, end)
	}
	return l
}

// get asks on a connection of its own.
func get(t *testing.T, url, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func (d *draining) terminate() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
}

func TestAfterSIGTERMTheRelayIsRedAndAdmitsUntilTheDelayIsOverAndASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	d := startDraining(t, newPlatform(t), "127.0.0.1:0", "10m", "10m")
	health := healthv1.NewHealthClient(d.conn())
	d.link()
	d.terminate()
	for missing := []string{"draining: not ready any more, still admitting", stopping}; len(missing) > 0; {
		if !d.stderr.Scan() {
			t.Fatalf("the log ended without %q", missing)
		}
		missing = slices.DeleteFunc(missing, func(msg string) bool { return strings.Contains(d.stderr.Text(), msg) })
	}
	if code := get(t, "http://"+d.addr+"/readyz", ""); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: got %d, want 503", code)
	}
	answer, err := health.Check(bounded(t), &healthv1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("grpc.health.v1: got %v, %v, want NOT_SERVING", answer, err)
	}
	if code := get(t, "http://"+d.addr+"/livez", ""); code != http.StatusOK {
		t.Errorf("/livez: got %d, want 200", code)
	}
	d.link()

	d.terminate()
	if _, log := d.rest(t); strings.Contains(log, "stopped") {
		t.Errorf("got %s, want no orderly end", log)
	}
	if status := d.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
		t.Errorf("got %v, want it ended by the second signal", d.cmd.ProcessState)
	}
}

func TestASuccessorTakesThePortWhileTheRelayServesItsLinksAndEndsWhenTheyHaveLeft(t *testing.T) {
	t.Parallel()
	platform := newPlatform(t)
	d := startDraining(t, platform, "127.0.0.1:0", "100ms", "10m")
	old := d.link()
	d.terminate()
	d.line(t, "draining: the public port is closed, links are told to go")

	successor := startDraining(t, platform, d.addr, "0", "0")
	if code := get(t, "http://"+d.addr+"/readyz", ""); code != http.StatusOK {
		t.Errorf("/readyz of the successor: got %d, want 200", code)
	}
	successor.link()
	if code := get(t, "http://"+d.admin+"/metrics", admin); code != http.StatusOK {
		t.Errorf("the admin port of the relay that drains: got %d, want 200", code)
	}
	for told := false; !told; {
		batch, err := old.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range batch.GetEnvelopes() {
			told = told || e.GetStatus().GetCode() == "DRAINING"
		}
	}
	if err := old.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("leaving: got %v, want a clean end", err)
	}
	line := d.line(t, "drained")
	if line["links"] != 1.0 || line["left"] != 1.0 || line["ended"] != 0.0 || line["took"] == "" {
		t.Errorf("got %v, want one link that has left", line)
	}
	if code, log := d.rest(t); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, log)
	}
}

func TestALinkThatStaysIsEndedAtTheDrainTimeAndTheRelayEndsCleanly(t *testing.T) {
	t.Parallel()
	d := startDraining(t, newPlatform(t), "127.0.0.1:0", "0", "100ms")
	stays := d.link()
	d.terminate()
	line := d.line(t, "drained")
	if line["links"] != 1.0 || line["left"] != 0.0 || line["ended"] != 1.0 {
		t.Errorf("got %v, want one link that was ended", line)
	}
	if code, log := d.rest(t); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, log)
	}
	for {
		if _, err := stays.Recv(); err != nil {
			if !strings.Contains(err.Error(), "DRAINING") {
				t.Errorf("got %v, want DRAINING", err)
			}
			return
		}
	}
}
