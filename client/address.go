package client

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/getviewport/relay/internal/relayws"
)

// address is where a relay is, as Config.Relay says it.
type address struct {
	host      string // with a port
	secure    bool   // TLS
	webSocket bool   // nothing else
	path      string // for WebSocket
}

func parseRelay(relay string) (address, error) {
	fail := func(why string) (address, error) {
		return address{}, fmt.Errorf("client: Config.Relay: %q %s; give https://host[:port], http://host[:port], host:port, "+
			"or wss://host[:port][/path] or ws://… for WebSocket alone", relay, why)
	}
	a := address{path: relayws.Path}
	if host, port, err := net.SplitHostPort(relay); err == nil && port != "" && !strings.Contains(relay, "://") {
		ip := net.ParseIP(host)
		loopback := host == "localhost" || ip != nil && ip.IsLoopback()
		a.host, a.secure = net.JoinHostPort(host, port), !loopback
		return a, nil
	}
	u, err := url.Parse(relay)
	if err != nil || u.Host == "" {
		return fail("is no address")
	}
	switch u.Scheme {
	case "https", "http":
	case "wss", "ws":
		a.webSocket = true
	default:
		return fail("has an unknown scheme")
	}
	path := u.Path != "" && u.Path != "/"
	if path && !a.webSocket || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return fail("has more than a host and a port")
	}
	if path {
		a.path = u.EscapedPath()
	}
	a.secure = u.Scheme == "https" || u.Scheme == "wss"
	port := u.Port()
	if port == "" {
		port = defaultPort(a.secure)
	}
	a.host = net.JoinHostPort(u.Hostname(), port)
	return a, nil
}

func defaultPort(secure bool) string {
	if secure {
		return "443"
	}
	return "80"
}

// url is where a WebSocket opens. Proxies that choose by the name want it without the usual port.
func (a address) url(query url.Values) string {
	u := &url.URL{Scheme: "ws", Host: strings.TrimSuffix(a.host, ":"+defaultPort(a.secure)), RawQuery: query.Encode()}
	if a.secure {
		u.Scheme = "wss"
	}
	return u.JoinPath(a.path).String()
}

// tlsConfig is the settings for a TLS relay, as a copy.
func (c *Config) tlsConfig() *tls.Config {
	if c.TLS != nil {
		return c.TLS.Clone()
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}
