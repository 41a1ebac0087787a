package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

// operator is who revokes pairings of one workspace.
type operator struct {
	t         *testing.T
	workspace string
	admin     relayv1.AdminServiceClient
	ctx       context.Context
}

func (r *relay) operator(workspace string) *operator {
	r.t.Helper()
	admin, ctx := r.admin()
	return &operator{r.t, workspace, admin, ctx}
}

func (o *operator) revoke(request *relayv1.RevokePairingRequest) *relayv1.RevokePairingResponse {
	o.t.Helper()
	request.WorkspaceId = o.workspace
	answer, err := o.admin.RevokePairing(o.ctx, request)
	if err != nil {
		o.t.Fatal(err)
	}
	return answer
}

func (o *operator) revokeInstall(id string) *relayv1.RevokePairingResponse {
	o.t.Helper()
	return o.revoke(&relayv1.RevokePairingRequest{
		Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: id}, Reason: "stolen laptop",
	})
}

func (o *operator) restoreInstall(id string) *relayv1.RestorePairingResponse {
	o.t.Helper()
	answer, err := o.admin.RestorePairing(o.ctx, &relayv1.RestorePairingRequest{
		WorkspaceId: o.workspace, Pairing: &relayv1.RestorePairingRequest_InstallId{InstallId: id},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return answer
}

// connections lists what is attached in the workspace.
func (o *operator) connections(role relayv1.Role) []*relayv1.Connection {
	o.t.Helper()
	answer, err := o.admin.ListConnections(o.ctx, &relayv1.ListConnectionsRequest{WorkspaceId: o.workspace, Role: role})
	if err != nil {
		o.t.Fatal(err)
	}
	return answer.GetConnections()
}

// revocations lists what is revoked, in the workspace if it is given.
func (o *operator) revocations(workspace string) []*relayv1.Revocation {
	o.t.Helper()
	answer, err := o.admin.ListRevocations(o.ctx, &relayv1.ListRevocationsRequest{WorkspaceId: workspace})
	if err != nil {
		o.t.Fatal(err)
	}
	return answer.GetRevocations()
}

func TestARevokedInstallIsEndedOnTheSpotAndRefusedUntilItIsRestored(t *testing.T) {
	r := start(t)
	thief := endpoint{workspace: "revoked", daemon: true, install: "thief"}
	daemon := r.connect(thief)
	client := r.connect(endpoint{workspace: "revoked", install: "desk"})
	s := newSession(1)
	handshake(client, daemon, s)
	// Another tenant has an installation of the same name.
	other := r.connect(endpoint{workspace: "untouched", daemon: true, install: "thief"})
	otherClient, otherSession := r.connect(endpoint{workspace: "untouched"}), newSession(2)
	handshake(otherClient, other, otherSession)

	o := r.operator("revoked")
	c := o.connections(relayv1.Role_ROLE_DAEMON)[0]
	if c.GetInstallId() != "thief" || c.GetTokenId() == "" || !c.GetTokenExpiresAt().IsValid() {
		t.Errorf("got %v, want what the daemon can be revoked by", c)
	}
	answer := o.revokeInstall(c.GetInstallId())
	if answer.GetLinksEnded() != 1 || answer.GetAlreadyRevoked() || answer.GetRevocation().GetInstallId() != "thief" ||
		answer.GetRevocation().GetReason() != "stolen laptop" || !answer.GetRevocation().GetRevokedAt().IsValid() {
		t.Errorf("got %v, want one link ended and the revocation", answer)
	}
	if left := o.connections(relayv1.Role_ROLE_DAEMON); len(left) != 0 {
		t.Errorf("attached after the answer: %v", left)
	}
	daemon.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	client.wantStatus("PEER_UNAVAILABLE", "")
	r.request(thief).wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	r.request(endpoint{workspace: "revoked", install: "thief"}).wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	successor := r.connect(endpoint{workspace: "revoked", daemon: true, install: "honest"})
	successor.cancel()

	otherClient.send(otherSession.data(2))
	other.want(typeData, 2)
	r.connect(endpoint{workspace: "untouched", daemon: true, install: "thief"})

	if !o.restoreInstall("thief").GetWasRevoked() || o.restoreInstall("thief").GetWasRevoked() {
		t.Error("the first restore was none, or the second was one")
	}
	r.connect(thief)
}

func TestAStolenTargetIsEndedWithItsDaemonAndAllItsClients(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("stolen")
	second := r.connect(endpoint{workspace: "stolen"})
	o := r.operator("stolen")
	request := &relayv1.RevokePairingRequest{
		Pairing: &relayv1.RevokePairingRequest_RuntimeTargetId{RuntimeTargetId: target},
	}
	if n := o.revoke(request).GetLinksEnded(); n != 3 {
		t.Errorf("got %d links ended, want 3", n)
	}
	for _, p := range []*peer{daemon, client, second} {
		p.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	}
	for _, e := range []endpoint{{workspace: "stolen"}, {workspace: "stolen", daemon: true, install: "another", gen: 9}} {
		r.request(e).wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	}
	r.at("stolen", "host-2").admitted()
	_ = s
}

func TestTheDaemonOfARevokedClientIsToldToEndItsSessions(t *testing.T) {
	r := start(t)
	daemon, client, s := r.pair("client-revoked")
	second, other := r.connect(endpoint{workspace: "client-revoked"}), newSession(2)
	handshake(second, daemon, other)
	o := r.operator("client-revoked")
	id := o.connections(relayv1.Role_ROLE_CLIENT)[0].GetTokenId() // the oldest comes first
	request := &relayv1.RevokePairingRequest{Pairing: &relayv1.RevokePairingRequest_TokenId{TokenId: id}}
	if n := o.revoke(request).GetLinksEnded(); n != 1 {
		t.Errorf("got %d links ended, want 1", n)
	}
	client.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	daemon.wantStatus("PEER_REVOKED", s.id)
	second.send(other.data(2))
	daemon.want(typeData, 2)
}

func TestAfterTheAnswerNoLinkOfTheRevokedIsThereHoweverManyComeAtThatMoment(t *testing.T) {
	r := start(t)
	honest := r.connect(endpoint{workspace: "rush", install: "honest"})
	const links = 40
	peers := make([]*peer, links)
	var coming sync.WaitGroup
	admitted := make(chan struct{}, links)
	for i := range peers {
		peers[i] = r.request(endpoint{workspace: "rush", install: "thief"})
		// Its reader has something to do from the first moment on.
		peers[i].send(&relayv1.Envelope{Type: typeHeartbeat}, &relayv1.Envelope{Type: typeHeartbeat})
		coming.Go(func() {
			if header, err := peers[i].stream.Header(); err == nil && len(header) > 0 {
				admitted <- struct{}{}
			}
		})
	}
	<-admitted // some are in, others on their way
	o := r.operator("rush")
	ended := o.revokeInstall("thief").GetLinksEnded()
	if left := o.connections(relayv1.Role_ROLE_CLIENT); len(left) != 1 || left[0].GetInstallId() != "honest" {
		t.Errorf("attached after the answer: %v, want the honest one", left)
	}
	for _, p := range peers {
		p.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	}
	coming.Wait()
	if ended == 0 || ended > links {
		t.Errorf("got %d links ended, want some of %d", ended, links)
	}
	honest.send(&relayv1.Envelope{Type: typeHeartbeat})
	if left := o.connections(relayv1.Role_ROLE_CLIENT); len(left) != 1 {
		t.Errorf("attached in the end: %v", left)
	}
	_, body := get(t, "http://"+r.AdminAddr().String()+"/metrics", nil, "Bearer "+adminToken)
	for _, line := range []string{
		fmt.Sprintf(`relay_links_ended_total{reason="pairing_revoked"} %d`, ended),
		`relay_limit_used{limit="revocations"} 1`, `relay_limit{limit="revocations"} 100000`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}

func TestRevokingTwiceKeepsTheFirstReason(t *testing.T) {
	r := start(t)
	o := r.operator("twice")
	first := o.revokeInstall("i")
	second := o.revoke(&relayv1.RevokePairingRequest{
		Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: "i"}, Reason: "another",
	})
	if !second.GetAlreadyRevoked() || second.GetLinksEnded() != 0 ||
		second.GetRevocation().String() != first.GetRevocation().String() {
		t.Errorf("got %v, want the first one's %v", second, first)
	}
	if all := o.revocations("twice"); len(all) != 1 || all[0].GetReason() != "stolen laptop" {
		t.Errorf("got %v, want one", all)
	}
}

func TestWithoutAStateFolderTheAnswersAndTheLogSayThatRevocationsAreForgotten(t *testing.T) {
	r := start(t)
	o := r.operator("forgetful")
	list, err := o.admin.ListRevocations(o.ctx, &relayv1.ListRevocationsRequest{})
	if err != nil || !list.GetMemoryOnly() || !o.revokeInstall("i").GetMemoryOnly() || !o.restoreInstall("i").GetMemoryOnly() {
		t.Errorf("got %v, %v, want each answer to say it", list, err)
	}
	if log := r.log.String(); !strings.Contains(log, "memory only") || !strings.Contains(log, "RELAY_STATE_DIR") {
		t.Errorf("the log does not say it:\n%s", log)
	}
}

func TestARelayThatStartsAgainStillRefusesWhoIsRevoked(t *testing.T) {
	dir := t.TempDir()
	keeps := func(c *server.Config) { c.StateDir = dir }
	r := start(t, keeps)
	o := r.operator("restarted")
	if answer := o.revokeInstall("thief"); answer.GetMemoryOnly() {
		t.Errorf("got %v, want it kept", answer)
	}
	o.revokeInstall("pardoned")
	o.restoreInstall("pardoned")
	before := o.revocations("")
	r.stop()

	r = start(t, keeps)
	o = r.operator("restarted")
	if after := o.revocations(""); len(after) != 1 || after[0].String() != before[0].String() {
		t.Errorf("got %v, want %v", after, before)
	}
	r.request(endpoint{workspace: "restarted", install: "thief"}).wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	r.connect(endpoint{workspace: "restarted", install: "pardoned"})
}

func TestARelayThatCannotReadItsRevocationsDoesNotStartAndGivesItsPortBack(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "revocations.json")
	cfg := server.Config{Listen: "127.0.0.1:0", ValidateURL: platform.ValidateURL(), StateDir: dir}
	for content, mode := range map[string]os.FileMode{
		`{"version":1,"revocations":[`: 0o600, `{"version":1,"revocations":[]}`: 0o644,
	} {
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if s, err := server.New(cfg); err == nil {
			_ = s.Close()
			t.Fatalf("started with %q of mode %o", content, mode)
		} else if !strings.Contains(err.Error(), file) {
			t.Errorf("got %q, want the file named", err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	// What did not start holds nothing: neither a port nor the folder.
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	taken := cfg
	taken.Listen = s.Addr().String()
	if _, err := server.New(taken); err == nil || !strings.Contains(err.Error(), "another relay") {
		t.Errorf("two relays in one folder: got %v", err)
	}
}

func TestARevocationThatCannotBeWrittenHoldsAndTheAnswerSaysSo(t *testing.T) {
	dir := t.TempDir()
	r := start(t, func(c *server.Config) { c.StateDir = dir })
	client := r.connect(endpoint{workspace: "full", install: "thief"})
	o := r.operator("full")
	// Works for root, too: a folder with something in it can't be replaced by a file.
	obstacle := filepath.Join(dir, "revocations.json.new")
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	request := &relayv1.RevokePairingRequest{
		WorkspaceId: "full", Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: "thief"},
	}
	_, err := o.admin.RevokePairing(o.ctx, request)
	wantReason(t, err, codes.Internal, "INTERNAL")
	if text := err.Error(); !strings.Contains(text, "is revoked") || !strings.Contains(text, "call again") {
		t.Errorf("got %q, want it to say what holds and what to do", text)
	}
	client.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if !o.revokeInstall("thief").GetAlreadyRevoked() {
		t.Error("it was not revoked before")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "revocations.json")); err != nil || !strings.Contains(string(b), `"thief"`) {
		t.Errorf("got %s, %v, want it written now", b, err)
	}
}

func TestRevocationsAreListedInOrderPageByPage(t *testing.T) {
	r := start(t)
	o := r.operator("pages")
	for _, id := range []string{"c", "a", "b"} {
		o.revokeInstall(id)
	}
	o.revoke(&relayv1.RevokePairingRequest{Pairing: &relayv1.RevokePairingRequest_TokenId{TokenId: "a"}})
	o.revoke(&relayv1.RevokePairingRequest{Pairing: &relayv1.RevokePairingRequest_RuntimeTargetId{RuntimeTargetId: "a"}})
	r.operator("other").revokeInstall("a")
	var got []string
	pages := 0
	for next := ""; pages == 0 || next != ""; pages++ {
		answer, err := o.admin.ListRevocations(o.ctx, &relayv1.ListRevocationsRequest{
			WorkspaceId: "pages", PageSize: 2, PageToken: next,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range answer.GetRevocations() {
			got = append(got, "i"+v.GetInstallId()+"/r"+v.GetRuntimeTargetId()+"/t"+v.GetTokenId())
		}
		next = answer.GetNextPageToken()
	}
	if want := []string{"ia/r/t", "ib/r/t", "ic/r/t", "i/ra/t", "i/r/ta"}; !slices.Equal(got, want) || pages != 3 {
		t.Errorf("got %v in %d pages, want %v in 3", got, pages, want)
	}
	if n := len(o.revocations("")); n != 6 {
		t.Errorf("of all workspaces: got %d, want 6", n)
	}
}

func TestARevocationThatNamesNothingOrTooMuchIsAnInvalidArgument(t *testing.T) {
	r := start(t)
	o := r.operator("")
	install := func(id string) *relayv1.RevokePairingRequest_InstallId {
		return &relayv1.RevokePairingRequest_InstallId{InstallId: id}
	}
	for name, request := range map[string]*relayv1.RevokePairingRequest{
		"nothing":            {},
		"no pairing":         {WorkspaceId: "w"},
		"no workspace":       {Pairing: install("i")},
		"an empty install":   {WorkspaceId: "w", Pairing: install("")},
		"a long install":     {WorkspaceId: "w", Pairing: install(strings.Repeat("i", 129))},
		"two lines":          {WorkspaceId: "w", Pairing: install("i\nj")},
		"a workspace's form": {WorkspaceId: "w/x", Pairing: install("i")},
		"a target's form": {
			WorkspaceId: "w", Pairing: &relayv1.RevokePairingRequest_RuntimeTargetId{RuntimeTargetId: "a b"},
		},
		"a long reason":     {WorkspaceId: "w", Pairing: install("i"), Reason: strings.Repeat("r", 257)},
		"a coloured reason": {WorkspaceId: "w", Pairing: install("i"), Reason: "\x1b[31m"},
	} {
		if _, err := o.admin.RevokePairing(o.ctx, request); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
	_, err := o.admin.RestorePairing(o.ctx, &relayv1.RestorePairingRequest{WorkspaceId: "w"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("restoring nothing: got %v, want INVALID_ARGUMENT", err)
	}
	for _, page := range []*relayv1.ListRevocationsRequest{
		{PageSize: 1001}, {PageToken: "!"}, {PageToken: "eA"}, {PageToken: "YQo5CmI"},
	} {
		if _, err := o.admin.ListRevocations(o.ctx, page); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: got %v, want INVALID_ARGUMENT", page, err)
		}
	}
	if n := len(o.revocations("")); n != 0 {
		t.Errorf("got %d revocations, want none", n)
	}
}
