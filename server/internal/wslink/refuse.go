package wslink

import (
	"net/http"
	"strconv"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
)

// refusal is why an upgrade makes no link.
type refusal struct {
	why *reason.Error
	// status is that of the answer; 0: the one of the reason.
	status int
	// header is what the answer has besides.
	header map[string]string
	// flood: it costs at most one line in the log a second.
	flood bool
}

// refuses makes a refusal of an error; nil for none.
func refuses(err error) *refusal {
	if err == nil {
		return nil
	}
	return &refusal{why: reason.Of(err)}
}

// badForm is the refusal of a request that opens no WebSocket.
func badForm(r *wsconn.Refusal) *refusal {
	return &refusal{why: reason.New(reason.FrameInvalid, "%s", r.Text), status: r.Status, header: r.Header}
}

// refuse counts a refusal, logs it and answers with it.
func (s *Service) refuse(w http.ResponseWriter, f *refusal) {
	if !f.flood {
		s.Log.Warn("an upgrade is refused", "reason", f.why.Code)
	} else if s.logged.Allow(time.Now()) {
		s.Log.Warn("a limit refuses upgrades", "reason", f.why.Code, "limit", f.why.Meta["limit"],
			"value", f.why.Meta["value"])
	}
	s.Refused(f.why)
	s.answer(w, f)
}

// answer writes the answer: nothing in it depends on what the request brought but the reason.
func (s *Service) answer(w http.ResponseWriter, f *refusal) {
	status := f.status
	if status == 0 {
		status = http.StatusInternalServerError
		if info, ok := reason.Lookup(f.why.Code); ok && info.HTTP != 0 {
			status = info.HTTP
		}
	}
	h := w.Header()
	for name, value := range f.header {
		h.Set(name, value)
	}
	body := `{"ok":false,"reason":"` + string(f.why.Code) + `"}`
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// What a peer has sent behind a request for another protocol is in that protocol.
	h.Set("Connection", "close")
	if f.why.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.why.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}
