package legacy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// I.1, I.2, I.18, I.20, I.21 and I.24: what requests do to a relay before any of them is a link.

// I.1.
func TestNoRequestEndsTheRelay(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.Limits.ConnectTime = time.Second }) // for those that send half of it
	witness := r.pair("witness")
	ok := upgradeText(queryOf(clientOf("w")), "Sec-WebSocket-Protocol: auth.aaaaaaaaaa.bbbbbbbbbb.cccccccccc\r\n")
	with := func(old, new string) string { return strings.Replace(ok, old, new, 1) }
	good := upgradeText(queryOf(clientOf("w")), bearerLine(tokenOf(t, clientOf("w"))))
	const get = " HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"
	for name, request := range map[string]string{
		"GET //":                    "GET //" + get,
		"GET ///":                   "GET ///" + get,
		"GET //[":                   "GET //[" + get,
		"GET //ws":                  with("GET /ws", "GET //ws"),
		"no path":                   "GET ?" + get,
		"a path of nothing but %":   "GET /%" + get,
		"another URL":               with("GET /ws", "GET http://[::1/ws"),
		"a scheme":                  with("GET /ws", "GET javascript:/ws"),
		"a host without an end":     with("Host: relay", "Host: [::1"),
		"a host that is a URL":      with("Host: relay", "Host: http://a/b?c#d"),
		"a host with a bad port":    with("Host: relay", "Host: a:99999999"),
		"an empty host":             with("Host: relay", "Host: "),
		"no host":                   with("Host: relay\r\n", ""),
		"two hosts":                 with("Host: relay", "Host: a\r\nHost: b"),
		"an upgrade to something":   with("Upgrade: websocket", "Upgrade: h2c, x/1"),
		"an upgrade of a probe":     with("GET /ws?", "GET /health?"),
		"a query of percent signs":  with("role=client", "%=%&%%%zz=%u0000&role=%ff"),
		"a token of anything":       with("auth.aaaaaaaaaa", "auth.\x80\xff\x01"),
		"Authorization of anything": with("Host: relay\r\n", "Host: relay\r\n"+bearerLine(strings.Repeat("\xff\xfe", 8))),
		"a forged address":          with("Host: relay", "Host: relay\r\nX-Forwarded-For: ,%,[::1,999.1.1.1"),
		"frames at once":            ok + string(textFrame("junk")) + "\x83\x80",
		"frames behind a good one":  good + "\x83\xff\xff garbage",
		"a body":                    with("Host: relay", "Host: relay\r\nContent-Length: 3") + "abc",
		"half of one":               ok[:50],
		"TLS":                       "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"half of HTTP/2":            "PRI * HTTP/2.0\r\n\r\nSM\r\n",
		"line ends":                 "\r\n\r\n\r\n",
	} {
		nc := r.tcp()
		_, _ = io.WriteString(nc, request)
		_ = nc.CloseWrite()
		answer, _ := io.ReadAll(nc) // a reset is an answer, too
		if strings.Contains(string(answer), " 500 ") {
			t.Errorf("%s: got %.100q", name, answer)
		}
		_ = nc.Close()
		witness.exchange()
	}
}

// stuckPlatform is one that answers nobody until the test ends, and tells of everybody who asks.
func stuckPlatform(t *testing.T) (url string, asked chan struct{}) {
	asked, release := make(chan struct{}, 1000), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	return s.URL + "/", asked
}

// I.2.
func TestAResetWhileThePlatformIsAskedEndsThatRequestAlone(t *testing.T) {
	t.Parallel()
	url, asked := stuckPlatform(t)
	reset := func(r *relay, c devplatform.Claims, behind []byte) {
		nc := r.tcp()
		_, _ = nc.Write(append([]byte(upgradeText(queryOf(c), bearerLine(tokenOf(t, c)))), behind...))
		<-asked
		_ = nc.SetLinger(0)
		_ = nc.Close()
	}
	r := start(t, func(c *server.Config) { c.ValidateURL, c.ValidateTimeout = url, patience })
	for _, c := range []devplatform.Claims{daemonOf("w"), clientOf("w"), pairingOf("w")} {
		reset(r, c, nil)
	}
	r.empty() // although nobody was answered
	// Behind whoever has sent frames already the reset is seen when the platform had its time.
	r = start(t, func(c *server.Config) { c.ValidateURL, c.ValidateTimeout = url, time.Second })
	reset(r, clientOf("w"), textFrame("junk"))
	r.empty()
}

// parallel sends so many requests at once and returns how often each status came. Connections that were upgraded stay
// until leave.
func (r *relay) parallel(t *testing.T, n int, text func(i int) string) (statuses map[int]int, leave func()) {
	t.Helper()
	var mu sync.Mutex
	var all []net.Conn
	var running sync.WaitGroup
	statuses = map[int]int{}
	begin := make(chan struct{})
	for i := range n {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		all = append(all, nc)
		request := text(i)
		running.Go(func() {
			<-begin
			_, _ = io.WriteString(nc, request)
			answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("no answer: %v", err)
				return
			}
			statuses[answer.StatusCode]++
			if answer.StatusCode != http.StatusSwitchingProtocols {
				_ = nc.Close()
			}
		})
	}
	close(begin)
	running.Wait()
	return statuses, func() {
		for _, nc := range all {
			_ = nc.Close()
		}
		all = nil
	}
}

