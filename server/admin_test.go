package server_test

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

func asAdmin(ctx context.Context, authorization ...string) context.Context {
	md := metadata.MD{}
	md.Append("authorization", authorization...)
	return metadata.NewOutgoingContext(ctx, md)
}

func (r *relay) admin() (relayv1.AdminServiceClient, context.Context) {
	r.t.Helper()
	conn := dial(r.t, r.AdminAddr().String(), nil)
	return relayv1.NewAdminServiceClient(conn), asAdmin(patient(r.t), "Bearer "+adminToken)
}

func TestTheAdminPortAnswersNobodyWithoutItsToken(t *testing.T) {
	r := start(t)
	conn := dial(t, r.AdminAddr().String(), nil)
	admin, reflection := relayv1.NewAdminServiceClient(conn), reflectionv1.NewServerReflectionClient(conn)
	calls := map[string]func(context.Context) error{
		"GetStatus": func(ctx context.Context) error {
			_, err := admin.GetStatus(ctx, &relayv1.GetStatusRequest{})
			return err
		},
		"ListTargets": func(ctx context.Context) error {
			_, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{})
			return err
		},
		"ListConnections": func(ctx context.Context) error {
			_, err := admin.ListConnections(ctx, &relayv1.ListConnectionsRequest{})
			return err
		},
		"RevokePairing": func(ctx context.Context) error {
			_, err := admin.RevokePairing(ctx, &relayv1.RevokePairingRequest{
				WorkspaceId: "nobody", Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: "i"},
			})
			return err
		},
		"ListRevocations": func(ctx context.Context) error {
			_, err := admin.ListRevocations(ctx, &relayv1.ListRevocationsRequest{})
			return err
		},
		"RestorePairing": func(ctx context.Context) error {
			_, err := admin.RestorePairing(ctx, &relayv1.RestorePairingRequest{
				WorkspaceId: "nobody", Pairing: &relayv1.RestorePairingRequest_InstallId{InstallId: "i"},
			})
			return err
		},
		"reflection": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := reflection.ServerReflectionInfo(ctx)
			if err != nil {
				return err
			}
			_ = stream.Send(&reflectionv1.ServerReflectionRequest{
				MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
			})
			_, err = stream.Recv()
			return err
		},
	}
	bad := map[string][]string{
		"TOKEN_MISSING": nil, "TOKEN_INVALID": {"Bearer wrong"},
	}
	for name, call := range calls {
		for reason, authorization := range bad {
			wantReason(t, call(asAdmin(patient(t), authorization...)), codes.Unauthenticated, reason)
		}
		good := "Bearer " + adminToken
		wantReason(t, call(asAdmin(patient(t), "Basic "+adminToken)), codes.Unauthenticated, "TOKEN_MISSING")
		wantReason(t, call(asAdmin(patient(t), good, good)), codes.Unauthenticated, "TOKEN_MISSING")
		wantReason(t, call(asAdmin(patient(t), good+"x")), codes.Unauthenticated, "TOKEN_INVALID")
		if err := call(asAdmin(patient(t), good)); err != nil {
			t.Errorf("%s with the token: %v", name, err)
		}
	}
	metrics := "http://" + r.AdminAddr().String() + "/metrics"
	for _, authorization := range [][]string{nil, {"Bearer wrong"}, {"Bearer " + adminToken, "Bearer wrong"}, {adminToken}} {
		if code, body := get(t, metrics, nil, authorization...); code != 401 || strings.Contains(body, "relay_") {
			t.Errorf("/metrics with %q: got %d %.60q, want 401 and nothing else", authorization, code, body)
		}
	}
	if code, body := get(t, metrics, nil, "Bearer "+adminToken); code != 200 || !strings.Contains(body, "relay_links") {
		t.Errorf("/metrics with the token: got %d %.60q", code, body)
	}
	if strings.Contains(r.log.String(), adminToken) {
		t.Error("the admin token is in the log")
	}
}

