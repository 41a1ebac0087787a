// Package revocation is the operator's list of pairings that get no link: what is on it, by which names a link is found
// on it, and the file that keeps it over a restart of the relay.
//
// It ends no link and asks no platform: package hub looks every new link up before it attaches, and ends those that
// live. What the platform revokes is not on the list; the platform remembers that itself.
package revocation

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Max is how many revocations there may be; Limit is the name of that limit in errors and metrics.
const (
	Max   = 100_000
	Limit = "revocations"
)

// MaxReason is the longest reason in bytes.
const MaxReason = 256

// Kind says by what a pairing is revoked.
type Kind uint8

// Kinds.
const (
	// Install is an installation: all its links, of whatever target.
	Install Kind = iota + 1
	// Target is a runtime target: the links of its daemon and of all its clients.
	Target
	// Token is one token, by its id (claim jti).
	Token
)

// String is the kind's name in logs and page tokens.
func (k Kind) String() string {
	switch k {
	case Install:
		return "install"
	case Target:
		return "target"
	case Token:
		return "token"
	}
	return "unknown"
}

// Subject is who is revoked: what of one workspace has this name.
type Subject struct {
	Workspace string
	Kind      Kind
	Value     string
}

// Problem says in what s can't be a subject; nil: in nothing. Values are bounded like the claims that hold them.
func (s Subject) Problem() error {
	most := 128
	if s.Kind == Token {
		most = 255
	}
	switch {
	case !wireID(s.Workspace):
		return errors.New("the workspace is not 1 to 128 of A-Z a-z 0-9 . _ : -")
	case s.Kind != Install && s.Kind != Target && s.Kind != Token:
		return errors.New("it needs exactly one of install_id, runtime_target_id and token_id")
	case s.Kind == Target && !wireID(s.Value):
		return errors.New("the runtime target is not 1 to 128 of A-Z a-z 0-9 . _ : -")
	case s.Value == "" || !printable(s.Value) || len(utf16.Encode([]rune(s.Value))) > most:
		return fmt.Errorf("the id of the %s is not 1 to %d printable characters", s.Kind, most)
	}
	return nil
}

// Compare orders subjects by workspace, kind and value.
func (s Subject) Compare(o Subject) int {
	return cmp.Or(cmp.Compare(s.Workspace, o.Workspace), cmp.Compare(s.Kind, o.Kind), cmp.Compare(s.Value, o.Value))
}

// Revocation is a row of the list.
type Revocation struct {
	Subject
	// Reason is what the operator wrote; it may be empty. Peers never see it.
	Reason string
	// At is when it was revoked, in UTC.
	At time.Time
}

// Problem says in what r can't be on the list; nil: in nothing.
func (r Revocation) Problem() error {
	if err := r.Subject.Problem(); err != nil {
		return err
	}
	if len(r.Reason) > MaxReason || !printable(r.Reason) {
		return fmt.Errorf("the reason is not at most %d bytes of printable text in one line", MaxReason)
	}
	if r.At.IsZero() {
		return errors.New("it has no time")
	}
	return nil
}

// Names are what a link is known by from its admission. Empty ones match nothing.
type Names struct{ Workspace, Target, InstallID, TokenID string }

// Matches reports whether a link with these names is revoked by s.
func (s Subject) Matches(n Names) bool {
	if s.Value == "" || s.Workspace != n.Workspace {
		return false
	}
	switch s.Kind {
	case Install:
		return s.Value == n.InstallID
	case Target:
		return s.Value == n.Target
	case Token:
		return s.Value == n.TokenID
	}
	return false
}

// subjects are all by which n could be revoked.
func (n Names) subjects() [3]Subject {
	return [3]Subject{
		{n.Workspace, Install, n.InstallID}, {n.Workspace, Target, n.Target}, {n.Workspace, Token, n.TokenID},
	}
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// wireID reports whether s has the form of a workspace or runtime target id (docs/protocol.md, Envelope).
func wireID(s string) bool {
	for _, r := range s {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._:-", r) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
