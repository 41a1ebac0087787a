package admin

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/rpcerr"
	"github.com/getviewport/relay/server/internal/revocation"
)

// RevokePairing refuses a pairing from now on and ends its links.
func (s *Service) RevokePairing(_ context.Context, r *relayv1.RevokePairingRequest) (*relayv1.RevokePairingResponse, error) {
	wanted := revocation.Revocation{Subject: subject(r), Reason: r.GetReason(), At: time.Now()}
	if err := wanted.Problem(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	row, already, full := s.Revocations.Revoke(wanted.Subject, wanted.Reason, wanted.At)
	if full != nil {
		s.Limited(full)
		return nil, rpcerr.Status(full)
	}
	ended := s.Hub.Revoke(row.Matches)
	// Without the reason, which may name a person.
	s.Log.Info("pairing revoked", "workspace", row.Workspace, "by", row.Kind.String(), "id", row.Value, "already", already,
		"links_ended", ended)
	if err := s.keep("the pairing is revoked and its links have ended"); err != nil {
		return nil, err
	}
	return &relayv1.RevokePairingResponse{
		Revocation: message(row), LinksEnded: uint32(ended), AlreadyRevoked: already, MemoryOnly: !s.Revocations.Durable(),
	}, nil
}

// RestorePairing admits a pairing again.
func (s *Service) RestorePairing(_ context.Context, r *relayv1.RestorePairingRequest) (*relayv1.RestorePairingResponse, error) {
	pairing := subject(r)
	if err := pairing.Problem(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	was := s.Revocations.Restore(pairing)
	s.Log.Info("pairing restored", "workspace", pairing.Workspace, "by", pairing.Kind.String(), "id", pairing.Value,
		"was_revoked", was)
	if err := s.keep("the pairing is admitted again"); err != nil {
		return nil, err
	}
	return &relayv1.RestorePairingResponse{WasRevoked: was, MemoryOnly: !s.Revocations.Durable()}, nil
}

// keep has the list written, and says what holds meanwhile when that fails.
func (s *Service) keep(holds string) error {
	if !s.Revocations.Durable() {
		s.Log.Warn("revocations are in memory only, and forgotten at the next restart", "mend", "set RELAY_STATE_DIR")
		return nil
	}
	err := s.Revocations.Keep()
	if err == nil {
		return nil
	}
	s.Log.Error("the revocations could not be written", "error", err)
	return rpcerr.Status(reason.New(reason.Internal,
		"%s, but that could not be written down and ends with this process: %v; mend it and call again", holds, err))
}

// ListRevocations lists revocations by workspace, kind and id.
func (s *Service) ListRevocations(_ context.Context, r *relayv1.ListRevocationsRequest) (*relayv1.ListRevocationsResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err != nil {
		return nil, err
	}
	after, err := rowToken(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	answer := &relayv1.ListRevocationsResponse{MemoryOnly: !s.Revocations.Durable()}
	var last revocation.Subject
	for _, row := range s.Revocations.All() {
		if row.Compare(after) <= 0 || r.GetWorkspaceId() != "" && row.Workspace != r.GetWorkspaceId() {
			continue
		}
		if len(answer.Revocations) == size {
			answer.NextPageToken = encodePage(last.Workspace + "\n" + strconv.Itoa(int(last.Kind)) + "\n" + last.Value)
			break
		}
		answer.Revocations = append(answer.Revocations, message(row))
		last = row.Subject
	}
	return answer, nil
}

// rowToken reads the subject that a page ended with; that of no page is before all others.
func rowToken(token string) (after revocation.Subject, err error) {
	text, err := pageToken(token)
	if err != nil || text == "" {
		return after, err
	}
	parts := strings.SplitN(text, "\n", 3)
	if len(parts) != 3 {
		return after, errPage
	}
	kind, err := strconv.ParseUint(parts[1], 10, 8)
	after = revocation.Subject{Workspace: parts[0], Kind: revocation.Kind(kind), Value: parts[2]}
	if errors.Join(err, after.Problem()) != nil {
		return after, errPage
	}
	return after, nil
}

// subject reads the pairing of a request; one that names none is refused by its Problem.
func subject(r interface {
	GetWorkspaceId() string
	GetInstallId() string
	GetRuntimeTargetId() string
	GetTokenId() string
}) revocation.Subject {
	s := revocation.Subject{Workspace: r.GetWorkspaceId()}
	switch {
	case r.GetInstallId() != "":
		s.Kind, s.Value = revocation.Install, r.GetInstallId()
	case r.GetRuntimeTargetId() != "":
		s.Kind, s.Value = revocation.Target, r.GetRuntimeTargetId()
	case r.GetTokenId() != "":
		s.Kind, s.Value = revocation.Token, r.GetTokenId()
	}
	return s
}

func message(row revocation.Revocation) *relayv1.Revocation {
	m := &relayv1.Revocation{WorkspaceId: row.Workspace, Reason: row.Reason, RevokedAt: timestamppb.New(row.At)}
	switch row.Kind {
	case revocation.Install:
		m.Pairing = &relayv1.Revocation_InstallId{InstallId: row.Value}
	case revocation.Target:
		m.Pairing = &relayv1.Revocation_RuntimeTargetId{RuntimeTargetId: row.Value}
	case revocation.Token:
		m.Pairing = &relayv1.Revocation_TokenId{TokenId: row.Value}
	}
	return m
}
