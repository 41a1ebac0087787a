//go:build unix

package proxies_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// kind is a terminator that deploy/ has a configuration for.
type kind struct {
	name string
	// file is the configuration that is shipped; place makes it one of a test: pairs of old and new text.
	file  string
	place func(h *home, address, upstream string) []string
	// wrap writes what the file needs around it, if it is not a whole one.
	wrap func(h *home)
	// args run it in the foreground; reload are those of a command that has it read its configuration again, unless
	// reloadBy does.
	args, reload func(h *home) []string
	reloadBy     syscall.Signal
	// impatient makes it cut what is silent for two seconds, and hasty what lives on for a second after a reload, which keeps
	// says that it never does: pairs of old and new text.
	impatient, hasty []string
	keeps            bool
}

// kinds are all of them.
var kinds = []kind{
	{
		name: "nginx", file: "nginx/viewport-relay.conf",
		place: func(h *home, address, upstream string) []string {
			return []string{
				"0.0.0.0:443", address, "127.0.0.1:7781", upstream,
				"/etc/nginx/relay.crt", h.path("relay.crt"), "/etc/nginx/relay.key", h.path("relay.key"),
			}
		},
		wrap: func(h *home) {
			h.write("nginx.conf", strings.ReplaceAll(nginxMain, "HOME", h.dir))
		},
		args:     func(h *home) []string { return []string{"-p", h.dir, "-c", h.path("nginx.conf"), "-e", "stderr"} },
		reloadBy: syscall.SIGHUP,
		impatient: []string{
			"client_body_timeout 60s", "client_body_timeout 2s", "send_timeout        60s", "send_timeout 2s",
			"grpc_read_timeout 60s", "grpc_read_timeout 2s", "grpc_send_timeout 60s", "grpc_send_timeout 2s",
		},
	},
	{
		name: "haproxy", file: "haproxy/viewport-relay.cfg",
		place: func(h *home, address, upstream string) []string {
			return []string{
				"0.0.0.0:443", address, "127.0.0.1:7781", upstream, "/etc/haproxy/relay.pem", h.path("relay.pem"),
			}
		},
		args:      func(h *home) []string { return []string{"-W", "-f", h.path("viewport-relay.cfg")} },
		reloadBy:  syscall.SIGUSR2,
		impatient: []string{"timeout client 60s", "timeout client 2s", "timeout server 60s", "timeout server 2s"},
		hasty:     []string{"hard-stop-after 60s", "hard-stop-after 1s"},
	},
	{
		name: "caddy", file: "caddy/Caddyfile",
		place: func(h *home, address, upstream string) []string {
			return []string{
				"relay.example.com:443", address, "bind 0.0.0.0", "bind 127.0.0.1", "127.0.0.1:7781", upstream,
				"/etc/caddy/relay.crt", h.path("relay.crt"), "/etc/caddy/relay.key", h.path("relay.key"),
				"unix//run/caddy/admin.sock", "unix/" + h.path("admin.sock"),
			}
		},
		args:   func(h *home) []string { return []string{"run", "--config", h.path("Caddyfile")} },
		reload: func(h *home) []string { return []string{"reload", "--force", "--config", h.path("Caddyfile")} },
		// It cuts no silent links; the nearest to it is that each link lives for a second only.
		impatient: []string{"read_header 10s", "write 2s"},
		keeps:     true,
	},
}

// nginxMain is what the file is included in.
const nginxMain = `daemon off;
pid HOME/nginx.pid;
error_log stderr notice;
worker_shutdown_timeout 1s;
events { worker_connections 2048; }
http {
	access_log off;
	client_body_temp_path HOME/body;
	proxy_temp_path HOME/proxy;
	fastcgi_temp_path HOME/fastcgi;
	uwsgi_temp_path HOME/uwsgi;
	scgi_temp_path HOME/scgi;
	include HOME/viewport-relay.conf;
}
`

// proxy is a terminator in front of a relay.
type proxy struct {
	kind
	t       *testing.T
	home    *home
	binary  string
	address string // host:port

	output safeBuffer
	main   *exec.Cmd
	ended  chan struct{} // closed when main has ended
}

// terminator runs one in front of a relay, with further pairs of old and new text in its configuration.
func terminator(t *testing.T, k kind, upstream string, change ...string) *proxy {
	t.Helper()
	binary, err := exec.LookPath(k.name)
	if err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("REQUIRE_PROXIES") == "1" {
			t.Fatalf("%[1]s is not installed, and CI or REQUIRE_PROXIES wants it: apt-get install %[1]s", k.name)
		}
		t.Skipf("%[1]s is not installed: apt-get install %[1]s", k.name)
	}
	p := &proxy{kind: k, t: t, home: newHome(t), binary: binary, address: freeAddress(t)}
	text, err := os.ReadFile("../../deploy/" + k.file)
	if err != nil {
		t.Fatal(err)
	}
	config := string(text)
	for pairs := append(k.place(p.home, p.address, upstream), change...); len(pairs) > 0; pairs = pairs[2:] {
		if !strings.Contains(config, pairs[0]) {
			t.Fatalf("deploy/%s has no %q", k.file, pairs[0])
		}
		config = strings.ReplaceAll(config, pairs[0], pairs[1])
	}
	p.home.write(k.file[strings.Index(k.file, "/")+1:], config)
	if k.wrap != nil {
		k.wrap(p.home)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", k.name, &p.output)
		}
	})
	p.start()
	return p
}

func (p *proxy) url() string { return "https://" + p.address }

func (p *proxy) command(args []string) *exec.Cmd {
	cmd := exec.Command(p.binary, args...)
	cmd.Dir, cmd.Env = p.home.dir, []string{"HOME=" + p.home.dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	// A group of its own, so that what it starts is killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.home.user, Setpgid: true}
	return cmd
}

// start starts it and waits until it listens.
func (p *proxy) start() {
	p.t.Helper()
	p.main, p.ended = p.command(p.args(p.home)), make(chan struct{})
	if err := p.main.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // it is killed: how it ends says nothing
	}(p.main, p.ended)
	// They say nothing of it that is alike, so it is asked until it answers or has ended.
	ctx := patient(p.t)
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended:\n%s", p.name, &p.output)
		default:
			if !errors.Is(err, syscall.ECONNREFUSED) {
				p.t.Fatal(err)
			}
		}
	}
}

// kill kills it and all that it has started, as a crash does.
func (p *proxy) kill() {
	if p.main.Process != nil {
		_ = syscall.Kill(-p.main.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// reloads has it read its configuration again.
func (p *proxy) reloads() {
	p.t.Helper()
	if p.reload == nil {
		if err := p.main.Process.Signal(p.reloadBy); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	ctx, cancel := context.WithCancel(patient(p.t))
	defer cancel()
	cmd := p.command(p.reload(p.home))
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		p.t.Fatalf("reload: %v\n%s", err, &p.output)
	}
}

// safeBuffer is an output that several processes write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
