package devplatform

import (
	"crypto/subtle"
	"net/http"
)

// validateRequest is what a relay asks (legacy B.1 has the same).
type validateRequest struct {
	RelayToken      string  `json:"relayToken"`
	Role            string  `json:"role"`
	WorkspaceID     string  `json:"workspaceId"`
	RuntimeTargetID *string `json:"runtimeTargetId"`
}

type refusal struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason"`
}

type admission struct {
	OK     bool           `json:"ok"`
	Claims map[string]any `json:"claims"`
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) {
	if key := s.config.InternalKey; key != "" &&
		subtle.ConstantTimeCompare([]byte(r.Header.Get("x-relay-internal-key")), []byte(key)) != 1 {
		answer(w, http.StatusUnauthorized, refusal{Reason: "INTERNAL_KEY_INVALID"})
		return
	}
	var request validateRequest
	if err := decode(w, r, &request); err != nil || request.RelayToken == "" || request.WorkspaceID == "" {
		answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
		return
	}
	s.work(r)
	claims, reason := s.verify(request.RelayToken)
	if reason != "" {
		answer(w, http.StatusUnauthorized, refusal{Reason: reason})
		return
	}
	if reason := s.refuse(request, claims); reason != "" {
		answer(w, http.StatusForbidden, refusal{Reason: reason})
		return
	}
	answer(w, http.StatusOK, admission{OK: true, Claims: claims})
}

// refuse returns why a good token does not allow what is asked, or nothing.
func (s *Server) refuse(request validateRequest, claims map[string]any) string {
	switch {
	case request.Role == "" || claims["role"] != request.Role:
		return "ROLE_MISMATCH"
	case claims["workspaceId"] != request.WorkspaceID:
		return "WORKSPACE_MISMATCH"
	case request.RuntimeTargetID != nil && claims["runtimeTargetId"] != *request.RuntimeTargetID:
		return "TARGET_MISMATCH"
	case s.revoked(claims):
		return "PAIRING_REVOKED"
	}
	return ""
}

// Subject is what a token can be revoked by. What is empty revokes nothing.
type Subject struct {
	// JTI is one token's id.
	JTI string `json:"jti"`
	// InstallID is all tokens of one installation.
	InstallID string `json:"installId"`
	// WorkspaceID is all tokens of one workspace.
	WorkspaceID string `json:"workspaceId"`
}

// claim is a claim of a token, or what is revoked by one.
type claim struct{ name, value string }

func (s Subject) claims() (out []claim) {
	for _, c := range []claim{{"jti", s.JTI}, {"installId", s.InstallID}, {"workspaceId", s.WorkspaceID}} {
		if c.value != "" {
			out = append(out, c)
		}
	}
	return out
}

// Revoke makes validate refuse what subject names, until Restore.
func (s *Server) Revoke(subject Subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range subject.claims() {
		s.revocations[c] = true
	}
}

// Restore undoes Revoke.
func (s *Server) Restore(subject Subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range subject.claims() {
		delete(s.revocations, c)
	}
}

func (s *Server) revoked(claims map[string]any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{"jti", "installId", "workspaceId"} {
		if value, ok := claims[name].(string); ok && s.revocations[claim{name, value}] {
			return true
		}
	}
	return false
}
