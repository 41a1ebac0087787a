package hub

import (
	"cmp"
	"slices"

	"github.com/getviewport/relay/internal/route"
)

// This file is what operators see: snapshots, each target's taken under its mutex, the whole not at one moment.

// TargetView is a target at one moment.
type TargetView struct {
	Workspace, Target string
	Daemon            bool
	Clients, Sessions int
	Queued            int64
}

// LinkView is a link at one moment.
type LinkView struct {
	*Link
	route.LinkStats
}

// Totals is the hub at one moment.
type Totals struct {
	Targets, Daemons, Clients, Sessions int
	Queued                              int64
	// In and Out count since the hub was made, links that have ended included.
	In, Out route.Traffic
}

// Targets lists the targets in order of workspace, "/" and id.
func (h *Hub) Targets() []TargetView {
	var all []TargetView
	for _, t := range h.all() {
		t.mu.Lock()
		s := t.machine.Stats()
		t.mu.Unlock()
		all = append(all, TargetView{
			Workspace: t.key.workspace, Target: t.key.target, Daemon: s.Daemon,
			Clients: s.Clients, Sessions: s.Sessions, Queued: s.Queued,
		})
	}
	slices.SortFunc(all, func(a, b TargetView) int {
		return cmp.Compare(a.Workspace+"/"+a.Target, b.Workspace+"/"+b.Target)
	})
	return all
}

// Links lists the attached links in order of serial.
func (h *Hub) Links() []LinkView {
	var all []LinkView
	for _, t := range h.all() {
		t.mu.Lock()
		for _, l := range t.links {
			all = append(all, LinkView{l, l.machine.Stats()})
		}
		t.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b LinkView) int { return cmp.Compare(a.LinkStats.Serial, b.LinkStats.Serial) })
	return all
}

// Totals sums everything up.
func (h *Hub) Totals() Totals {
	var sum Totals
	for _, t := range h.all() {
		t.mu.Lock()
		s := t.machine.Stats()
		sum.Targets++
		if s.Daemon {
			sum.Daemons++
		}
		sum.Clients += s.Clients
		sum.Sessions += s.Sessions
		for _, l := range t.links {
			add(&sum.In, l.machine.Stats().In)
			add(&sum.Out, l.machine.Stats().Out)
		}
		t.mu.Unlock()
	}
	sum.Queued = h.budget.Used()
	h.mu.RLock()
	add(&sum.In, h.endedIn)
	add(&sum.Out, h.endedOut)
	h.mu.RUnlock()
	return sum
}

// Drops counts what was not forwarded.
func (h *Hub) Drops() *route.Drops { return h.drops }

// Refusals counts what the limits of targets refused.
func (h *Hub) Refusals() *route.Refusals { return h.refusals }

// Queued is how many bytes all queues keep.
func (h *Hub) Queued() int64 { return h.budget.Used() }

// retire keeps the counts of a link that has ended. Called without the target's mutex.
func (h *Hub) retire(s route.LinkStats) {
	h.mu.Lock()
	add(&h.endedIn, s.In)
	add(&h.endedOut, s.Out)
	h.mu.Unlock()
}

func add(to *route.Traffic, more route.Traffic) {
	to.Frames += more.Frames
	to.Bytes += more.Bytes
}
