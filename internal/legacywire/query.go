package legacywire

import (
	"strings"

	"github.com/getviewport/relay/internal/reason"
)

// Role is who opens a connection.
type Role uint8

// The roles. The zero Role is none.
const (
	Daemon Role = iota + 1
	Client
	Worker
)

// ParseRole returns the role that a query or a claim spells like this, 0 if there is none.
func ParseRole(s string) Role {
	switch s {
	case "workspace-daemon":
		return Daemon
	case "client":
		return Client
	case "worker":
		return Worker
	}
	return 0
}

// String returns the role as queries and claims spell it.
func (r Role) String() string { return [...]string{"none", "workspace-daemon", "client", "worker"}[r] }

// Query is what the query of an upgrade asks for.
type Query struct {
	// Role is who the peer says it is.
	Role Role
	// Workspace is 1–128 of [A-Za-z0-9._:-].
	Workspace string
	// Target is the same, or empty if the query has none.
	Target string

	token string // trimmed
}

const maxID = 128

// ParseQuery reads the query of an upgrade, which is what comes behind the first "?" of the request's target, as
// browsers read a form: of a repeated name the first counts, a plus is a space, a malformed percent sign is itself.
// What is not valid is answered with 400.
func ParseQuery(raw string) (Query, error) {
	raw, _, _ = strings.Cut(raw, "#")
	var values [4]*string
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		i := -1
		switch percentDecode(name, true) {
		case "role":
			i = 0
		case "workspaceId":
			i = 1
		case "runtimeTargetId":
			i = 2
		case "token":
			i = 3
		}
		if i >= 0 && values[i] == nil {
			value = percentDecode(value, true)
			values[i] = &value
		}
	}
	role, workspace, target, token := values[0], values[1], values[2], values[3]
	var q Query
	if role != nil {
		q.Role = ParseRole(*role)
	}
	switch {
	case q.Role == 0:
		return Query{}, errRole
	case workspace == nil || !validID(*workspace):
		return Query{}, errWorkspace
	case target != nil && !validID(*target):
		return Query{}, errTarget
	}
	q.Workspace = *workspace
	if target != nil {
		q.Target = *target
	}
	if token != nil {
		q.token = string(Trim([]byte(*token)))
	}
	return q, nil
}

// The errors of ParseQuery, shared and never changed.
var (
	errRole      = queryError("role is not workspace-daemon, client or worker")
	errWorkspace = queryError("workspaceId is not 1 to 128 of A-Z a-z 0-9 . _ : -")
	errTarget    = queryError("runtimeTargetId is there and not 1 to 128 of A-Z a-z 0-9 . _ : -")
)

func queryError(what string) *reason.Error {
	return reason.New(reason.FrameInvalid, "the query of the upgrade is not valid: %s", what)
}

func validID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != ':' && c != '-' {
			return false
		}
	}
	return true
}
