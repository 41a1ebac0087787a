// Package legacysession is one session of today's daemons and browsers at one endpoint, as a pure machine: what
// session.Machine is for our own protocol. It begins with the keys that a key exchange made, seals and opens, changes
// keys when the daemon asks for it without its application noticing, bounds what waits in either direction, and ends.
//
// It promises less than session.Machine, because the protocol has nothing to promise it with: no acks, so that a
// message that is lost on the way stays lost (Missed counts those that are known to be); no window, so that who does
// not read what comes loses the session; no resume, so that it ends with its link; and no clean end, so that Next
// never returns io.EOF.
//
// It does no I/O, starts no goroutine and reads no clock. The table of sessions, the first key exchange of each, and
// who is welcome are the driver's. Nothing here is safe for concurrent use.
package legacysession
