package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// transport carries the batches of one link that the relay has admitted. What goes wrong is an *Error.
type transport interface {
	// send sends one message, and takes the buffers of o or leaves them to be freed. One goroutine sends.
	send(o *envelope.Outgoing) error
	// receive fills b with the next message, which is valid until the next call. One goroutine receives.
	receive(b *envelope.Batch) error
	// closeSend says that nothing more will be sent; the sender calls it last. When the relay has read everything it
	// ends the link, and receive fails.
	closeSend()
	// cancel ends both at once, whatever they wait for. It does not wait, and may be called at any time and twice.
	cancel()
	// close frees what is left; neither send nor receive runs any more.
	close()
}

// The names of transports, as Client.Transport returns them.
const (
	overGRPC      = "grpc"
	overWebSocket = "websocket"
)

// attempt is one try to open a link.
type attempt struct {
	to     address
	method string // of RelayService
	token  bearer
	number int // since the last healthy link, from 1
}

// contact is how far an attempt came, as far as its error does not tell.
type contact struct {
	made      atomic.Bool // there was a connection
	untrusted atomic.Bool // whose certificate was not accepted
	silent    bool        // on which nothing was answered
	relayAway bool        // a gateway answered that what is behind it does not
}

// announced is what the relay says of itself when it admits a link; both ends obey it.
type announced struct {
	relayID             string
	window, maxEnvelope int
	maxMessage          int
	heartbeat           time.Duration // 0: off
}

// parseAnnounced reads the values that value returns for a name; ok is false where there is not exactly one.
func parseAnnounced(value func(name string) (text string, ok bool)) (announced, error) {
	var a announced
	number := func(name string, low, high int) (int, error) {
		text, ok := value(name)
		if !ok {
			return 0, &Error{Reason: Reason(reason.Internal), By: "relay",
				Text: "response header " + name + " is missing or doubled"}
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return 0, &Error{Reason: Reason(reason.Internal), By: "relay",
				Text: fmt.Sprintf("response header %s: %q is not a number from %d to %d", name, text, low, high)}
		}
		return n, nil
	}
	var heartbeat int
	for _, f := range []struct {
		name      string
		low, high int
		to        *int
	}{
		{"viewport-protocol", 1, 1, new(int)},
		{"viewport-session-window", 128 << 10, 16 << 20, &a.window},
		{"viewport-max-envelope", 64 << 10, messageBytes, &a.maxEnvelope},
		{"viewport-max-message", 16000, 16 << 20, &a.maxMessage},
		{"viewport-heartbeat", 0, 3600_000, &heartbeat},
	} {
		n, err := number(f.name, f.low, f.high)
		if err != nil {
			return a, err
		}
		*f.to = n
	}
	a.heartbeat = time.Duration(heartbeat) * time.Millisecond
	a.relayID, _ = value("viewport-relay-id")
	return a, nil
}

// linkError is err as an *Error. What is none already is a failure of the network, or of whoever waited for it.
func linkError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: LinkLost, By: "link", Text: "no connection to the relay: " + err.Error(), cause: err}
}

// errNoRelay is what a server that answers something else gets.
func errNoRelay(but string) *Error {
	return &Error{Reason: Reason(reason.Internal), By: "link",
		Text: "what answers at this address is no viewport relay: " + but}
}

// isUntrusted reports whether a TLS handshake ended because this side did not accept the certificate.
func isUntrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}
