// Package worker is the worker transport: it asks the platform what today's workers want to ask it through the relay,
// and writes the replies. It carries the workers' credentials for the platform, so it is made only where an operator
// has switched it on.
//
// A worker reaches its own executor's calls and nothing else: the path is checked and then sent as it is (it is
// signed), no redirect is followed, and time, sizes and the number of requests are bounded. Nothing of a request or of
// an answer is logged, only that it failed.
//
// Who is a worker, how many frames it may send and how replies reach it is the bridge's business.
package worker

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/server/internal/admission"
)

// Config says whom to ask, and how much.
type Config struct {
	// Platform is the platform's URL, http or https. Its path is dropped: a request brings a whole one.
	Platform *url.URL
	// HTTP gives the transport to use; nothing else of it is. Nil: one as the admission has, whose connections end with
	// Close.
	HTTP *http.Client
	// Timeout bounds a request as a whole; 0: 30 s.
	Timeout time.Duration
	// MaxRequest is the longest body of a request in bytes, MaxResponse the longest of an answer; 0: 1 MiB. A reply's text
	// is at most twice MaxResponse and 64 KiB, beside the request's id.
	MaxRequest, MaxResponse int
	// PerLink is how many requests of one link run at once, Concurrency how many of all; 0: 8 and 64.
	PerLink, Concurrency int
	// Log gets requests that were not answered; nil: nothing.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	or(&c.Timeout, 30*time.Second)
	or(&c.MaxRequest, 1<<20)
	or(&c.MaxResponse, 1<<20)
	or(&c.PerLink, 8)
	or(&c.Concurrency, 64)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func or[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// problem returns what keeps c from working, nil if nothing does. No value is quoted: a URL may hold a secret.
func (c Config) problem() error {
	switch u := c.Platform; {
	case u == nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return errors.New("worker: Config.Platform is no URL that starts with https:// or http:// and has a host")
	case u.User != nil:
		return errors.New("worker: Config.Platform has a user name or password")
	case min(c.MaxRequest, c.MaxResponse, c.PerLink, c.Concurrency) < 1 || c.Timeout < 0:
		return errors.New("worker: a limit of Config is negative")
	}
	return nil
}

// Forwarder forwards the requests of all workers. It is safe for concurrent use.
type Forwarder struct {
	// Static.
	cfg    Config
	client *http.Client
	own    bool          // client's transport is ours
	slots  chan struct{} // holds one for each request that runs

	forwarded, denied, tooLarge, busy, failed atomic.Uint64
}

// New returns a Forwarder, or what is wrong with cfg. It connects to nothing yet.
func New(cfg Config) (*Forwarder, error) {
	cfg = cfg.withDefaults()
	if err := cfg.problem(); err != nil {
		return nil, err
	}
	f := &Forwarder{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency)}
	f.client, f.own = admission.NewClient(cfg.HTTP, cfg.Concurrency)
	return f, nil
}

// Close closes the connections that are idle. Call it when no Link is in use any more.
func (f *Forwarder) Close() {
	if f.own {
		f.client.CloseIdleConnections()
	}
}

// Stats count requests since the start; each is in one of them when it has its reply.
type Stats struct {
	// Forwarded were answered by the platform, whatever it said.
	Forwarded uint64
	// Denied were for paths that are not the executor's, TooLarge had too long a body, and Busy came while as many as may
	// were running.
	Denied, TooLarge, Busy uint64
	// Failed got no answer, or one that can't be passed on; or their link ended.
	Failed uint64
	// Running is how many run now.
	Running int
}

// Stats returns the counts as they are now.
func (f *Forwarder) Stats() Stats {
	return Stats{
		Forwarded: f.forwarded.Load(), Denied: f.denied.Load(), TooLarge: f.tooLarge.Load(), Busy: f.busy.Load(),
		Failed: f.failed.Load(), Running: len(f.slots),
	}
}
