// Package hostilepath holds no code, only tests of what lies between endpoints and a relay: terminators, NATs,
// networks that vanish. The relay and the SDK at both ends are the real ones, in one process, over real sockets.
//
// The path between them is an HTTP/2-aware proxy that does, at the test's word and while sessions run, what such
// things do: it cuts streams that are silent, with any code, and connections with RST; keeps PINGs to itself; sends
// GOAWAY after so many streams; buffers, delays, and writes byte by byte; and becomes a black hole, in one direction
// or both, for connections that are there or for those to come. It has tests of its own, with plain gRPC streams.
//
// The promises, for a fault on the path of the client, of the daemon, and of both:
//
//   - Send and Recv merely wait. When the fault is over, everything that was sent has arrived, once, unchanged and in
//     order, and the session ends cleanly.
//   - A session over another path notices nothing and gets its messages through while the fault lasts.
//   - A black hole is found by heartbeats, whichever direction it swallows.
//   - A newer link of a daemon takes over from one in a black hole before that is found dead, and is not fought when
//     the path heals.
//   - What waits for receivers in a black hole stays within the relay's limits.
//
// A fault is seen to bite by what the path counts, never by waiting for some time; a time-out only ends a test that
// would hang.
//
// What it does not do: real terminators (package server runs nginx), and a relay that lies.
package hostilepath