func TestBothAdminTokensCountWhileOneIsReplaced(t *testing.T) {
	r := start(t, func(c *server.Config) { c.AdminTokens = []string{"old", adminToken, ""} })
	admin, _ := r.admin()
	for _, value := range []string{"old", adminToken} {
		if _, err := admin.GetStatus(asAdmin(patient(t), "Bearer "+value), &relayv1.GetStatusRequest{}); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	_, err := admin.GetStatus(asAdmin(patient(t), "Bearer "), &relayv1.GetStatusRequest{})
	wantReason(t, err, codes.Unauthenticated, "TOKEN_MISSING")
}

func TestWithoutAnAdminTokenThereIsNoAdminPort(t *testing.T) {
	r := start(t, func(c *server.Config) { c.AdminTokens = nil })
	if r.AdminAddr() != nil {
		t.Errorf("got an admin port at %v", r.AdminAddr())
	}
}

func TestTheReflectionOfTheAdminPortShowsAdminService(t *testing.T) {
	r := start(t)
	_, ctx := r.admin()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(dial(t, r.AdminAddr().String(), nil)).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(answer.GetListServicesResponse().GetService(), func(s *reflectionv1.ServiceResponse) bool {
		return s.GetName() == "viewport.relay.v1.AdminService"
	}) {
		t.Errorf("got %v, want AdminService among them", answer)
	}
}

func TestGetStatusCountsLinksSessionsFramesDropsAndRefusals(t *testing.T) {
	r := start(t, func(c *server.Config) { c.RelayID = "relay-7" })
	daemon, client, s := r.pair("counted")
	client.send(s.data(2), s.data(2))
	daemon.want(typeData, 2)
	client.wantStatus("SEQUENCE_REPLAY", s.id)
	r.open(false, metadata.MD{}).wantEnd(codes.Unauthenticated, "TOKEN_MISSING")
	admin, ctx := r.admin()
	got, err := admin.GetStatus(ctx, &relayv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetRelayId() != "relay-7" || got.GetVersion() != "test 1" || !got.GetReady() || got.GetUptime().AsDuration() <= 0 ||
		got.GetStartedAt().AsTime().IsZero() {
		t.Errorf("got %v, want relay-7, test 1, ready, with start and uptime", got)
	}
	if got.GetTargets() != 1 || got.GetDaemonLinks() != 1 || got.GetClientLinks() != 1 || got.GetSessions() != 1 {
		t.Errorf("got %v, want 1 target, daemon, client and session", got)
	}
	// INIT, RESPONSE, DATA and the STATUS were sent.
	if got.GetFramesForwarded() != 4 || got.GetBytesForwarded() == 0 {
		t.Errorf("got %d frames of %d bytes, want 4", got.GetFramesForwarded(), got.GetBytesForwarded())
	}
	for name, counts := range map[string][]*relayv1.ReasonCount{"replay": got.GetDrops(), "TOKEN_MISSING": got.GetRefusals()} {
		if len(counts) != 1 || counts[0].GetReason() != name || counts[0].GetCount() != 1 {
			t.Errorf("got %v, want 1 %s", counts, name)
		}
	}
	_, body := get(t, "http://"+r.AdminAddr().String()+"/metrics", nil, "Bearer "+adminToken)
	for _, line := range []string{
		`relay_links{role="client"} 1`, `relay_links{role="daemon"} 1`, "relay_sessions 1", "relay_targets 1",
		"relay_frames_received_total 4", "relay_frames_sent_total 4", `relay_frames_dropped_total{reason="replay"} 1`,
		`relay_links_refused_total{reason="token_missing"} 1`, "relay_validate_calls_total 2",
		`grpc_server_started_total{grpc_method="ConnectDaemon",grpc_service="viewport.relay.v1.RelayService",grpc_type="bidi_stream"} 1`,
	} {
		if !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(line) + "$").MatchString(body) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if strings.Contains(body, "counted") || strings.Contains(body, s.id) {
		t.Error("/metrics names a workspace or a session")
	}
}

func TestTargetsAreListedInOrderPageByPage(t *testing.T) {
	r := start(t)
	var want []string
	for i := range 5 {
		workspace := "list-" + strconv.Itoa(4-i)
		r.connect(endpoint{workspace: workspace, daemon: i%2 == 0})
		want = append(want, workspace)
	}
	slices.Sort(want)
	admin, ctx := r.admin()
	var got []string
	pages := 0
	for next := ""; pages == 0 || next != ""; pages++ {
		answer, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{PageSize: 2, PageToken: next})
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range answer.GetTargets() {
			got = append(got, target.GetWorkspaceId())
			if daemon := target.GetDaemonAttached(); daemon == (target.GetClientLinks() == 1) {
				t.Errorf("got %v, want a daemon or a client", target)
			}
		}
		next = answer.GetNextPageToken()
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("got %v in %d pages, want %v in 3", got, pages, want)
	}
	answer, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{WorkspaceId: "list-3"})
	if err != nil || len(answer.GetTargets()) != 1 || answer.GetTargets()[0].GetRuntimeTargetId() != target {
		t.Errorf("of one workspace: got %v, %v", answer, err)
	}
}

