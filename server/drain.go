package server

import (
	"context"
	"time"
)

// drain sends the links away, in the order that keeps sessions moving: first those who ask for readiness learn that
// they should send no more links here, for which they get time; then the port is free for a successor; then the links
// that there are go, to where new ones are admitted by now. It is cut short when serving ends.
func (s *Server) drain(serving context.Context, why error) {
	began := time.Now()
	s.setReady(false)
	s.cfg.Log.Info("draining: not ready any more, still admitting", "links", s.links(), "readiness_delay",
		s.cfg.ReadinessDelay.String(), "reason", why)
	if s.cfg.ReadinessDelay > 0 {
		delay := time.NewTimer(s.cfg.ReadinessDelay)
		select {
		case <-delay.C:
		case <-serving.Done():
		}
		delay.Stop()
	}
	s.public.refuse()
	s.cfg.Log.Info("draining: the public port is closed, links are told to go", "links", s.links(),
		"drain_time", s.cfg.DrainTime.String())
	d := s.hub.Drain(serving, s.cfg.DrainTime)
	s.cfg.Log.Info("drained", "links", d.Links, "left", d.Left, "ended", d.Ended,
		"took", time.Since(began).Round(time.Millisecond).String())
}

// links is how many links are attached.
func (s *Server) links() int {
	t := s.hub.Totals()
	return t.Daemons + t.Clients
}
