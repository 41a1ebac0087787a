package server

import (
	"errors"
	"fmt"
	"time"
)

// Check is the hub's own check.
func (s *Server) Check() error { return s.hub.Check() }

// Taken is how many places of links and admissions are taken.
func (s *Server) Taken() int { return s.quotas.Used().Links + s.quotas.Used().Admissions }

// TokenGrace is how long a link may outlive its token.
func (s *Server) TokenGrace() time.Duration { return s.cfg.TokenGrace }

// CheckEmpty is Check for a server whose Run has returned: nothing may be left.
func (s *Server) CheckEmpty() error {
	err := s.hub.Check()
	if n := len(s.hub.Links()); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d links are attached after Run", n))
	}
	if !s.quotas.Empty() {
		err = errors.Join(err, fmt.Errorf("%+v of the quotas are taken after Run", s.quotas.Used()))
	}
	if q := s.hub.Totals().Queued; q != 0 {
		err = errors.Join(err, fmt.Errorf("%d bytes are queued after Run", q))
	}
	return err
}

// Targets is how many targets the hub remembers.
func (s *Server) Targets() int { return s.hub.Totals().Targets }
