package wslink

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/link"
)

// upgrade is one request until it has become a link. Nothing of it outlives its handler: the request holds the token.
type upgrade struct {
	service *Service
	writer  http.ResponseWriter
	request *http.Request

	query legacywire.Query
	token string
	// from is where it comes from, for limits; source for operators.
	from   netip.Addr
	source string
	// native: it asks for the native protocol. protocol is the subprotocol to select; empty: none.
	native   bool
	protocol string

	// socket is what it has taken so far; nil when somebody else gives it back.
	socket   *socket
	hijacked bool
}

// run does all that is done before the upgrade, cheapest first, and then the upgrade. It returns nil when there is nobody
// to be refused.
func (u *upgrade) run() *refusal {
	s, ctx := u.service, u.request.Context()
	// The request has been read whole; that admission takes longer is nothing that its peer has to answer for.
	_ = http.NewResponseController(u.writer).SetReadDeadline(time.Time{})
	if refused := u.reserve(); refused != nil {
		refused.flood = true
		return refused
	}
	if refused := u.parse(); refused != nil {
		return refused
	}
	admit := s.legacy
	if u.native {
		admit = s.admitNative
	}
	request, info, d, err := admit(ctx, u)
	if err != nil {
		return refuses(err)
	}
	if refused := u.socket.hold.Admit(info.Workspace); refused != nil {
		return refuses(refused)
	}
	u.socket.dialect = d
	if err := u.socket.attach(ctx, info); err != nil {
		return refuses(err)
	}
	u.socket.watch(request, u.token)
	return refuses(u.open())
}

// reserve takes the request's place before anything is done for it that has to be waited for: so no limit is exceeded,
// however many come at once.
func (u *upgrade) reserve() *refusal {
	s := u.service
	u.from, u.source = s.client(u.request)
	// Native peers wait longer from attempt to attempt; what a flood of them costs is bounded by the quotas.
	if u.native = offers(u.request.Header.Values("Sec-WebSocket-Protocol"), relayws.Subprotocol); !u.native {
		if wait := s.Rates.Upgrade(u.from, time.Now()); wait > 0 {
			return refuses(reason.New(reason.RateLimited, "too many upgrades from one address").After(wait))
		}
	}
	hold, refused := s.Quotas.Open(u.from)
	if refused != nil {
		return refuses(refused)
	}
	u.socket = &socket{service: s, hold: hold}
	return nil
}

// parse reads the request and checks its form.
func (u *upgrade) parse() *refusal {
	r := u.request
	var err error
	if u.query, err = legacywire.ParseQuery(r.URL.RawQuery); err != nil {
		return refuses(err)
	}
	offer, badOffer := legacywire.ParseOffer(r.Header.Values("Sec-WebSocket-Protocol"))
	queryTokens := u.service.QueryTokens && !u.native
	if u.token, err = legacywire.Token(r.Header.Get("Authorization"), offer, u.query, queryTokens); err != nil {
		return refuses(err)
	}
	if bad := wsconn.Check(r); bad != nil {
		return badForm(bad)
	}
	if u.protocol = offer.Select; u.native {
		u.protocol = relayws.Subprotocol
	}
	return refuses(badOffer)
}

// offers reports whether a subprotocol is offered.
func offers(lines []string, protocol string) bool {
	for _, line := range lines {
		for e := range strings.SplitSeq(line, ",") {
			if strings.Trim(e, " \t") == protocol {
				return true
			}
		}
	}
	return false
}

// asked is what the query asks for, with the token.
func (u *upgrade) asked() admission.Request {
	r := admission.Request{Token: u.token, Workspace: u.query.Workspace, Target: u.query.Target}
	switch u.query.Role {
	case legacywire.Daemon:
		r.Role = admission.RoleDaemon
	case legacywire.Client:
		r.Role = admission.RoleClient
	case legacywire.Worker:
		r.Role = admission.RoleWorker
	}
	return r
}

// admitNative asks whether the token may open a native link.
func (s *Service) admitNative(ctx context.Context, u *upgrade) (r admission.Request, info hub.Info, d Dialect, err error) {
	r = u.asked()
	if r.Role == admission.RoleWorker {
		return r, info, nil, reason.New(reason.RoleMismatch, "a worker does not speak %s", relayws.Subprotocol)
	}
	grant, err := s.Admitter.Admit(ctx, r)
	if err != nil {
		return r, info, nil, err
	}
	header := u.request.Header
	info = link.Info(&grant, link.Said{
		Version: single(header, relayws.HeaderVersion), Attempt: single(header, relayws.HeaderAttempt), Source: u.source,
	})
	return r, info, &native{announcement: s.announcement, messageBytes: s.MessageBytes}, nil
}

// admitLegacy is admitNative for a peer of today's protocol.
func (s *Service) admitLegacy(ctx context.Context, u *upgrade) (r admission.Request, info hub.Info, d Dialect, err error) {
	r = u.asked()
	if r.Role == admission.RoleWorker && !s.Bridge.Workers() {
		return r, info, nil, reason.New(reason.RoleMismatch, "this relay carries no calls of workers to the platform")
	}
	grant, err := s.Admitter.AdmitLegacy(ctx, r)
	if err != nil {
		return r, info, nil, err
	}
	info = link.Info(&grant.Grant, link.Said{Source: u.source})
	info.Peer.Legacy = true
	return r, info, s.Bridge.New(grant, u.from), nil
}

// single returns the one value of a header, or nothing if it is absent or doubled.
func single(h http.Header, name string) string {
	if v := h.Values(name); len(v) == 1 {
		return v[0]
	}
	return ""
}

// open takes the connection from HTTP's server, answers, and starts the link. From here on nobody is refused: what fails
// is the connection.
func (u *upgrade) open() error {
	nc, rw, err := http.NewResponseController(u.writer).Hijack()
	if err != nil {
		return err
	}
	u.hijacked = true
	x := u.socket
	received, _ := rw.Reader.Peek(rw.Reader.Buffered())
	x.conn = wsconn.New(nc, received, wsconn.Config{Limit: x.dialect.Limit(), OnPong: x.heard})
	key := u.request.Header.Get("Sec-WebSocket-Key")
	if x.conn.Send(x.dialect.Greet(x.conn, wsconn.AppendAccept(nil, key, u.protocol))) != nil {
		return nil // it is gone, and logs nothing else
	}
	u.socket = nil
	x.run()
	return nil
}
