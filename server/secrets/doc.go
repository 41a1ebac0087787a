// Package secrets holds tests only. They promise what a relay never lets out (docs/protocol.md, Parties):
//
//   - Whole sessions with marked tokens, people, keys, pre-shared keys, pairing strings and plaintext, with every kind of
//     refusal on the way, leave none of the marks in the log at its most talkative, in /metrics, in an answer or error of
//     AdminService, in what a peer is told, or in the goroutine dump of a relay that is killed in the middle.
//   - The memory of the process never holds a private key, a pre-shared key, a pairing string or plaintext: the relay never
//     has them, so the freed memory is searched, too.
//   - With RELAY_RECHECK_INTERVAL=0, or without RELAY_VALIDATE_URL, nothing of a token, and nothing about people, is
//     reachable any more after its admission. With re-checks, which the platform answers for a whole token only, the token
//     of a link that lives, and with it what it says about people, is kept once, and wiped when the link ends. Both but
//     for the buffers of a connection to the platform until that is closed, 4 s after the last call. Freed memory is not
//     cleared: Go and gRPC copy header strings where nobody can wipe them, so until the garbage collector has used the
//     place again a core file may hold tokens that were valid then.
//   - The relay connects to the addresses of RELAY_JWKS_URL and RELAY_VALIDATE_URL and to nothing else, whatever tokens,
//     keys, answers of the platform and the environment (HTTP_PROXY and the like are not honoured) say. Where such a URL
//     has a name in place of an address, the system's resolver is asked for it.
//
// What no test here covers: Go's own switches that print headers (GODEBUG=http2debug=2) print tokens, too.
package secrets
