package hub

import (
	"errors"
	"fmt"
)

// Check compares what every target counts with what it holds, and returns all that is wrong. It takes time in proportion
// to everything the hub holds: for tests.
func (h *Hub) Check() error {
	var errs []error
	var queued int64
	for _, t := range h.all() {
		t.mu.Lock()
		if err := t.machine.Check(); err != nil {
			errs = append(errs, fmt.Errorf("target %s/%s: %w", t.key.workspace, t.key.target, err))
		}
		for machine, l := range t.links {
			if l.machine != machine || l.target != t || l.detached {
				errs = append(errs, fmt.Errorf("target %s/%s: link %d is not its own", t.key.workspace, t.key.target, l.Serial()))
			}
		}
		for _, l := range t.links {
			if l.ends() && (t.expiry.IsZero() || l.Expires.Add(h.grace).Before(t.expiry)) {
				errs = append(errs, fmt.Errorf("target %s/%s: link %d would outlive its token", t.key.workspace, t.key.target, l.Serial()))
			}
		}
		if t.gone && len(t.links) > 0 {
			errs = append(errs, fmt.Errorf("target %s/%s: gone with %d links", t.key.workspace, t.key.target, len(t.links)))
		}
		queued += t.machine.Stats().Queued
		t.mu.Unlock()
	}
	// Targets are looked at one after the other, so this holds only for a hub without traffic, and of those for an empty
	// one surely.
	if used := h.budget.Used(); queued == 0 && h.attached() == 0 && used != 0 {
		errs = append(errs, fmt.Errorf("no queue has anything, the process counts %d bytes", used))
	}
	return errors.Join(errs...)
}
