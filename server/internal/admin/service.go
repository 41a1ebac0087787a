// Package admin is the operator's side of a relay: AdminService over gRPC, metrics over HTTP, and the token that both
// want. It shows what the hub knows, and changes nothing but the list of revocations.
package admin

import (
	"cmp"
	"context"
	"encoding/base64"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/revocation"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// Service is AdminService.
type Service struct {
	relayv1.UnimplementedAdminServiceServer
	// RelayID and Version say which process this is, Started since when it runs.
	RelayID, Version string
	Started          time.Time
	// Hub is what is shown, and where the links of a revoked pairing are ended.
	Hub *hub.Hub
	// Revocations are the pairings that get no link.
	Revocations *revocation.List
	// Refusals are the streams that were not admitted.
	Refusals *Refusals
	// Ready reports whether new links are taken, and if not why.
	Ready func() (ok bool, why string)
	// Limited is told of what a limit refuses here, for counting.
	Limited func(*reason.Error)
	// Log gets a line for each revocation, and what keeps one from being written.
	Log *slog.Logger
}

// GetStatus tells how the relay is.
func (s *Service) GetStatus(context.Context, *relayv1.GetStatusRequest) (*relayv1.GetStatusResponse, error) {
	now := time.Now()
	total := s.Hub.Totals()
	ready, why := s.Ready()
	answer := &relayv1.GetStatusResponse{
		RelayId: s.RelayID, Version: s.Version,
		StartedAt: timestamppb.New(s.Started), Uptime: durationpb.New(now.Sub(s.Started)),
		Ready: ready, NotReadyReason: why,
		Targets: uint64(total.Targets), DaemonLinks: uint64(total.Daemons), ClientLinks: uint64(total.Clients),
		Sessions: uint64(total.Sessions), FramesForwarded: total.Out.Frames, BytesForwarded: total.Out.Bytes,
		QueuedBytes: uint64(total.Queued),
	}
	s.Hub.Drops().Each(func(d route.Drop, n uint64) {
		if n > 0 {
			answer.Drops = append(answer.Drops, &relayv1.ReasonCount{Reason: d.String(), Count: n})
		}
	})
	slices.SortFunc(answer.Drops, func(a, b *relayv1.ReasonCount) int { return cmp.Compare(a.Reason, b.Reason) })
	s.Refusals.Each(func(c reason.Code, n uint64) {
		answer.Refusals = append(answer.Refusals, &relayv1.ReasonCount{Reason: string(c), Count: n})
	})
	return answer, nil
}

// ListTargets lists targets by workspace and id.
func (s *Service) ListTargets(_ context.Context, r *relayv1.ListTargetsRequest) (*relayv1.ListTargetsResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err != nil {
		return nil, err
	}
	after, err := pageToken(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	answer := &relayv1.ListTargetsResponse{}
	for _, t := range s.Hub.Targets() {
		at := t.Workspace + "/" + t.Target
		if r.GetWorkspaceId() != "" && t.Workspace != r.GetWorkspaceId() || after != "" && at <= after {
			continue
		}
		if len(answer.Targets) == size {
			last := answer.Targets[size-1]
			answer.NextPageToken = encodePage(last.WorkspaceId + "/" + last.RuntimeTargetId)
			break
		}
		answer.Targets = append(answer.Targets, &relayv1.Target{
			WorkspaceId: t.Workspace, RuntimeTargetId: t.Target, DaemonAttached: t.Daemon,
			ClientLinks: uint32(t.Clients), Sessions: uint32(t.Sessions), QueuedBytes: uint64(t.Queued),
		})
	}
	return answer, nil
}

// ListConnections lists links, oldest first.
func (s *Service) ListConnections(_ context.Context, r *relayv1.ListConnectionsRequest) (*relayv1.ListConnectionsResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err != nil {
		return nil, err
	}
	token, err := pageToken(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after uint64
	if token != "" {
		if after, err = strconv.ParseUint(token, 10, 64); err != nil {
			return nil, errPage
		}
	}
	answer := &relayv1.ListConnectionsResponse{}
	for _, l := range s.Hub.Links() {
		switch {
		case l.LinkStats.Serial <= after,
			r.GetWorkspaceId() != "" && l.Workspace != r.GetWorkspaceId(),
			r.GetRuntimeTargetId() != "" && l.Target != r.GetRuntimeTargetId(),
			r.GetRole() != relayv1.Role_ROLE_UNSPECIFIED && role(l.Peer.Role) != r.GetRole():
			continue
		}
		if len(answer.Connections) == size {
			answer.NextPageToken = encodePage(strconv.FormatUint(answer.Connections[size-1].Serial, 10))
			break
		}
		c := &relayv1.Connection{
			Serial: l.LinkStats.Serial, Role: role(l.Peer.Role), WorkspaceId: l.Workspace, RuntimeTargetId: l.Target,
			SourceAddress: l.Source, Version: l.Version, ConnectAttempt: l.Attempt, ConnectedAt: timestamppb.New(l.Since),
			FramesReceived: l.In.Frames, BytesReceived: l.In.Bytes, FramesSent: l.Out.Frames, BytesSent: l.Out.Bytes,
			QueuedBytes: uint64(l.Queued), Sessions: uint32(l.Sessions), InstallId: l.Peer.InstallID, TokenId: l.TokenID,
		}
		// A date that protobuf can't say would spoil the whole page.
		if at := timestamppb.New(l.Expires); !l.Expires.IsZero() && at.IsValid() {
			c.TokenExpiresAt = at
		}
		answer.Connections = append(answer.Connections, c)
	}
	return answer, nil
}

func role(r route.Role) relayv1.Role {
	if r == route.Daemon {
		return relayv1.Role_ROLE_DAEMON
	}
	return relayv1.Role_ROLE_CLIENT
}

var errPage = status.Error(codes.InvalidArgument, "page_token is not one that this call returned; leave it empty to start over")

func pageSize(n uint32) (int, error) {
	switch {
	case n == 0:
		return defaultPage, nil
	case n > maxPage:
		return 0, status.Errorf(codes.InvalidArgument, "page_size is %d, at most %d", n, maxPage)
	}
	return int(n), nil
}

func encodePage(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func pageToken(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return "", errPage
	}
	return string(b), nil
}
