package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

const adminToken = "the-admin-token-of-these-tests"

// relayAt is a relay's process, with an operator and somebody who wants a link.
type relayAt struct {
	running
	t        *testing.T
	platform *devplatform.Server
	admin    relayv1.AdminServiceClient
	relay    relayv1.RelayServiceClient
}

func startPlatform(t *testing.T) *devplatform.Server {
	t.Helper()
	p, err := devplatform.New(devplatform.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = p.Start(ln)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func startWithState(t *testing.T, p *devplatform.Server, dir string) relayAt {
	t.Helper()
	r, line := start(t, "serving", "RELAY_VALIDATE_URL="+p.ValidateURL(), "RELAY_STATE_DIR="+dir,
		"RELAY_ADMIN_LISTEN=127.0.0.1:0", "RELAY_ADMIN_TOKEN="+adminToken)
	connect := func(address any) *grpc.ClientConn {
		conn, err := grpc.NewClient("passthrough:///"+address.(string), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	return relayAt{
		running: r, t: t, platform: p, admin: relayv1.NewAdminServiceClient(connect(line["admin"])),
		relay: relayv1.NewRelayServiceClient(connect(line["listen"])),
	}
}

func (r relayAt) context(pairs ...string) context.Context {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), pairs...), patience)
	r.t.Cleanup(cancel)
	return ctx
}

func (r relayAt) asAdmin() context.Context { return r.context("authorization", "Bearer "+adminToken) }

// link opens a link of an installation's client, and returns why it ended; when it is admitted it first calls admitted.
func (r relayAt) link(install string, admitted func()) (reason string) {
	r.t.Helper()
	token, err := r.platform.Mint(devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: "acme", RuntimeTargetID: "laptop", InstallID: install,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.context("authorization", "Bearer "+token,
		"viewport-workspace-id", "acme", "viewport-runtime-target-id", "laptop"))
	defer cancel()
	stream, err := r.relay.ConnectClient(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if header, err := stream.Header(); err == nil && len(header.Get("viewport-protocol")) > 0 {
		if admitted == nil {
			return "admitted"
		}
		admitted()
	}
	for {
		if _, err := stream.Recv(); err != nil {
			for _, d := range status.Convert(err).Details() {
				if info, ok := d.(*errdetails.ErrorInfo); ok {
					return info.GetReason()
				}
			}
			return err.Error()
		}
	}
}

// kill ends the process as a power cut would.
func (r relayAt) kill() {
	r.t.Helper()
	if err := r.cmd.Process.Kill(); err != nil {
		r.t.Fatal(err)
	}
	_ = r.cmd.Wait() // killed
}

func TestARevocationThatWasAnsweredSurvivesKill9(t *testing.T) {
	p, dir := startPlatform(t), t.TempDir()
	r := startWithState(t, p, dir)
	why := r.link("thief", func() {
		answer, err := r.admin.RevokePairing(r.asAdmin(), &relayv1.RevokePairingRequest{
			WorkspaceId: "acme", Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: "thief"}, Reason: "stolen laptop",
		})
		if err != nil || answer.GetLinksEnded() != 1 || answer.GetMemoryOnly() {
			t.Errorf("got %v, %v, want one link ended and the revocation kept", answer, err)
		}
		if _, err := r.admin.RevokePairing(r.asAdmin(), &relayv1.RevokePairingRequest{
			WorkspaceId: "acme", Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: "second"},
		}); err != nil {
			t.Error(err)
		}
	})
	r.kill()
	if why != "PAIRING_REVOKED" {
		t.Errorf("the live link: got %s, want PAIRING_REVOKED", why)
	}

	r = startWithState(t, p, dir)
	list, err := r.admin.ListRevocations(r.asAdmin(), &relayv1.ListRevocationsRequest{WorkspaceId: "acme"})
	if err != nil || len(list.GetRevocations()) != 2 || list.GetRevocations()[1].GetReason() != "stolen laptop" {
		t.Errorf("got %v, %v, want both", list, err)
	}
	for install, want := range map[string]string{
		"thief": "PAIRING_REVOKED", "second": "PAIRING_REVOKED", "honest": "admitted",
	} {
		if got := r.link(install, nil); got != want {
			t.Errorf("%s after the restart: got %s, want %s", install, got, want)
		}
	}
	for _, was := range []bool{true, false} {
		answer, err := r.admin.RestorePairing(r.asAdmin(), &relayv1.RestorePairingRequest{
			WorkspaceId: "acme", Pairing: &relayv1.RestorePairingRequest_InstallId{InstallId: "thief"},
		})
		if err != nil || answer.GetWasRevoked() != was {
			t.Errorf("got %v, %v, want was_revoked %v", answer, err, was)
		}
	}
	r.kill()

	r = startWithState(t, p, dir)
	for install, want := range map[string]string{"thief": "admitted", "second": "PAIRING_REVOKED"} {
		if got := r.link(install, nil); got != want {
			t.Errorf("%s after its restoration: got %s, want %s", install, got, want)
		}
	}
	r.kill()
}

func TestServeDoesNotStartWithDamagedRevocationsAndSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "revocations.json"), []byte(`{"version":1,"revoc`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := ends(t, []string{enough, "RELAY_LISTEN_PORT=0", "RELAY_STATE_DIR=" + dir}, "serve")
	if code != 1 || !strings.Contains(stderr, "revocations.json is damaged") ||
		!strings.Contains(stderr, "restore the file from a backup") {
		t.Errorf("got exit code %d and %s, want 1 and the file with what to do", code, stderr)
	}
}
