package devplatform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const validatePath = "/api/runtime/internal/relay/validate"

// maxBody is the longest request that is read, in bytes.
const maxBody = 64 << 10

// Config says what tokens say and what validate wants. The zero Config is what a relay expects unless it is told
// otherwise.
type Config struct {
	// Issuer and Audience are the claims iss and aud; empty: viewport-server and viewport-relay.
	Issuer, Audience string
	// InternalKey, if set, is what validate wants in header x-relay-internal-key.
	InternalKey string
	// ValidateTime is how long each validate call takes, as one over a network does; 0: as long as the work takes.
	ValidateTime time.Duration
}

// Server is a platform. It is an http.Handler that can be used by itself; Start makes it listen.
type Server struct {
	// Static.
	config  Config
	keys    []key
	jwks    []byte
	mux     *http.ServeMux
	closing chan struct{} // closed by Close: ends handlers that wait
	http    *http.Server

	mu sync.Mutex
	// Guarded by mu.
	revocations map[claim]bool
	daemonKeys  map[place]string
	faults      map[Endpoint]Fault
	calls       Calls
	validating  int    // validate calls that are being answered
	url         string // empty before Start
	closed      bool

	// handlers are the requests being answered and the goroutine that Start starts. Added to under mu, unless closed.
	handlers sync.WaitGroup
}

// New returns a platform with fresh keys. It takes some 100 ms: RSA.
func New(config Config) (*Server, error) {
	if config.Issuer == "" {
		config.Issuer = "viewport-server"
	}
	if config.Audience == "" {
		config.Audience = "viewport-relay"
	}
	keys, err := newKeys()
	if err != nil {
		return nil, err
	}
	set, err := jwks(keys)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: config, keys: keys, jwks: set, closing: make(chan struct{}),
		revocations: map[claim]bool{}, daemonKeys: map[place]string{}, faults: map[Endpoint]Fault{},
	}
	s.mux = s.routes()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	return s, nil
}

// Start serves on ln, which Close closes, until Close. It returns at once. It refuses an address that other machines
// can reach, and to start twice; ln is the caller's then.
func (s *Server) Start(ln net.Listener) error {
	if !loopbackAddr(ln.Addr()) {
		return fmt.Errorf("devplatform: %v is not a loopback address: this platform gives tokens to anybody", ln.Addr())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.url != "" {
		return errors.New("devplatform: started already, or closed")
	}
	s.url = "http://" + ln.Addr().String()
	s.handlers.Go(func() { _ = s.http.Serve(ln) })
	return nil
}

// Close ends all requests and waits until they are gone. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	err := s.http.Close()
	s.handlers.Wait()
	return err
}

// URL returns http://host:port; empty before Start.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// JWKSURL returns the address of the keys.
func (s *Server) JWKSURL() string { return s.URL() + "/.well-known/jwks.json" }

// ValidateURL returns the address of the validate call.
func (s *Server) ValidateURL() string { return s.URL() + validatePath }

// ServeHTTP answers one request. One that came in by an address that other machines can reach is refused.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	s.handlers.Add(1)
	s.mu.Unlock()
	defer s.handlers.Done()
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !loopbackAddr(local) {
		http.Error(w, "loopback only", http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	keys := s.faulty(JWKS, func(c *Calls) { c.JWKS++ }, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "application/json")
		_, _ = w.Write(s.jwks)
	})
	mux.Handle("GET /.well-known/jwks.json", keys)
	mux.Handle("GET /api/.well-known/jwks.json", keys)
	mux.Handle("POST "+validatePath, s.together(s.faulty(Validate, func(c *Calls) { c.Validate++ }, s.validate)))
	mux.HandleFunc(redirectPath, func(w http.ResponseWriter, _ *http.Request) {
		s.enter(0, func(c *Calls) { c.Redirected++ })
		w.WriteHeader(http.StatusNotFound)
	})
	mux.Handle("POST /dev/tokens", byHand(func(w http.ResponseWriter, r *http.Request) {
		s.enter(0, func(c *Calls) { c.Tokens++ })
		var wanted map[string]any
		if err := decode(w, r, &wanted); err != nil {
			answer(w, http.StatusBadRequest, problem{err.Error()})
			return
		}
		token, err := s.mintWanted(wanted)
		if err != nil {
			answer(w, http.StatusBadRequest, problem{err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]string{"token": token})
	}))
	mux.Handle("POST /dev/revoke", byHand(subject(s.Revoke)))
	mux.Handle("POST /dev/restore", byHand(subject(s.Restore)))
	s.legacyRoutes(mux)
	return mux
}

type problem struct {
	Error string `json:"error"`
}

func subject(do func(Subject)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var subject Subject
		if err := decodeKnown(w, r, &subject); err != nil || len(subject.claims()) == 0 {
			answer(w, http.StatusBadRequest, problem{"devplatform: want jti, installId or workspaceId in a JSON object"})
			return
		}
		do(subject)
		answer(w, http.StatusOK, map[string]bool{"ok": true})
	}
}

func (s *Server) faulty(e Endpoint, count func(*Calls), next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.enter(e, count); f != NoFault {
			s.fail(w, r, f)
			return
		}
		next(w, r)
	})
}

// byHand is for what a person or a test asks, never a web page: a page that somebody reads while developing here must
// not get a token. Browsers name the page in Origin; one that has a name of its own pointed here names it in Host.
func byHand(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopbackHost(r.Host) || r.Header.Get("origin") != "" {
			answer(w, http.StatusForbidden, problem{"devplatform: ask by a loopback address, from no web page"})
			return
		}
		next(w, r)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("content-type", "application/json")
	w.Header().Set("cache-control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// decode reads one JSON value into v.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	return decodeWith(json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)), v)
}

// decodeKnown is decode, for what has no other members than v.
func decodeKnown(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	return decodeWith(d, v)
}

func decodeWith(d *json.Decoder, v any) error {
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("devplatform: no JSON object of at most 64 KiB: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("devplatform: more than one JSON value")
	}
	return nil
}

func discard(w http.ResponseWriter, r *http.Request) error {
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
	return err
}

func loopbackAddr(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// loopbackHost reports whether a Host header names this machine, and not by a name that somebody points at it (DNS
// rebinding).
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}
