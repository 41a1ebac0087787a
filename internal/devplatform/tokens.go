package devplatform

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Roles of a token.
const (
	RoleDaemon = "workspace-daemon"
	RoleClient = "client"
	RoleWorker = "worker"
)

const defaultTTL = 10 * time.Minute

// Claims are the claims wanted in a token. What is zero is left out or filled in: see the package documentation.
type Claims struct {
	// Role is one of RoleDaemon, RoleClient, RoleWorker.
	Role string
	// WorkspaceID and RuntimeTargetID say for where the token is.
	WorkspaceID, RuntimeTargetID string
	// InstallID and DaemonIssueGeneration tell one daemon from another; 0 leaves the generation out.
	InstallID             string
	DaemonIssueGeneration uint64
	// PolicyMode "crypto_pairing" and E2EEProfile "noise-ikpsk2" ask for Noise IKpsk2.
	PolicyMode, E2EEProfile string
	// Scope is "runtime" for clients unless set.
	Scope string
	// ClientID, MachineID, UserID, ManagedExecutorID (of a worker) and SessionChannels (of a client) matter to peers of
	// today's protocol only.
	ClientID, MachineID, UserID, ManagedExecutorID string
	SessionChannels                                []string
	// TTL is the time to live; 0: 10 minutes. Below 0 the token has expired.
	TTL time.Duration
	// Algorithm signs: RS256 (if empty), ES256 or EdDSA.
	Algorithm string
	// Extra holds any other claim by its name. It overrides what is set or filled in; nil leaves a claim out.
	Extra map[string]any
}

// Mint returns a token, signed.
func (s *Server) Mint(c Claims) (string, error) { return s.mint(c.wanted(), c.TTL, c.Algorithm) }

// wanted are the claims that c sets.
func (c Claims) wanted() map[string]any {
	claims := map[string]any{}
	for name, value := range map[string]string{
		"role": c.Role, "workspaceId": c.WorkspaceID, "runtimeTargetId": c.RuntimeTargetID, "installId": c.InstallID,
		"policyMode": c.PolicyMode, "e2eeProfile": c.E2EEProfile, "scope": c.Scope, "clientId": c.ClientID,
		"machineId": c.MachineID, "userId": c.UserID, "managedExecutorId": c.ManagedExecutorID,
	} {
		if value != "" {
			claims[name] = value
		}
	}
	if c.DaemonIssueGeneration != 0 {
		claims["daemonIssueGeneration"] = c.DaemonIssueGeneration
	}
	if c.SessionChannels != nil {
		claims["sessionChannels"] = c.SessionChannels
	}
	maps.Copy(claims, c.Extra)
	return claims
}

func (s *Server) mint(wanted map[string]any, ttl time.Duration, algorithm string) (string, error) {
	if algorithm == "" {
		algorithm = RS256
	}
	i := slices.IndexFunc(s.keys, func(k key) bool { return k.method.Alg() == algorithm })
	if i < 0 {
		return "", fmt.Errorf("devplatform: alg %q is none of RS256, ES256, EdDSA", algorithm)
	}
	if ttl == 0 {
		ttl = defaultTTL
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": s.config.Issuer, "aud": s.config.Audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(ttl).Unix(),
	}
	if wanted["role"] == RoleClient {
		claims["scope"] = "runtime"
		if key := s.daemonKey(wanted["workspaceId"], wanted["runtimeTargetId"]); key != "" {
			claims["daemonPublicKey"] = key
		}
	}
	maps.Copy(claims, wanted)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	token := jwt.NewWithClaims(s.keys[i].method, claims)
	token.Header["kid"] = s.keys[i].id
	signed, err := token.SignedString(s.keys[i].private)
	if err != nil {
		return "", fmt.Errorf("devplatform: %w", err)
	}
	return signed, nil
}

// mintWanted mints from the body of POST /dev/tokens.
func (s *Server) mintWanted(wanted map[string]any) (string, error) {
	ttl, err := seconds(wanted["ttlSeconds"])
	if err != nil {
		return "", err
	}
	algorithm, ok := wanted["alg"].(string)
	if !ok && wanted["alg"] != nil {
		return "", errors.New("devplatform: alg is no string")
	}
	delete(wanted, "ttlSeconds")
	delete(wanted, "alg")
	return s.mint(wanted, ttl, algorithm)
}

func seconds(v any) (time.Duration, error) {
	if v == nil {
		return 0, nil
	}
	const year = 365 * 24 * 3600
	n, ok := v.(json.Number)
	f, err := n.Float64()
	if !ok || err != nil || f != math.Trunc(f) || math.Abs(f) > year || f == 0 {
		return 0, errors.New("devplatform: ttlSeconds is a whole number, not 0, of at most a year")
	}
	return time.Duration(f) * time.Second, nil
}

// verify returns the claims of a token that this platform signed for this relay and that has not expired. Else the
// reason says what is wrong.
func (s *Server) verify(token string) (claims jwt.MapClaims, reason string) {
	parser := jwt.NewParser(
		jwt.WithIssuer(s.config.Issuer), jwt.WithAudience(s.config.Audience),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithJSONNumber(),
	)
	claims = jwt.MapClaims{}
	_, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		for _, k := range s.keys {
			// The algorithm is the key's, whatever the token says: none, HS256 and PS256 are nobody's.
			if k.id == t.Header["kid"] && k.method.Alg() == t.Method.Alg() {
				return k.private.Public(), nil
			}
		}
		return nil, errors.New("no such key")
	})
	switch {
	case err == nil:
		return claims, ""
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidAudience) &&
		!errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return nil, "TOKEN_EXPIRED"
	}
	return nil, "TOKEN_INVALID"
}
