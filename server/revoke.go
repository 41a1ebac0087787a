package server

import (
	"time"

	"github.com/getviewport/relay/server/internal/recheck"
	"github.com/getviewport/relay/server/internal/revocation"
)

// tokenGrace is how long a link may outlive its token unless Config says otherwise.
const tokenGrace = time.Minute

// openRevocations opens the list that a state folder keeps; without one it is in memory.
func openRevocations(dir string) (*revocation.List, error) {
	if dir == "" {
		return revocation.InMemory(), nil
	}
	return revocation.Open(dir)
}

// newRecheck returns what asks the platform about live links; nil if nothing is to, or there is nobody to ask.
func (s *Server) newRecheck() *recheck.Checker {
	if s.cfg.RecheckInterval == 0 || s.cfg.ValidateURL == "" {
		return nil
	}
	return recheck.New(recheck.Config{
		Interval: s.cfg.RecheckInterval, AtOnce: s.admitter.RecheckShare(), Ask: s.admitter.Recheck,
	})
}
