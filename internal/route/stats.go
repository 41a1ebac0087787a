package route

import "time"

// Traffic counts what crossed a link in one direction.
type Traffic struct {
	// Frames and Bytes of envelopes, those that were dropped or made by the relay included.
	Frames, Bytes uint64
}

func (c *Traffic) add(frames, bytes int) {
	c.Frames += uint64(frames)
	c.Bytes += uint64(bytes)
}

// LinkStats is a link as operators see it.
type LinkStats struct {
	Serial uint64
	Role   Role
	// In is what the link brought, Out what was taken for it.
	In, Out Traffic
	// Sessions are bound to the link, or a client's of the legacy protocol.
	Sessions int
	// Queued is the memory in bytes that the link's queue keeps, what is on the wire included.
	Queued int64
	// Heard is when it brought something last.
	Heard time.Time
}

// Stats describes l; the target's mutex must be held.
func (l *Link) Stats() LinkStats {
	return LinkStats{
		Serial: l.serial, Role: l.peer.Role, In: l.in, Out: l.out, Sessions: l.bound + l.legacySessions(), Queued: l.bytes, Heard: l.heard,
	}
}

// Stats is a target as operators see it.
type Stats struct {
	// Sessions are remembered, legacy ones included; Over of them are closed, and Lost have no client's link.
	Sessions, Over, Lost int
	// Clients is how many client links are attached; Daemon whether a daemon's is, with the serial and install.
	Clients      int
	Daemon       bool
	DaemonSerial uint64
	InstallID    string
	Generation   uint64
	// Queued is the memory in bytes that all the queues keep.
	Queued int64
}

// Stats describes the target.
func (t *Target) Stats() Stats {
	s := Stats{
		Sessions: len(t.sessions) + len(t.legacy.sessions.byID), Over: t.closed.n, Lost: t.lost.n, Clients: len(t.links), Generation: t.generation,
		Queued: t.bytes,
	}
	if d := t.daemon; d != nil {
		s.Clients--
		s.Daemon, s.DaemonSerial, s.InstallID = true, d.serial, d.peer.InstallID
	}
	return s
}
