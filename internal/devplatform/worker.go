package devplatform

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	// maxWorkerBody is the longest body of a worker's request that is echoed, in bytes.
	maxWorkerBody = 4 << 20
	// maxBig is the longest answer of …/big, in bytes; without a number it is defaultBig.
	maxBig, defaultBig = 64 << 20, 8 << 20
)

// echo is what a worker's request looked like when it came.
type echo struct {
	Method string `json:"method"`
	// Path has the query, and is spelled as it was on the wire.
	Path string `json:"path"`
	// Headers have lower-case names; several of one name are joined by ", ".
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// workerAPI stands for all that a managed executor can ask the platform.
func (s *Server) workerAPI(w http.ResponseWriter, r *http.Request) {
	s.enter(0, func(c *Calls) { c.Worker++ })
	name, argument, _ := strings.Cut(r.PathValue("rest"), "/")
	status := http.StatusOK
	switch name {
	case "slow":
		s.fail(w, r, Hang)
		return
	case "drip":
		s.fail(w, r, Drip)
		return
	case "redirect":
		s.fail(w, r, Redirect)
		return
	case "big":
		s.big(w, argument)
		return
	case "status":
		n, err := strconv.Atoi(argument)
		if err != nil || n < 200 || n > 599 {
			answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
			return
		}
		status = n
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxWorkerBody+1))
	if err != nil || len(body) > maxWorkerBody {
		answer(w, http.StatusRequestEntityTooLarge, refusal{Reason: "REQUEST_TOO_LARGE"})
		return
	}
	e := echo{Method: r.Method, Path: r.RequestURI, Headers: map[string]string{}, Body: string(body)}
	for name, values := range r.Header {
		e.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	// Those that a worker must not see, and one that it must.
	w.Header().Set("set-cookie", "dev=1")
	w.Header().Set("authorization", "Bearer dev")
	w.Header().Set("x-dev-echo", "1")
	answer(w, status, e)
}

// big answers that many bytes, of which none says anything.
func (s *Server) big(w http.ResponseWriter, bytes string) {
	n := defaultBig
	if bytes != "" {
		var err error
		if n, err = strconv.Atoi(bytes); err != nil || n < 0 || n > maxBig {
			answer(w, http.StatusBadRequest, refusal{Reason: "REQUEST_INVALID"})
			return
		}
	}
	w.Header().Set("content-type", "text/plain")
	_, _ = io.CopyN(w, spaces{}, int64(n))
}

// spaces are read without end.
type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
