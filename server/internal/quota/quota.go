// Package quota counts what the streams of a relay take of its limits: by process, by address and by workspace. What
// several limits are about is looked at and counted in one step under one mutex, so that no limit is exceeded however
// many come at once, and each Hold gives everything back exactly once.
//
// It knows no transport and no token; what a target or a link may hold is counted by package route.
package quota

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// retry is how long to wait after a refusal.
const retry = 5 * time.Second

// Limits are how many there may be at once. One that is 0 or below is none.
type Limits struct {
	// Links and LinksPerAddress are streams of RelayService, those under admission included.
	Links, LinksPerAddress int
	// Admissions and AdmissionsPerAddress are those of them that were not admitted yet.
	Admissions, AdmissionsPerAddress int
	// LinksPerWorkspace are those that were.
	LinksPerWorkspace int
	// Watches are other streams, which carry no token.
	Watches int
}

// Names of the limits in errors and metrics.
const (
	Links                = "links"
	LinksPerAddress      = "links-per-address"
	Admissions           = "admissions"
	AdmissionsPerAddress = "admissions-per-address"
	LinksPerWorkspace    = "links-per-workspace"
	Watches              = "watches"
)

// Quotas are the counts of a process. Make it with New; it is safe for concurrent use.
type Quotas struct {
	limits Limits

	mu         sync.Mutex
	used       Used
	addresses  map[netip.Addr]address // none without a link
	workspaces map[string]int         // none at 0
}

// address is what one address has taken.
type address struct{ links, admissions int }

// Used is what is taken at one moment.
type Used struct{ Links, Admissions, Watches int }

// New returns counts at zero.
func New(limits Limits) *Quotas {
	return &Quotas{limits: limits, addresses: make(map[netip.Addr]address), workspaces: make(map[string]int)}
}

// Used is what is taken now.
func (q *Quotas) Used() Used {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}

// Empty reports whether nothing is taken and nothing is remembered.
func (q *Quotas) Empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used == Used{} && len(q.addresses) == 0 && len(q.workspaces) == 0
}

// Hold is what one stream has taken. Its methods are not for concurrent use.
type Hold struct {
	q         *Quotas
	address   netip.Addr
	workspace string
	state     state
}

type state uint8

const (
	released state = iota
	underAdmission
	admitted
	watching
)

// Open takes the place of a link and of an admission for a stream from an address, before anything is known about it.
// The error is a CAPACITY that names the limit.
func (q *Quotas) Open(from netip.Addr) (*Hold, *reason.Error) {
	from = Network(from)
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.addresses[from]
	switch {
	case full(q.used.Links, q.limits.Links):
		return nil, Refusal(Links, q.limits.Links)
	case full(a.links, q.limits.LinksPerAddress):
		return nil, Refusal(LinksPerAddress, q.limits.LinksPerAddress)
	case full(q.used.Admissions, q.limits.Admissions):
		return nil, Refusal(Admissions, q.limits.Admissions)
	case full(a.admissions, q.limits.AdmissionsPerAddress):
		return nil, Refusal(AdmissionsPerAddress, q.limits.AdmissionsPerAddress)
	}
	q.used.Links++
	q.used.Admissions++
	q.addresses[from] = address{a.links + 1, a.admissions + 1}
	return &Hold{q: q, address: from, state: underAdmission}, nil
}

// Watch takes the place of a stream that carries no token and opens no link.
func (q *Quotas) Watch() (*Hold, *reason.Error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if full(q.used.Watches, q.limits.Watches) {
		return nil, Refusal(Watches, q.limits.Watches)
	}
	q.used.Watches++
	return &Hold{q: q, state: watching}, nil
}

// Admit gives the place of the admission back and takes one of the workspace. After an error, which is a CAPACITY that
// names the limit, h holds what it held before.
func (h *Hold) Admit(workspace string) *reason.Error {
	q := h.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if h.state != underAdmission {
		return &reason.Error{Code: reason.Internal}
	}
	if n := q.workspaces[workspace]; full(n, q.limits.LinksPerWorkspace) {
		return Refusal(LinksPerWorkspace, q.limits.LinksPerWorkspace)
	}
	q.workspaces[workspace]++
	h.workspace, h.state = workspace, admitted
	q.leaveAdmission(h.address)
	return nil
}

// Release gives back all that h holds. Once is enough; more does nothing.
func (h *Hold) Release() {
	q := h.q
	q.mu.Lock()
	defer q.mu.Unlock()
	switch h.state {
	case underAdmission:
		q.leaveAdmission(h.address)
		q.leaveLink(h.address)
	case admitted:
		if n := q.workspaces[h.workspace]; n > 1 {
			q.workspaces[h.workspace] = n - 1
		} else {
			delete(q.workspaces, h.workspace)
		}
		q.leaveLink(h.address)
	case watching:
		q.used.Watches--
	}
	h.state = released
}

func (q *Quotas) leaveAdmission(from netip.Addr) {
	q.used.Admissions--
	a := q.addresses[from]
	a.admissions--
	q.addresses[from] = a
}

func (q *Quotas) leaveLink(from netip.Addr) {
	q.used.Links--
	a := q.addresses[from]
	if a.links--; a.links > 0 {
		q.addresses[from] = a
	} else {
		delete(q.addresses, from)
	}
}

func full(n, limit int) bool { return limit > 0 && n >= limit }

// Refusal is the CAPACITY of a limit and its value.
func Refusal(limit string, value int) *reason.Error {
	return reason.New(reason.Capacity, "the relay's limit %s of %d is reached", limit, value).After(retry).
		With("limit", limit).With("value", strconv.Itoa(value))
}

// Network is what counts as one address: an IPv4 address, or the /64 of an IPv6 one, of which one host has 2^64. What
// is neither, such as a Unix socket, is one address together.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
