// Package wslink is the relay's WebSocket side over the hub: it turns an upgrade request into a link, answers what it
// refuses before the upgrade with an HTTP status, and moves messages between the connection and the hub. One binary
// message is one EnvelopeBatch.
//
// It decides nothing about tokens (admission does), frames (route does, behind the hub) or how WebSocket works (wsconn).
package wslink

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/legacylink"
	"github.com/getviewport/relay/server/internal/legacyrate"
	"github.com/getviewport/relay/server/internal/link"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/recheck"
)

// MessageBytes is the name of Config.MessageBytes in errors and metrics.
const MessageBytes = "message-bytes"

// Config is what a Service is made of.
type Config struct {
	Hub      *hub.Hub
	Admitter *admission.Admitter
	// Recheck asks the platform about the tokens of live links; nil: nothing does, and no token is kept.
	Recheck *recheck.Checker
	Quotas  *quota.Quotas
	// Announced is told to every native peer.
	Announced link.Announced
	// MessageBytes is the longest message of a native peer.
	MessageBytes int
	// TrustedProxies are whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// QueryTokens: a legacy peer may bring its token in the URL, which whatever is in between may log.
	QueryTokens bool
	// Rates count the upgrades of legacy peers.
	Rates *legacyrate.Rates
	// Bridge is what legacy peers speak to.
	Bridge *legacylink.Bridge
	Log    *slog.Logger
	// Refused is told of every upgrade that is not admitted, Ended of every link that ends because of a bad message: both
	// for counting.
	Refused, Ended func(*reason.Error)
}

// admitFunc asks whether an upgrade may become a link, and of what kind: what is to be re-checked, what the hub is told,
// and what is spoken.
type admitFunc func(ctx context.Context, u *upgrade) (admission.Request, hub.Info, Dialect, error)

// Service is the handler of upgrades. Its links belong to the hub, which waits for them; Wait waits for the upgrades.
type Service struct {
	Config
	announcement []byte
	// legacy admits an upgrade that does not ask for the native protocol.
	legacy admitFunc

	buffers sync.Pool // of *[]byte: what senders make messages in, one each while they send

	logged link.EverySecond // turnAway's lines

	mu     sync.Mutex
	closed bool                    // guarded by mu
	held   map[*socket]*time.Timer // guarded by mu: connections whose links have ended
	// upgrading counts upgrades that are not through. Grows only under mu while it is open.
	upgrading sync.WaitGroup
}

// New returns the service.
func New(c Config) *Service {
	s := &Service{
		Config: c, announcement: relayws.Announcement(c.Announced.Pairs()),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
	s.legacy = s.admitLegacy
	return s
}

// Wait has further upgrades refused and returns when none is under way. Call it when the server that serves them has been
// closed, which ends the waits of those that are.
func (s *Service) Wait() {
	s.mu.Lock()
	s.closed = true
	s.release()
	s.mu.Unlock()
	s.upgrading.Wait()
}

func (s *Service) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.upgrading.Add(1)
	}
	return !s.closed
}

// ServeHTTP makes a link of an upgrade, or refuses it. Any Origin may open one: what counts is the token, which a page has
// to hold and send itself; there are no cookies that a browser would add to another site's request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		s.answer(w, &refusal{why: &reason.Error{Code: reason.Draining}})
		return
	}
	defer s.upgrading.Done()
	u := &upgrade{service: s, writer: w, request: r}
	defer func() {
		if u.socket != nil {
			u.socket.close()
		}
	}()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			if !u.hijacked {
				s.refuse(w, &refusal{why: &reason.Error{Code: reason.Internal}})
			}
		}
	}()
	if refused := u.run(); refused != nil && r.Context().Err() == nil {
		s.refuse(w, refused)
	}
}

// panicked logs what recover has returned.
func (s *Service) panicked(v any) {
	// The value may hold anything; its type and the stack are enough to find the fault.
	s.Log.Error("panic in a stream", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}
