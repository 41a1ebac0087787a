package server

import (
	"errors"
	"fmt"
)

// Check is the hub's own check.
func (s *Server) Check() error { return s.hub.Check() }

// CheckEmpty is Check for a server whose Run has returned: nothing may be left.
func (s *Server) CheckEmpty() error {
	err := s.hub.Check()
	if n := len(s.hub.Links()); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d links are attached after Run", n))
	}
	if q := s.hub.Totals().Queued; q != 0 {
		err = errors.Join(err, fmt.Errorf("%d bytes are queued after Run", q))
	}
	return err
}
