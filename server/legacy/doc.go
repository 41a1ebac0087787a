// Package legacy holds no code, only tests of what today's daemons, browsers and workers get from the relay's /ws: that
// they work unchanged, and that nothing of them works which should not.
//
// It promises:
//
//   - Each line of the checklist that a relay has to keep for today's peers: the upgrade and its refusals, text that is
//     forwarded byte for byte, who gets which answer, pings, the relay's own words, rates, and the worker transport.
//   - What a relay of today gets wrong is right here: requests that end its process, hijacked requests and sessions,
//     sequences that go back, limits under parallel upgrades, frames behind a close, tokens in answers, invented
//     addresses and viewers, memory of what was refused, tenants whose ids run together.
//   - Legacy and native ends meet through the same hub, whatever each of them speaks.
//   - Every frame of the corpus of package legacywire has the verdict that is written there when it comes over a real
//     connection.
//
// The peers here are written from the wire format alone. A session of another workspace, the witness, goes on through
// the attacks. Nothing is decided by the clock: a time-out only ends a test that would hang.
//
// What it does not do: cost (make bench), what time alone decides, such as how long a session that is silent has its
// owner (package route has that with a clock of its own), and tokens one by one (package admission).
package legacy
