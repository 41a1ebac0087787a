package devplatform

import (
	"bytes"
	"net/http"
	"time"
)

// Endpoint is a part of the platform that a relay or its peers talk to, and that can be made to fail.
type Endpoint uint8

// Endpoints.
const (
	// JWKS is both addresses of the key set.
	JWKS Endpoint = iota + 1
	// Validate is the validate call.
	Validate
	// Issue is the calls of today's peers that end in a token, daemon-key included.
	Issue
)

// Fault is a way to fail. Each request meets the fault that is set when it comes.
type Fault uint8

// Faults.
const (
	// NoFault: it works.
	NoFault Fault = iota
	// Fail answers 500 with an HTML body.
	Fail
	// Hang answers nothing until the caller gives up.
	Hang
	// Drip answers 200 and then sends a space (which JSON allows) every 20 ms, until the caller gives up: a timeout
	// that starts again with each byte never fires.
	Drip
	// Redirect answers 307 to a place that Calls counts: a caller that follows it has given its headers away.
	Redirect
	// Endless answers 200 and sends spaces as fast as they are read, until the caller gives up.
	Endless
)

const redirectPath = "/dev/redirected"

// SetFault makes an endpoint fail, or with NoFault work again.
func (s *Server) SetFault(e Endpoint, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e] = f
}

// Calls are how many requests came, those that met a fault included, since the start or ResetCalls.
type Calls struct {
	JWKS, Validate, Tokens, Redirected int
	// DaemonKeys, RelayTokens and Worker are calls of today's peers: for the key, for tokens, and a worker's own.
	DaemonKeys, RelayTokens, Worker int
	// ValidateAtOnce is how many validate calls were under way at once, at most.
	ValidateAtOnce int
}

// Calls returns the counts.
func (s *Server) Calls() Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// ResetCalls begins to count anew. Validate calls that are under way count as being under way.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = Calls{ValidateAtOnce: s.validating}
}

// together notes how many requests are answered at once.
func (s *Server) together(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.validating++
		s.calls.ValidateAtOnce = max(s.calls.ValidateAtOnce, s.validating)
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.validating--
		}()
		next.ServeHTTP(w, r)
	})
}

// work lets Config.ValidateTime pass, unless the caller gives up. The body must have been read: before that net/http
// does not notice.
func (s *Server) work(r *http.Request) {
	if s.config.ValidateTime == 0 {
		return
	}
	timer := time.NewTimer(s.config.ValidateTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-s.closing:
	}
}

// enter counts a request and returns the fault that it meets.
func (s *Server) enter(e Endpoint, count func(*Calls)) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	count(&s.calls)
	return s.faults[e]
}

// fail answers in the way of f. It returns when the caller or the Server has ended.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault) {
	switch f {
	case Fail:
		http.Error(w, "<html><body>Internal Server Error</body></html>", http.StatusInternalServerError)
	case Hang:
		// Reading the body lets net/http watch for the end of the connection.
		_ = discard(w, r)
		select {
		case <-r.Context().Done():
		case <-s.closing:
		}
		panic(http.ErrAbortHandler) // else net/http answers 200 with nothing
	case Redirect:
		http.Redirect(w, r, redirectPath, http.StatusTemporaryRedirect)
	case Drip:
		_ = discard(w, r)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		s.stream(w, r, []byte(" "), tick.C)
	case Endless:
		_ = discard(w, r)
		always := make(chan time.Time)
		close(always)
		s.stream(w, r, bytes.Repeat([]byte(" "), 4096), always)
	}
}

// stream writes b at each tick until the caller or the Server ends. The body never does.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, b []byte, tick <-chan time.Time) {
	defer panic(http.ErrAbortHandler) // else net/http ends the body as if it were whole
	w.Header().Set("content-type", "application/json")
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		case <-tick:
		}
	}
}
