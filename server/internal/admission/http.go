package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// NewClient returns a client that follows no redirect and keeps no cookie, over the transport of base. Without one it
// gets a transport that reaches nothing but the addresses it is given, and own is true: whoever asked for it closes its
// idle connections. All that this relay asks of the platform is asked through such a client.
func NewClient(base *http.Client, perHost int) (client *http.Client, own bool) {
	client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if base != nil && base.Transport != nil {
		client.Transport = base.Transport
		return client, false
	}
	client.Transport = &http.Transport{
		// No Proxy: the environment must not send tokens elsewhere.
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: perHost + 1, // and one for the keys
		// Node closes idle connections after 5 s; a request that meets that moment fails and, being a POST, is not sent
		// again.
		IdleConnTimeout:        4 * time.Second,
		DisableCompression:     true, // a small body can't become a large one
		MaxResponseHeaderBytes: 64 << 10,
	}
	return client, true
}

// roundTrip sends request and reads a body of at most limit bytes. Its errors hold neither the URL nor what came.
func roundTrip(client *http.Client, request *http.Request, limit int64) (status int, body []byte, err error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, cause(err)
	}
	defer response.Body.Close() // the bytes are read or given up: its error changes nothing
	body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return 0, nil, cause(err)
	}
	if int64(len(body)) > limit {
		return 0, nil, fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	return response.StatusCode, body, nil
}

// cause turns an error of net/http into one for the log. What is passed on names addresses and certificates; the rest
// may quote the URL, which can hold a secret, or what the other side sent, which can be what we sent.
func cause(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no whole answer came in time")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	return errors.New("the connection broke, or does not speak HTTP")
}

func statusError(status int) error { return fmt.Errorf("the answer is HTTP %d", status) }
