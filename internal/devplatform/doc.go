// Package devplatform is a platform for development and tests: it publishes keys, mints relay tokens for whoever asks,
// and answers the validate call as the real one does. It must never be linked into a release binary, and it serves
// loopback only: who reaches it is anybody they want to be. Only cmd/viewport-dev and relaytest import it.
//
// It is responsible for nothing that is kept: keys, revocations and counts end with the Server.
//
// # Keys
//
//	GET /.well-known/jwks.json        the public keys, one each for RS256, ES256 and EdDSA, made at start
//	GET /api/.well-known/jwks.json    the same
//
//	$ curl -s http://127.0.0.1:7780/.well-known/jwks.json
//	{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"dev-rs256-…","n":"…","e":"AQAB"}, …]}
//
// # Tokens
//
//	POST /dev/tokens    the claims wanted; answers {"token"}
//
//	$ curl -s http://127.0.0.1:7780/dev/tokens -d '{"role":"workspace-daemon",
//	    "workspaceId":"acme","runtimeTargetId":"host-1","installId":"i1","daemonIssueGeneration":1,"ttlSeconds":3600}'
//	{"token":"eyJ…"}
//
// Any claim may be there, and none must. The usual others are policyMode (crypto_pairing), e2eeProfile (noise-ik,
// noise-ikpsk2) and scope (runtime, pairing, session-events; runtime for clients unless said). iss, aud, jti, iat and
// exp are filled in, unless said; null leaves a claim out. Two members are no claims: ttlSeconds (600; below 0 the
// token has expired) and alg (RS256, ES256 or EdDSA; RS256). Web pages get nothing: a request with Origin, or whose
// Host is no loopback address, is refused.
//
// # Validate
//
//	POST /api/runtime/internal/relay/validate    {"relayToken","role","workspaceId","runtimeTargetId"?}
//
// answers 200 {"ok":true,"claims":{…}} with all claims of the token, or a status with {"ok":false,"reason"}:
//
//	401  INTERNAL_KEY_INVALID    a key is configured and header x-relay-internal-key is not it
//	400  REQUEST_INVALID         the body is not such a request
//	401  TOKEN_INVALID           signature, algorithm, key id, issuer, audience or form
//	401  TOKEN_EXPIRED           exp is past
//	403  ROLE_MISMATCH           the token has another role, or none
//	403  WORKSPACE_MISMATCH      the token is for another workspace
//	403  TARGET_MISMATCH         a target is asked for and the token has another, or none
//	403  PAIRING_REVOKED         jti, installId or workspaceId was revoked
//
// # Revoking
//
//	POST /dev/revoke     {"jti"?,"installId"?,"workspaceId"?}; answers {"ok":true}
//	POST /dev/restore    the same, and all is well again
//
//	$ curl -s http://127.0.0.1:7780/dev/revoke -d '{"installId":"i1"}'
//	{"ok":true}
//
// What is said in several members is revoked several times over: a token is refused if any one fits.
//
// # What today's peers ask
//
// A daemon, a browser and a worker of today's protocol get their tokens by calls of their own. Any credential will do;
// the same one is the same installation. Members that are not shown are claims, as in POST /dev/tokens.
//
//	POST /api/runtime/workspaces/{workspace}/daemon-key    {"credential","daemonPublicKey","runtimeTargetId"?}
//	     answers {"ok","runtimeTargetId","installId"}; tokens for clients have the key from then on
//	POST /api/runtime/relay-token    {"credential","role":"workspace-daemon","workspaceId","runtimeTargetId"}
//	     answers {"ok","relayToken"}
//	POST /api/workspaces/{workspace}/relay-token    {"runtime_target_id"?}
//	     answers {"token"} for a client
//	POST /api/runtime/workspaces/{workspace}/managed-executors/{executor}/relay-token    {"credential","ttl_seconds"?}
//	     answers {"ok","relayToken","claims"} for a worker
//
// What is filled in besides is what MintLegacy fills in. A refusal is 400 or 401 with {"ok":false,"reason"}. All else
// below …/managed-executors/{executor} is what a worker asks through the relay, and answers with the request as it came:
// {"method","path","headers","body"}, but for
//
//	…/status/{n}    the same with that status
//	…/big/{n}       that many bytes of text; …/big: 8 MiB
//	…/redirect      307 to a place that Calls counts
//	…/slow          nothing until the caller gives up
//	…/drip          a space every 20 ms without end
package devplatform
