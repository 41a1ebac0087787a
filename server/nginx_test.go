//go:build unix

package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/server"
)

const (
	// idleLimit is nginx's in these tests.
	idleLimit = "1s"
	// pastIdle is how many heartbeats make three times the idle limit.
	pastIdle = 12
)

func TestASessionThroughNginxOutlivesItsIdleLimitAndItsBodyLimit(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Heartbeat = beat })
	url, trust := nginx(t, r.addr)
	pair := connectSDK(t, client.Config{Relay: url, TLS: trust}, "nginx")
	up, down := pair.open()
	waitForHeartbeats(t, r, pastIdle)
	push(t, up, down, 4<<20)
	push(t, down, up, 4<<20)
	if err := up.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, path := range []string{"/health", "/readyz"} {
		if code, body := get(t, url+path, trust); code != 200 || !strings.Contains(body, "true") {
			t.Errorf("%s through nginx: got %d %q", path, code, body)
		}
	}
	if code, _ := get(t, url+"/metrics", trust); code != 404 {
		t.Errorf("/metrics through nginx: got %d, want 404", code)
	}
}

func TestWithHeartbeatsOffNginxCutsASilentSessionAndTheErrorSaysLinkLost(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Heartbeat = 0 })
	url, trust := nginx(t, r.addr)
	pair := connectSDK(t, client.Config{Relay: url, TLS: trust}, "nginx-cut")
	up, down := pair.open()
	for _, s := range []*client.Session{up, down} {
		if _, err := s.Recv(patient(t)); !errors.Is(err, client.LinkLost) {
			t.Errorf("got %v, want LinkLost", err)
		}
	}
}

func TestWithoutClientMaxBodySizeNginxEndsALinkAfterOneMiB(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Heartbeat = beat })
	url, trust := nginx(t, r.addr, "client_max_body_size 0;", "")
	pair := connectSDK(t, client.Config{Relay: url, TLS: trust}, "nginx-body")
	up, down := pair.open()
	var running sync.WaitGroup
	running.Go(func() { _, _ = io.Copy(io.Discard, down.Stream()) })
	n, err := up.Stream().Write(make([]byte, 4<<20))
	if !errors.Is(err, client.LinkLost) {
		t.Errorf("pushing 4 MiB up ended after %d bytes with %v, want LinkLost", n, err)
	}
	// The daemon's link is another request, and its session waits for its client.
	down.Abort()
	running.Wait()
}

// nginx runs the example configuration in front of a relay, unprivileged, with the few values of a place replaced and
// further pairs of old and new text. It returns its URL and what trusts its certificate.
func nginx(t *testing.T, upstream string, change ...string) (url string, trust *tls.Config) {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("REQUIRE_NGINX") == "1" {
			t.Fatal("nginx is not installed, and CI or REQUIRE_NGINX wants it: apt-get install nginx")
		}
		t.Skip("nginx is not installed: apt-get install nginx")
	}
	certFile, keyFile, trust := certificate(t)
	prefix := newPrefix(t)
	certFile, keyFile = prefix.take(certFile), prefix.take(keyFile)
	text, err := os.ReadFile("../deploy/nginx/viewport-relay.conf")
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	site := string(text)
	for i, pairs := 0, append([]string{
		"0.0.0.0:443", address, "127.0.0.1:7781", upstream, "/etc/nginx/relay.crt", certFile, "/etc/nginx/relay.key", keyFile,
		"timeout 60s", "timeout " + idleLimit, "timeout        60s", "timeout " + idleLimit,
	}, change...); i < len(pairs); i += 2 {
		if !strings.Contains(site, pairs[i]) {
			t.Fatalf("deploy/nginx/viewport-relay.conf has no %q", pairs[i])
		}
		site = strings.ReplaceAll(site, pairs[i], pairs[i+1])
	}
	main := prefix.write("nginx.conf", fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[2]s;
}
`, prefix.dir, prefix.write("viewport-relay.conf", site)))
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, binary, "-p", prefix.dir, "-c", main, "-e", "stderr")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = prefix.user
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("nginx:\n%s", &output)
		}
	})
	// It says nothing when it listens, so it is asked until it answers or has ended.
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return "https://" + address, trust
		}
		select {
		case <-ended:
			t.Fatalf("nginx ended:\n%s", &output)
		default:
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
		}
	}
}

// freeAddress is a loopback address whose port was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// prefix is a directory of nginx's own. Whoever runs the tests as root runs nginx as nobody, who owns it.
type prefix struct {
	t    *testing.T
	dir  string
	user *syscall.SysProcAttr
}

const nobody = 65534

func newPrefix(t *testing.T) prefix {
	t.Helper()
	// Not t.TempDir: what is above it is closed to others.
	dir, err := os.MkdirTemp("", "viewport-nginx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := prefix{t: t, dir: dir}
	if os.Geteuid() == 0 {
		p.user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	p.own(dir)
	return p
}

func (p prefix) own(path string) {
	p.t.Helper()
	if p.user == nil {
		return
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		p.t.Fatal(err)
	}
}

func (p prefix) write(name, text string) (path string) {
	p.t.Helper()
	path = filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.own(path)
	return path
}

// take copies a file into the prefix.
func (p prefix) take(path string) string {
	p.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.write(filepath.Base(path), string(text))
}
