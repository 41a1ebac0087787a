package secrets_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/internal/devplatform"
)

// trap is a port that nobody has a reason to connect to.
type trap struct {
	ln net.Listener

	mu sync.Mutex
	// caught is who came. Guarded by mu.
	caught []string
}

// setTrap listens on one of this machine's own addresses.
func setTrap(t *testing.T, host string) *trap {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	tr := &trap{ln: ln}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			tr.mu.Lock()
			tr.caught = append(tr.caught, conn.RemoteAddr().String())
			tr.mu.Unlock()
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
	})
	return tr
}

func (tr *trap) url(path string) string { return "http://" + tr.ln.Addr().String() + path }

// empty checks that nobody came. The kernel hands connections out in order, so one of our own comes last.
func (tr *trap) empty(t *testing.T, what string) {
	t.Helper()
	own, err := net.Dial("tcp", tr.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = own.Read(make([]byte, 1)) // until the trap has taken it and closed it
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.caught) == 0 || tr.caught[len(tr.caught)-1] != own.LocalAddr().String() {
		t.Errorf("%s: the trap did not catch our own connection", what)
	}
	if n := len(tr.caught) - 1; n > 0 {
		t.Errorf("%s: got %d connections, want none", what, n)
	}
	_ = own.Close()
}

// lures are ports that tokens, keys, answers and the environment point to.
type lures struct {
	token, keys, redirect, answer, proxy *trap
}

func setLures(t *testing.T) *lures {
	t.Helper()
	return &lures{
		token: setTrap(t, "127.0.0.2"), keys: setTrap(t, "127.0.0.3"), redirect: setTrap(t, "127.0.0.4"),
		answer: setTrap(t, "127.0.0.5"), proxy: setTrap(t, "127.0.0.6"),
	}
}

func (l *lures) empty(t *testing.T) {
	t.Helper()
	for what, tr := range map[string]*trap{
		"URLs in a token": l.token, "URLs in the key set": l.keys, "redirects": l.redirect,
		"URLs in an answer": l.answer, "the environment's proxy": l.proxy,
	} {
		tr.empty(t, what)
	}
}

// environ is an environment that wants everything to go through a proxy.
func (l *lures) environ() []string {
	var all []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"} {
		all = append(all, name+"="+l.proxy.url(""), strings.ToLower(name)+"="+l.proxy.url(""))
	}
	return append(all, "NO_PROXY=", "no_proxy=")
}

// lure makes every attempt there is to have the relay connect to one of the traps, and has it talk to the platform in
// all the ways it does.
func (l *lures) lure(t *testing.T, r *process, p *platform) {
	t.Helper()
	who := devplatform.Claims{Role: devplatform.RoleClient, WorkspaceID: workspace, RuntimeTargetID: target}
	good, err := issuer.Mint(who)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token string) string {
		return r.stranger(false, metadata.Pairs("authorization", "Bearer "+token,
			"viewport-workspace-id", workspace, "viewport-runtime-target-id", target))
	}
	wait := patient(t)
	for told := ask(good); !strings.Contains(told, "viewport-protocol"); told = ask(good) {
		if !strings.Contains(told, "PLATFORM_UNAVAILABLE") || wait.Err() != nil { // else it has no keys yet
			t.Fatalf("a good token is not admitted: %s", told)
		}
	}
	for _, kid := range []string{"", l.token.url("/kid"), "unknown"} {
		bait := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": l.token.url("/issuer"), "aud": l.token.url("/audience"), "role": "client",
			"workspaceId": workspace, "runtimeTargetId": target, "exp": time.Now().Add(time.Hour).Unix(), "jti": "1",
		})
		bait.Header["kid"] = kid
		for _, name := range []string{"jku", "x5u", "x5c", "jwk", "url", "iss"} {
			bait.Header[name] = l.token.url("/" + name)
		}
		bait.Header["jwk"] = map[string]string{"kty": "RSA", "x5u": l.token.url("/jwk-x5u")}
		for _, algorithm := range []string{"HS256", "RS256", "EdDSA"} {
			bait.Header["alg"] = algorithm
			signed, err := bait.SignedString([]byte("anything"))
			if err != nil {
				t.Fatal(err)
			}
			if told := ask(signed); strings.Contains(told, "viewport-protocol") {
				t.Errorf("the bait was admitted: %s", told)
			}
		}
	}
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308, 401, 407, 200} {
		p.answer(func(w http.ResponseWriter, q *http.Request) {
			for _, name := range []string{"Location", "Refresh", "Content-Location", "Link", "Alt-Svc", "Proxy-Authenticate"} {
				w.Header().Set(name, l.redirect.url("/"+name))
			}
			w.WriteHeader(status)
			claims := map[string]any{
				"role": "client", "workspaceId": workspace, "runtimeTargetId": target, "iss": l.answer.url("/iss"),
				"next": l.answer.url("/next"), "jwks_uri": l.answer.url("/jwks"), "url": l.answer.url("/"),
			}
			_ = json.NewEncoder(w).Encode(map[string]any{
				"ok": status < 300, "reason": l.answer.url("/reason"), "claims": claims, "redirect": l.answer.url("/redirect"),
			})
		}, func() { ask(good) })
	}
}

func TestTheRelayConnectsToNothingThatTokensKeysAnswersOrTheEnvironmentName(t *testing.T) {
	l, p := setLures(t), startPlatform(t)
	// The first answer to a fetch of keys redirects, the second is a set whose keys point elsewhere.
	p.baitKeys(l)
	r := launch(t, p, l.environ())
	l.lure(t, r, p)
	if p.validations.Load() == 0 || p.fetches.Load() < 2 {
		t.Errorf("the platform was asked %d times, and %d times for keys: the relay did not do its work",
			p.validations.Load(), p.fetches.Load())
	}
	l.empty(t)
}

// baitKeys makes the platform answer the first fetch of keys with a redirect, and later ones with keys that have URLs.
func (p *platform) baitKeys(l *lures) {
	keys := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if p.fetches.Load() == 1 {
			http.Redirect(w, q, l.redirect.url("/keys"), http.StatusTemporaryRedirect)
			return
		}
		answer := httptest.NewRecorder()
		issuer.ServeHTTP(answer, q)
		var set map[string]any
		if err := json.Unmarshal(answer.Body.Bytes(), &set); err != nil {
			panic(fmt.Sprintf("the issuer's keys: %v", err))
		}
		set["x5u"], set["next"], set["jwks_uri"] = l.keys.url("/set"), l.keys.url("/next"), l.keys.url("/uri")
		for _, key := range set["keys"].([]any) {
			key.(map[string]any)["x5u"] = l.keys.url("/x5u")
		}
		w.Header().Set("Link", "<"+l.keys.url("/link")+`>; rel="next"`)
		_ = json.NewEncoder(w).Encode(set)
	})
	p.keys.Store(&keys)
}
