// Package hostile holds no code, only tests of what the relay answers to peers that break the rules, from one byte of an
// envelope to a flood of HTTP/2 frames.
//
// It promises, for each row of its tables:
//
//   - The answer is the one that docs/protocol.md names, or where HTTP/2 itself is broken the one of grpc-go: a reason, a
//     gRPC status, a stream that is reset, a connection that is closed, or nothing at all.
//   - Another tenant notices nothing. A session of another workspace, with the SDK at both ends, exchanges numbered
//     messages through the same relay all the while: none is lost, changed or out of order, after each step of the attack
//     it gets its next ones through, and the relay's counters show that it dropped none of its frames.
//   - The relay's memory stays within its limits: what its queues keep while the attack lasts, and its heap and
//     goroutines, which are what they were before when it is over.
//
// The attacks are bounded in number, go to 127.0.0.1 only, and nothing here is decided by the clock: a time-out only ends
// a test that would hang.
//
// What it does not do: tokens (package admission has the table of those), and what a peer may do within the rules.
package hostile
