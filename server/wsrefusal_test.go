package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/server"
)

// upgradeHead is what every good upgrade has behind its request line.
const upgradeHead = "Host: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

// upgrade is a request of a native client with this query, subprotocol line and more headers.
func upgrade(query, protocols, more string) string {
	return "GET /ws?" + query + " HTTP/1.1\r\n" + upgradeHead + "Sec-WebSocket-Protocol: " + protocols + "\r\n" + more + "\r\n"
}

// answerTo sends a request as it stands and returns the answer.
func (r *relay) answerTo(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	nc := dialTCP(t, r.addr)
	defer func() { _ = nc.Close() }()
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	answer, err := http.ReadResponse(in, &http.Request{Method: strings.SplitN(request, " ", 2)[0]})
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return answer, ""
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestAnUpgradeIsRefusedWithItsStatusBeforeItIsOne(t *testing.T) {
	platform := ownPlatform(t)
	r := start(t, func(c *server.Config) { c.ValidateURL = platform.ValidateURL() })
	mint := func(c devplatform.Claims) string {
		c.WorkspaceID, c.RuntimeTargetID = "w", target
		s, err := platform.Mint(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	client := mint(devplatform.Claims{Role: devplatform.RoleClient})
	daemon := mint(devplatform.Claims{Role: devplatform.RoleDaemon})
	expired := mint(devplatform.Claims{Role: devplatform.RoleClient, TTL: -time.Hour})
	asked := func() uint64 { return uint64(platform.Calls().Validate) }
	good := wsQuery(false, "w", target)
	offer := func(token string) string { return relayws.Subprotocol + ", auth." + token }
	for name, c := range map[string]struct {
		query, protocols, more string
		old, new               string // changes the request
		status                 int
		reason                 string
		asks                   bool
	}{
		"no query":              {protocols: offer(client), status: 400, reason: "FRAME_INVALID"},
		"no role":               {query: "workspaceId=w", protocols: offer(client), status: 400, reason: "FRAME_INVALID"},
		"another target, empty": {query: good + "&runtimeTargetId=", protocols: offer(client), status: 101, asks: true},
		"a target that's no":    {query: "runtimeTargetId=a%2Fb&" + good, protocols: offer(client), status: 400, reason: "FRAME_INVALID"},
		"no token":              {query: good, protocols: relayws.Subprotocol, status: 401, reason: "TOKEN_MISSING"},
		"a short token":         {query: good, protocols: offer("short"), status: 401, reason: "TOKEN_MISSING"},
		"a token in the query": {
			query: good + "&token=" + client, protocols: relayws.Subprotocol, status: 401, reason: "TOKEN_MISSING",
		},
		"a token of nobody": {
			query: good, protocols: offer("aaaaaaaaaa.bbbbbbbbbb.cccccccccc"), status: 401, reason: "TOKEN_INVALID", asks: true,
		},
		"an old token":       {query: good, protocols: offer(expired), status: 401, reason: "TOKEN_EXPIRED", asks: true},
		"a daemon as client": {query: good, protocols: offer(daemon), status: 403, reason: "ROLE_MISMATCH", asks: true},
		"a worker": {
			query: strings.Replace(good, "role=client", "role=worker", 1), protocols: offer(client), status: 403,
			reason: "ROLE_MISMATCH",
		},
		"another workspace": {
			query: wsQuery(false, "v", target), protocols: offer(client), status: 403, reason: "WORKSPACE_MISMATCH", asks: true,
		},
		"another target": {
			query: wsQuery(false, "w", "host-2"), protocols: offer(client), status: 403, reason: "TARGET_MISMATCH", asks: true,
		},
		"no target":  {query: wsQuery(false, "w", ""), protocols: offer(client), status: 403, reason: "TARGET_MISMATCH"},
		"POST":       {query: good, protocols: offer(client), old: "GET", new: "POST", status: 405, reason: "FRAME_INVALID"},
		"no upgrade": {query: good, protocols: offer(client), old: "Upgrade: w", new: "X: w", status: 426, reason: "FRAME_INVALID"},
		"h2c": {
			query: good, protocols: offer(client), old: "Upgrade: websocket", new: "Upgrade: h2c", status: 426,
			reason: "FRAME_INVALID",
		},
		"version 12": {query: good, protocols: offer(client), old: "13", new: "12", status: 426, reason: "FRAME_INVALID"},
		"a bad key":  {query: good, protocols: offer(client), old: "AAAA", new: "", status: 400, reason: "FRAME_INVALID"},
		"an offer twice": {
			query: good, protocols: offer(client) + ", " + relayws.Subprotocol, status: 400, reason: "FRAME_INVALID",
		},
		"good":                  {query: good, protocols: offer(client), status: 101, asks: true},
		"good, the token first": {query: good, protocols: "auth." + client + "," + relayws.Subprotocol, status: 101, asks: true},
		"good, by Authorization": {
			query: good, protocols: "chat, " + relayws.Subprotocol, more: "Authorization: Bearer " + client + "\r\n", status: 101,
			asks: true,
		},
		"good, from any page": {query: good, protocols: offer(client), more: "Origin: https://evil.example\r\n", status: 101, asks: true},
		"good, with compression": {
			query: good, protocols: offer(client), more: "Sec-WebSocket-Extensions: permessage-deflate\r\n", status: 101,
			asks: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := asked()
			answer, body := r.answerTo(t, strings.Replace(upgrade(c.query, c.protocols, c.more), c.old, c.new, 1))
			if answer.StatusCode != c.status {
				t.Fatalf("got %s %s, want %d %s", answer.Status, body, c.status, c.reason)
			}
			if (asked() > before) != c.asks {
				t.Errorf("the platform was asked %d times, want it asked: %v", asked()-before, c.asks)
			}
			for _, token := range []string{client, daemon, expired} {
				if strings.Contains(fmt.Sprint(answer.Header), token) || strings.Contains(r.log.String(), token) {
					t.Error("a token is in the answer's headers, or in the log")
				}
			}
			if c.status == 101 {
				h := answer.Header
				if h.Get("Sec-WebSocket-Protocol") != relayws.Subprotocol || h.Get("Sec-WebSocket-Extensions") != "" {
					t.Errorf("got %v, want the subprotocol and no extension", h)
				}
				return
			}
			if want := `{"ok":false,"reason":"` + c.reason + `"}`; body != want || answer.ContentLength != int64(len(want)) {
				t.Errorf("got %q with Content-Length %d, want %q", body, answer.ContentLength, want)
			}
			if !answer.Close {
				t.Error("the connection stays open")
			}
			if c.status == 426 && answer.Header.Get("Sec-WebSocket-Version") != "13, 8" {
				t.Errorf("got %v, want the versions there are", answer.Header)
			}
		})
	}
	t.Run("a platform that can't be asked", func(t *testing.T) {
		platform.SetFault(devplatform.Validate, devplatform.Fail)
		defer platform.SetFault(devplatform.Validate, devplatform.NoFault)
		answer, body := r.answerTo(t, upgrade(good, offer(client), ""))
		if answer.StatusCode != 503 || !strings.Contains(body, "PLATFORM_UNAVAILABLE") || answer.Header.Get("Retry-After") == "" {
			t.Errorf("got %s %s, Retry-After %q", answer.Status, body, answer.Header.Get("Retry-After"))
		}
	})
	r.wantMetric(`relay_links_refused_total{reason="token_missing"}`, func(n float64) bool { return n == 3 })
}

// strange are requests that have ended today's relays, or could.
func strange() map[string]string {
	auth := relayws.Subprotocol + ", auth.aaaaaaaaaa.bbbbbbbbbb.cccccccccc"
	ws := upgrade(wsQuery(false, "w", target), auth, "")
	with := func(old, new string) string { return strings.Replace(ws, old, new, 1) }
	return map[string]string{
		"GET //":                      "GET // HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n",
		"GET //ws":                    with("GET /ws", "GET //ws"),
		"no path":                     "GET ?a HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n",
		"a malformed host":            with("Host: relay", "Host: [::1"),
		"a host with a path":          with("Host: relay", "Host: a/b\\c@d:99999999"),
		"no host":                     with("Host: relay\r\n", ""),
		"two hosts":                   with("Host: relay", "Host: relay\r\nHost: other"),
		"absolute form":               with("GET /ws", "GET http://relay/ws"),
		"absolute form, odd":          with("GET /ws", "GET http://[::1/ws"),
		"authority form":              "CONNECT relay:443 HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n",
		"asterisk form":               "OPTIONS * HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n",
		"a bad percent sign":          with("workspaceId=w", "workspaceId=%zz%"),
		"a long query":                with("workspaceId=w", "workspaceId="+strings.Repeat("w", 9000)),
		"huge headers":                with("Host: relay", "Host: relay\r\nX-Huge: "+strings.Repeat("x", 40<<10)),
		"many headers":                with("Host: relay\r\n", "Host: relay\r\n"+strings.Repeat("X: y\r\n", 10<<10)),
		"h2c":                         with("Upgrade: websocket", "Upgrade: h2c"),
		"h2c to a probe":              "GET /health HTTP/1.1\r\nHost: relay\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n",
		"a WebSocket to a probe":      with("GET /ws", "GET /health"),
		"HTTP/1.0":                    with("HTTP/1.1", "HTTP/1.0"),
		"HTTP/0.9":                    "GET /ws\r\n\r\n",
		"HTTP/3":                      with("HTTP/1.1", "HTTP/3.7"),
		"garbage behind the request":  ws + "\x00\xff garbage",
		"a request behind the other":  ws + ws,
		"a body":                      with("Host: relay", "Host: relay\r\nContent-Length: 5") + "hello",
		"a body that does not come":   with("Host: relay", "Host: relay\r\nContent-Length: 5000000"),
		"a body in chunks":            with("Host: relay", "Host: relay\r\nTransfer-Encoding: chunked") + "zz\r\n",
		"expect: continue":            with("Host: relay", "Host: relay\r\nExpect: 100-continue\r\nContent-Length: 5"),
		"a header that is none":       with("Host: relay", "Host: relay\r\nno colon"),
		"a header with a control":     with("Host: relay", "Host: relay\r\nX: \x01"),
		"an offer that is none":       with(auth, ",,;=\"auth.x"),
		"X-Forwarded-For, nonsense":   with("Host: relay", "Host: relay\r\nX-Forwarded-For: ,,[::1,%,"+strings.Repeat("1,", 3000)),
		"a method that nobody knows":  with("GET", "BREW"),
		"nothing but line ends":       "\r\n\r\n\r\n\r\n",
		"half of a request":           ws[:40],
		"a WebSocket frame at once":   "\x81\x85aaaahello",
		"the token in the first line": with("HTTP/1.1", "\xff\xfe HTTP/1.1"),
	}
}

func TestNoRequestHoweverStrangeEndsMoreThanItsOwnConnection(t *testing.T) {
	r := start(t, func(c *server.Config) {
		c.Limits.ConnectTime = 2 * time.Second
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	daemon, client, s := r.pair("ws-strange")
	var running sync.WaitGroup
	for name, request := range strange() {
		running.Go(func() {
			nc := dialTCP(t, r.addr)
			defer func() { _ = nc.Close() }()
			_, _ = io.WriteString(nc, request)
			_ = nc.(*net.TCPConn).CloseWrite()
			answer, _ := io.ReadAll(nc)
			if strings.Contains(string(answer), " 101 ") || strings.Contains(string(answer), " 500 ") {
				t.Errorf("%s: got %q", name, answer)
			}
		})
	}
	running.Wait()
	client.send(s.data(2))
	daemon.want(typeData, 2)
	if log := r.log.String(); strings.Contains(log, "panic") {
		t.Errorf("a request made the relay panic: %s", log)
	}
}

func TestWhatComesBehindAGoodUpgradeIsReadAsFrames(t *testing.T) {
	r := start(t)
	e := endpoint{workspace: "ws-garbage"}
	ws := upgrade(wsQuery(false, e.workspace, target), relayws.Subprotocol+", auth."+e.token(t), "")
	answer := r.raw(t, ws+"GET / HTTP/1.1\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.Contains(answer, "\x88") {
		t.Errorf("got %q, want an upgrade and a close frame", answer)
	}
	awaitFree(r)
}

func TestAPeerThatResetsDuringAdmissionEndsItsOwnRequestOnly(t *testing.T) {
	url, asked := stuckPlatform(t)
	r := start(t, func(c *server.Config) { c.ValidateURL, c.ValidateTimeout = url, patience })
	for range 20 {
		e := endpoint{workspace: "ws-reset"}
		nc := dialTCP(t, r.addr).(*net.TCPConn)
		request := upgrade(wsQuery(false, e.workspace, target), relayws.Subprotocol+", auth."+e.token(t), "")
		if _, err := io.WriteString(nc, request); err != nil {
			t.Fatal(err)
		}
		<-asked
		_ = nc.SetLinger(0)
		_ = nc.Close()
	}
	awaitFree(r) // although the platform has answered nobody
	if code, _ := get(t, "http://"+r.addr+"/livez", nil); code != 200 {
		t.Errorf("got %d", code)
	}
	if log := r.log.String(); strings.Contains(log, "panic") {
		t.Errorf("got %s", log)
	}
}

func TestRefusedUpgradesLeaveNothing(t *testing.T) {
	r := start(t, func(c *server.Config) { c.Log = nil }) // it would be in memory, too
	offer := relayws.Subprotocol + ", auth.aaaaaaaaaa.bbbbbbbbbb.cccccccccc"
	refuse := func(n int) {
		var running sync.WaitGroup
		for worker := range 8 {
			running.Go(func() {
				for i := range n / 8 {
					nc, err := net.Dial("tcp", r.addr)
					if err != nil {
						t.Error(err)
						return
					}
					query := wsQuery(i%2 == 0, fmt.Sprint("ws-left-", worker, "-", i), target)
					_, _ = io.WriteString(nc, upgrade(query, offer, ""))
					if answer, _ := io.ReadAll(nc); !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
						t.Errorf("got %q, want 401", answer)
					}
					_ = nc.Close()
				}
			})
		}
		running.Wait()
		awaitFree(r)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	refuse(200) // what is made once, such as connections to the platform and pools
	goroutines, before := runtime.NumGoroutine(), heap()
	refuse(1000)
	if n := r.Targets(); n != 0 {
		t.Errorf("%d targets are remembered of upgrades that were refused", n)
	}
	for ctx := patient(t); runtime.NumGoroutine() > goroutines+16; {
		if ctx.Err() != nil {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
		runtime.Gosched()
	}
	// The port remembers each connection for the first seconds, in less than this.
	if after := heap(); after > before+1000<<10 {
		t.Errorf("the heap has grown from %d to %d bytes by 1000 upgrades that were refused", before, after)
	}
}

func TestBehindTrustedProxiesTheAddressIsTheOneThatTheyHaveAdded(t *testing.T) {
	r := start(t, func(c *server.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
		c.Limits.LinksPerAddress = 1
	})
	from := func(workspace, forwarded string) endpoint {
		return endpoint{workspace: workspace, extra: []string{"X-Forwarded-For", forwarded}}
	}
	r.connectWS(from("ws-a", "192.0.2.1, 10.1.2.3"))
	// A peer that writes an address in front of what the proxy appends gains nothing.
	r.wantRefusal(from("ws-b", "198.51.100.7, 192.0.2.1"), 503, "CAPACITY")
	r.connectWS(from("ws-b", "192.0.2.1, 198.51.100.7"))
	for workspace, want := range map[string]string{"ws-a": "192.0.2.1", "ws-b": "198.51.100.7"} {
		all := r.operator(workspace).connections(0)
		if len(all) != 1 || all[0].GetSourceAddress() != want {
			t.Errorf("%s: got %v, want the source %s", workspace, all, want)
		}
	}
	untrusting := start(t, func(c *server.Config) { c.Limits.LinksPerAddress = 1 })
	untrusting.connectWS(from("ws-a", "192.0.2.1"))
	untrusting.wantRefusal(from("ws-b", "192.0.2.2"), 503, "CAPACITY")
}
