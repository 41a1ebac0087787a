package wslink

import (
	"net/http"
	"net/netip"
	"strings"
)

// client returns where a request comes from: the address for limits, and what operators are shown. Behind trusted
// proxies it is the right-most address of X-Forwarded-For that is not one of them, because what stands left of it is
// whatever its owner wrote. What is no address ends the search.
func (s *Service) client(r *http.Request) (from netip.Addr, source string) {
	socket, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, r.RemoteAddr
	}
	from = socket.Addr().Unmap()
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	forwarded := false
	for i := len(entries) - 1; i >= 0 && s.trusts(from); i-- {
		a, ok := parseForwarded(entries[i])
		if !ok {
			break
		}
		from, forwarded = a, true
	}
	if forwarded {
		return from, from.String()
	}
	return from, r.RemoteAddr
}

func (s *Service) trusts(a netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseForwarded reads an entry of X-Forwarded-For: an address, with a port from some proxies.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.Trim(entry, " \t")
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	if err != nil {
		p, err := netip.ParseAddrPort(entry)
		if err != nil {
			return netip.Addr{}, false
		}
		a = p.Addr()
	}
	return a.Unmap().WithZone(""), true
}