func TestConnectionsAreListedOldestFirstPageByPage(t *testing.T) {
	r := start(t)
	for range 3 {
		r.connect(endpoint{workspace: "links", extra: []string{"viewport-version", "acme 1.2", "viewport-connect-attempt", "4"}})
	}
	r.connect(endpoint{workspace: "links", daemon: true, extra: []string{"viewport-version", strings.Repeat("x", 100)}})
	r.connect(endpoint{workspace: "others"})
	admin, ctx := r.admin()
	list := func(request *relayv1.ListConnectionsRequest) *relayv1.ListConnectionsResponse {
		t.Helper()
		answer, err := admin.ListConnections(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	first := list(&relayv1.ListConnectionsRequest{WorkspaceId: "links", PageSize: 3})
	second := list(&relayv1.ListConnectionsRequest{WorkspaceId: "links", PageSize: 3, PageToken: first.GetNextPageToken()})
	all := append(first.GetConnections(), second.GetConnections()...)
	if len(first.GetConnections()) != 3 || len(all) != 4 || second.GetNextPageToken() != "" {
		t.Fatalf("got %d and %d links, then %q, want 3 and 1", len(first.GetConnections()), len(second.GetConnections()),
			second.GetNextPageToken())
	}
	for i, c := range all {
		if i > 0 && c.GetSerial() <= all[i-1].GetSerial() {
			t.Errorf("link %d comes after %d", c.GetSerial(), all[i-1].GetSerial())
		}
		if c.GetSourceAddress() == "" || c.GetConnectedAt().AsTime().IsZero() || c.GetRuntimeTargetId() != target {
			t.Errorf("got %v, want source, time and target", c)
		}
	}
	if c := all[0]; c.GetRole() != relayv1.Role_ROLE_CLIENT || c.GetVersion() != "acme 1.2" || c.GetConnectAttempt() != 4 {
		t.Errorf("got %v, want a client of acme 1.2 at its attempt 4", c)
	}
	daemons := list(&relayv1.ListConnectionsRequest{Role: relayv1.Role_ROLE_DAEMON}).GetConnections()
	if len(daemons) != 1 || daemons[0].GetSerial() != all[3].GetSerial() || len(daemons[0].GetVersion()) != 64 {
		t.Errorf("daemons: got %v, want the one, with 64 bytes of its version", daemons)
	}
	if n := len(list(&relayv1.ListConnectionsRequest{RuntimeTargetId: target}).GetConnections()); n != 5 {
		t.Errorf("of the target's name in every workspace: got %d, want 5", n)
	}
}

func TestAPageThatCannotBeIsAnInvalidArgument(t *testing.T) {
	r := start(t)
	admin, ctx := r.admin()
	for name, call := range map[string]func() error{
		"targets, size": func() error {
			_, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{PageSize: 1001})
			return err
		},
		"targets, token": func() error {
			_, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{PageToken: "!"})
			return err
		},
		"connections, size": func() error {
			_, err := admin.ListConnections(ctx, &relayv1.ListConnectionsRequest{PageSize: 1001})
			return err
		},
		"connections, token": func() error {
			_, err := admin.ListConnections(ctx, &relayv1.ListConnectionsRequest{PageToken: "eA"})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
}
