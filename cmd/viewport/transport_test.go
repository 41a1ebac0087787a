package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// oldProxy is a reverse proxy in front of the relay that speaks HTTP/1.1 only.
func (w *world) oldProxy() string {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: w.relay.Addr})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server := httptest.NewUnstartedServer(proxy)
	server.Config.ErrorLog = proxy.ErrorLog
	server.Start()
	w.Cleanup(server.Close)
	return server.URL
}

func TestBothCommandsWorkWhereGRPCDoesNotGetThroughAndSaySo(t *testing.T) {
	w := newWorld(t).paired()
	relay := "VIEWPORT_RELAY=" + w.oldProxy()
	const warning = "level=WARN msg=\"gRPC could not be established; using WebSocket\""
	d := w.startDaemon([]string{relay})
	d.log.wait(w.ctx, t, warning)
	d.log.wait(w.ctx, t, "msg=attached ")
	d.log.wait(w.ctx, t, "transport=websocket")
	got := w.run([]string{relay}, nil, "attach", "echo", "hello")
	if got.code != 0 || got.out != "hello\n" || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, warning) {
		t.Errorf("got %v, want the output and one warning", got)
	}
	direct := strings.Replace(w.relay.URL, "http", "ws", 1)
	w.want(w.run([]string{"VIEWPORT_RELAY=" + direct}, nil, "attach", "echo", "again"), "again\n", "", 0)
}

// tunnels is a forward proxy that opens a tunnel to the relay for whoever asks for this host.
func (w *world) tunnels(host string) (proxy string, asked func() int) {
	var mu sync.Mutex
	n := 0
	var running sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != host {
			http.Error(answer, "no", http.StatusForbidden)
			return
		}
		mu.Lock()
		n++
		mu.Unlock()
		far, err := net.Dial("tcp", w.relay.Addr)
		if err != nil {
			http.Error(answer, "away", http.StatusBadGateway)
			return
		}
		near, _, err := http.NewResponseController(answer).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		running.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
		running.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
	}))
	w.Cleanup(func() {
		server.Close()
		running.Wait()
	})
	return server.URL, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestTheEnvironmentsProxyIsUsedByEitherTransport(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	proxy, asked := w.tunnels("relay.example:80")
	for i, relay := range []string{"http://relay.example", "ws://relay.example"} {
		env := []string{"VIEWPORT_RELAY=" + relay, "HTTPS_PROXY=" + proxy}
		w.want(w.run(env, nil, "attach", "echo", "hello"), "hello\n", "", 0)
		if n := asked(); n != i+1 {
			t.Errorf("%s: the proxy was asked %d times, want %d", relay, n, i+1)
		}
	}
}