// I.18.
func TestNoLimitIsExceededByUpgradesAtOnce(t *testing.T) {
	t.Parallel()
	const most, all = 10, 200
	for name, limits := range map[string]server.Limits{
		"of the process":      {Links: most},
		"of an address":       {LinksPerAddress: most},
		"of a workspace":      {LinksPerWorkspace: most},
		"of a runtime target": {LinksPerTarget: most + 1}, // the last place is the daemon's
	} {
		t.Run(name, func(t *testing.T) {
			limits.Admissions, limits.AdmissionsPerAddress = all, all
			r := start(t, func(c *server.Config) { c.Limits = limits })
			request := upgradeText(queryOf(clientOf("w")), bearerLine(tokenOf(t, clientOf("w"))))
			statuses, leave := r.parallel(t, all, func(int) string { return request })
			if statuses[101] != most || statuses[101]+statuses[503] != all {
				t.Errorf("got %v, want %d with 101 and the others with 503", statuses, most)
			}
			leave()
			r.empty()
			r.connect(clientOf("w"))
		})
	}
	t.Run("of upgrades in a minute", func(t *testing.T) {
		r := start(t, upgradesPerMinute(most))
		statuses, leave := r.parallel(t, all, func(int) string { return upgradeText("role=x", "") })
		if statuses[400] != most || statuses[429] != all-most {
			t.Errorf("got %v, want %d with 400 and the others with 429", statuses, most)
		}
		leave()
	})
	t.Run("one daemon", func(t *testing.T) {
		r := start(t)
		var requests []string
		for i := range 50 {
			c := daemonOf("w", install(fmt.Sprint("i", i)), generation(uint64(i)))
			requests = append(requests, upgradeText(queryOf(c), bearerLine(tokenOf(t, c))))
		}
		_, leave := r.parallel(t, len(requests), func(i int) string { return requests[i] })
		if n := r.status().GetDaemonLinks(); n != 1 {
			t.Errorf("there are %d daemons", n)
		}
		leave()
	})
}

// I.20.
func TestAWorkerCountsAsALink(t *testing.T) {
	t.Parallel()
	r := start(t, workersOn, func(c *server.Config) { c.Limits.Links = 1 })
	p := r.connect(workerOf("w", "e1"))
	if n := r.used("links"); n != 1 {
		t.Errorf("%v links are counted, want 1", n)
	}
	r.refused(requestOf(t, workerOf("w", "e1")), 503, "CAPACITY")
	p.leave()
	r.empty()
}

// I.21.
func TestRefusedUpgradesLeaveNothing(t *testing.T) {
	// Not parallel: it counts goroutines. A log would be in memory, too.
	r := start(t, func(c *server.Config) { c.Log = nil })
	expired := make([]string, 8)
	for i := range expired {
		c := clientOf(fmt.Sprint("w", i), ttl(-1e12))
		expired[i] = upgradeText(queryOf(c), bearerLine(tokenOf(t, c)))
	}
	nobody := func(i int) string {
		return upgradeText(fmt.Sprintf("role=client&workspaceId=n%d&runtimeTargetId=t%d", i, i), bearerLine("aaaa.bbbb.cccc"))
	}
	refuse := func(n int) {
		t.Helper()
		for from := 0; from < n; from += 100 {
			statuses, leave := r.parallel(t, 100, func(i int) string {
				if i < len(expired) {
					return expired[i]
				}
				return nobody(from + i)
			})
			leave()
			if statuses[401] != 100 {
				t.Fatalf("got %v, want 401 alone", statuses)
			}
		}
		r.empty()
	}
	refuse(200) // what is made once, such as connections to the platform
	goroutines, before := runtime.NumGoroutine(), heapBytes()
	refuse(2000)
	if n := r.status().GetTargets(); n != 0 {
		t.Errorf("%d targets are remembered", n)
	}
	r.until("the goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines+8 })
	if after := heapBytes(); after > before+1<<20 {
		t.Errorf("the heap has grown from %d to %d KiB", before>>10, after>>10)
	}
}

func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what sync.Pools keep survives one
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// I.24.
func TestAnInventedAddressGainsNothing(t *testing.T) {
	t.Parallel()
	ask := func(forwarded string) request {
		q := requestOf(t, clientOf("w"))
		q.header = http.Header{"X-Forwarded-For": {forwarded}}
		return q
	}
	connect := func(r *relay, q request) {
		t.Helper()
		if _, err := r.dial(q); err != nil {
			t.Fatal(describe(err))
		}
	}
	direct := start(t, upgradesPerMinute(2))
	connect(direct, ask("192.0.2.1"))
	connect(direct, ask("192.0.2.2"))
	direct.refused(ask("192.0.2.3"), 429, "RATE_LIMITED")

	behind := start(t, upgradesPerMinute(2), func(c *server.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	connect(behind, ask("192.0.2.1"))
	connect(behind, ask("198.51.100.1, 192.0.2.1, 10.0.0.9")) // what stands left of a proxy's own entry is invented
	behind.refused(ask("203.0.113.1, 192.0.2.1"), 429, "RATE_LIMITED")
	connect(behind, ask("192.0.2.1, 198.51.100.1"))
	behind.refused(ask("203.0.113.9,\t192.0.2.1 , 10.1.2.3"), 429, "RATE_LIMITED")
}
