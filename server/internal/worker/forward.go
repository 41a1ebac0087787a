package worker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/getviewport/relay/internal/legacywire"
)

// headersRoom is how much longer than twice an answer's body the text of its reply may be.
const headersRoom = 64 << 10

// What is wrong with an answer that came.
var (
	errTooLong = errors.New("the answer is too long")
	errEncoded = errors.New("the answer is compressed")
	errSwitch  = errors.New("the answer switches protocols")
)

// forward asks the platform and returns the text of the reply.
func (l *Link) forward(ctx context.Context, requestID []byte, r *legacywire.Request) []byte {
	f := l.f
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	began := time.Now()
	text, status, err := f.ask(ctx, requestID, r)
	if err == nil {
		f.forwarded.Add(1)
		return text
	}
	f.failed.Add(1)
	// An error of net/http may quote the path, and what came, which may be what was sent.
	if kind := kindOf(err); kind != "cancelled" {
		f.cfg.Log.Warn("a worker's request to the platform failed", "workspace", l.workspace, "executor", l.executor,
			"status", status, "duration", time.Since(began), "kind", kind)
	}
	return legacywire.AppendWorkerFailed(nil, requestID)
}

// ask sends the request and returns the reply with the answer, whose status is 0 if none came.
func (f *Forwarder) ask(ctx context.Context, requestID []byte, r *legacywire.Request) ([]byte, int, error) {
	request, err := f.request(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	// Not through http.Client, which looks at redirects.
	response, err := f.client.Transport.RoundTrip(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close() // the bytes are read or given up: its error changes nothing
	status := response.StatusCode
	if status < 200 {
		return nil, status, errSwitch
	}
	body, err := f.body(response)
	if err != nil {
		return nil, status, err
	}
	text := legacywire.AppendWorkerResponse(nil, requestID, status, headers(response.Header), body)
	if len(text)-len(requestID) > 2*f.cfg.MaxResponse+headersRoom {
		return nil, status, errTooLong
	}
	return text, status, nil
}

// request makes the request line of exactly the path, and the headers of those that are passed on.
func (f *Forwarder) request(ctx context.Context, r *legacywire.Request) (*http.Request, error) {
	var body io.Reader
	if r.Method != http.MethodGet {
		body = bytes.NewReader(r.Body)
	}
	origin := url.URL{Scheme: f.cfg.Platform.Scheme, Host: f.cfg.Platform.Host}
	request, err := http.NewRequestWithContext(ctx, r.Method, origin.String(), body)
	if err != nil {
		return nil, err
	}
	// An opaque URL is sent as it is; a path would be decoded and encoded again.
	request.URL.Opaque = r.Path
	for _, h := range r.Headers {
		request.Header.Set(h.Name, h.Value)
	}
	// Without it a server may encode as it likes (RFC 9110, section 12.5.3), but a reply holds text.
	request.Header.Set("Accept-Encoding", "identity")
	return request, nil
}

// body reads the answer's body.
func (f *Forwarder) body(response *http.Response) ([]byte, error) {
	most := int64(f.cfg.MaxResponse)
	if response.ContentLength > most {
		return nil, errTooLong
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch encoding := response.Header.Get("Content-Encoding"); {
	case err != nil:
		return nil, err
	case int64(len(body)) > most:
		return nil, errTooLong
	case len(body) > 0 && encoding != "" && !strings.EqualFold(encoding, "identity"):
		return nil, errEncoded
	}
	return body, nil
}

// ofOneHop are headers of the connection to the platform, which mean nothing to a worker, besides those that Connection
// names. Those of credentials are left out by package legacywire.
var ofOneHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// headers returns those of an answer that a worker gets, in lower case, each once, in order.
func headers(h http.Header) []legacywire.Header {
	h = h.Clone()
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range ofOneHop {
		h.Del(name)
	}
	list := make([]legacywire.Header, 0, len(h))
	for name, values := range h {
		// net/http lets names with blanks through, in any case.
		if httpguts.ValidHeaderFieldName(name) {
			list = append(list, legacywire.Header{Name: strings.ToLower(name), Value: strings.Join(values, ", ")})
		}
	}
	slices.SortFunc(list, func(a, b legacywire.Header) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// kindOf says what is wrong in a word, for the log.
func kindOf(err error) string {
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, errTooLong):
		return "too long"
	case errors.Is(err, errEncoded):
		return "compressed"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate"
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "connection"
	}
	return "protocol" // this is no HTTP, or ended in the middle
}
