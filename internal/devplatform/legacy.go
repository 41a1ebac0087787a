package devplatform

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// place is where a daemon serves.
type place struct{ workspace, target string }

// SetDaemonKey publishes the public key of a target's daemon, as its daemon-key call does: tokens for clients of that
// target have it as claim daemonPublicKey from now on. Today's form is an uncompressed P-256 point in base64url.
func (s *Server) SetDaemonKey(workspace, target, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.daemonKeys[place{workspace, target}] = key
}

func (s *Server) daemonKey(workspace, target any) string {
	w, _ := workspace.(string)
	t, _ := target.(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.daemonKeys[place{w, t}]
}

// MintLegacy is Mint for a peer of today's protocol. What the platform always says of such a peer is filled in, unless
// said: e2eeProfile (noise-ik) of daemons and clients, installId (install-1) and daemonIssueGeneration (1) of daemons,
// clientId (a fresh one) and userId (dev-user) of clients.
func (s *Server) MintLegacy(c Claims) (string, error) {
	wanted := c.wanted()
	fillLegacy(wanted)
	return s.mint(wanted, c.TTL, c.Algorithm)
}

func fillLegacy(wanted map[string]any) {
	var usual map[string]any
	switch wanted["role"] {
	case RoleDaemon:
		usual = map[string]any{"e2eeProfile": "noise-ik", "installId": "install-1", "daemonIssueGeneration": 1}
	case RoleClient:
		usual = map[string]any{
			"e2eeProfile": "noise-ik", "clientId": "client-" + strings.ToLower(rand.Text()[:8]), "userId": "dev-user",
		}
	}
	for name, value := range usual {
		if _, said := wanted[name]; !said {
			wanted[name] = value
		}
	}
}

// legacyRoutes are the calls that peers of today's protocol make.
func (s *Server) legacyRoutes(mux *http.ServeMux) {
	const workspace, executor = "/api/runtime/workspaces/{workspace}", "/managed-executors/{executor}"
	issue := func(pattern string, count func(*Calls), h http.HandlerFunc) {
		faulty := s.faulty(Issue, count, h)
		mux.Handle(pattern, byHand(faulty.ServeHTTP))
	}
	token := func(c *Calls) { c.RelayTokens++ }
	issue("POST "+workspace+"/daemon-key", func(c *Calls) { c.DaemonKeys++ }, s.takeDaemonKey)
	issue("POST /api/runtime/relay-token", token, s.daemonToken)
	issue("POST /api/workspaces/{workspace}/relay-token", token, s.clientToken)
	issue("POST "+workspace+executor+"/relay-token", token, s.workerToken)
	mux.HandleFunc(workspace+executor, s.workerAPI)
	mux.HandleFunc(workspace+executor+"/{rest...}", s.workerAPI)
}

func (s *Server) takeDaemonKey(w http.ResponseWriter, r *http.Request) {
	var call struct {
		Credential      string `json:"credential"`
		DaemonPublicKey string `json:"daemonPublicKey"`
		RuntimeTargetID string `json:"runtimeTargetId"`
	}
	point, err := []byte(nil), decode(w, r, &call)
	if err == nil {
		point, err = base64.RawURLEncoding.DecodeString(call.DaemonPublicKey)
	}
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(point)
	}
	switch {
	case err != nil:
		answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
		return
	case call.Credential == "":
		answer(w, http.StatusUnauthorized, refusal{Reason: "CREDENTIAL_MISSING"})
		return
	}
	if call.RuntimeTargetID == "" {
		call.RuntimeTargetID = "target-" + digest(call.Credential)
	}
	s.SetDaemonKey(r.PathValue("workspace"), call.RuntimeTargetID, call.DaemonPublicKey)
	answer(w, http.StatusOK, map[string]any{
		"ok": true, "runtimeTargetId": call.RuntimeTargetID, "installId": "install-" + digest(call.Credential),
	})
}

// digest names an installation by its credential, any text of at least one character: here everybody is who they say.
func digest(credential string) string {
	sum := sha256.Sum256([]byte(credential))
	return hex.EncodeToString(sum[:8])
}

func (s *Server) daemonToken(w http.ResponseWriter, r *http.Request) {
	wanted, credential, ok := readCall(w, r)
	switch {
	case !ok:
	case credential == "":
		answer(w, http.StatusUnauthorized, refusal{Reason: "CREDENTIAL_MISSING"})
	case wanted["role"] != RoleDaemon:
		answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
	default:
		if _, said := wanted["installId"]; !said {
			wanted["installId"] = "install-" + digest(credential)
		}
		s.give(w, wanted, func(token string) any { return map[string]any{"ok": true, "relayToken": token} })
	}
}

func (s *Server) clientToken(w http.ResponseWriter, r *http.Request) {
	wanted, _, ok := readCall(w, r)
	if !ok {
		return
	}
	rename(wanted, "runtime_target_id", "runtimeTargetId")
	wanted["role"], wanted["workspaceId"] = RoleClient, r.PathValue("workspace")
	s.give(w, wanted, func(token string) any { return map[string]any{"token": token} })
}

func (s *Server) workerToken(w http.ResponseWriter, r *http.Request) {
	wanted, credential, ok := readCall(w, r)
	switch {
	case !ok:
		return
	case credential == "":
		answer(w, http.StatusUnauthorized, refusal{Reason: "CREDENTIAL_MISSING"})
		return
	}
	rename(wanted, "ttl_seconds", "ttlSeconds")
	wanted["role"], wanted["workspaceId"] = RoleWorker, r.PathValue("workspace")
	wanted["managedExecutorId"] = r.PathValue("executor")
	s.give(w, wanted, func(token string) any {
		return map[string]any{"ok": true, "relayToken": token, "claims": wanted}
	})
}

// readCall reads the body of a call for a token: a credential, and claims. It answers what is none.
func readCall(w http.ResponseWriter, r *http.Request) (wanted map[string]any, credential string, ok bool) {
	if err := decode(w, r, &wanted); err != nil || wanted == nil {
		answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
		return nil, "", false
	}
	credential, _ = wanted["credential"].(string)
	delete(wanted, "credential")
	return wanted, credential, true
}

func rename(m map[string]any, from, to string) {
	if v, there := m[from]; there {
		m[to] = v
		delete(m, from)
	}
}

// give mints a token of the claims wanted and answers with it.
func (s *Server) give(w http.ResponseWriter, wanted map[string]any, body func(token string) any) {
	fillLegacy(wanted)
	token, err := s.mintWanted(wanted)
	if err != nil {
		answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
		return
	}
	answer(w, http.StatusOK, body(token))
}
