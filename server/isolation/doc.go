// Package isolation holds tests only. They promise that no tenant of a relay sees, disturbs or can tell anything of another
// one (docs/protocol.md, Errors: "what another tenant owns answers exactly as what does not exist"), whatever their ids are:
//
//   - Pairs of tenants with ids made to collide (separators that shift between workspace and target, case, prefixes, the
//     longest ids, ids like paths and keys) run the same sessions, with the same session ids and bind keys, on one relay
//     at once: each frame arrives at its own tenant only, and takeover, presence and generations of one never touch the
//     other.
//   - Whoever asks for what another tenant owns, with its token, in its envelopes or by its session ids, is answered byte for
//     byte as for what nobody has, except for ids that it sent itself.
//   - Ids that only look alike are refused, not folded.
//   - AdminService filtered to one workspace lists nothing of another.
//
// The pairs come from a seed, which a failure names: `go test ./server/isolation -seed=N` plays it again. Time is not
// observed here, and neither is what tenants share by design: the process's budget of bytes, which is answered with CAPACITY.
package isolation
