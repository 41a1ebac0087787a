package client

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
)

// dialTCP connects to host for a WebSocket the same way that gRPC connects for itself: through the proxy that the
// environment names for https (HTTPS_PROXY, NO_PROXY), which is asked for a tunnel, and with no TLS yet.
func dialTCP(ctx context.Context, network, host string) (net.Conn, error) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: host}})
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	if proxy == nil {
		return dialer.DialContext(ctx, network, host)
	}
	at := proxy.Host
	if proxy.Port() == "" {
		at = net.JoinHostPort(proxy.Hostname(), "443")
	}
	conn, err := dialer.DialContext(ctx, network, at)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = tunnel(conn, host, proxy.User)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// tunnel asks the proxy at the other end of conn to connect to host.
func tunnel(conn net.Conn, host string, user *url.Userinfo) error {
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: host}, Host: host, Header: make(http.Header)}
	if user != nil {
		password, _ := user.Password()
		r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := r.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, r)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	switch {
	case answer.StatusCode != http.StatusOK:
		return errors.New("the proxy does not connect to " + host + ": " + answer.Status)
	case in.Buffered() > 0:
		return errors.New("the proxy sends more than its answer")
	}
	return nil
}
