package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getviewport/relay/internal/legacywire"
)

// held is a platform that answers when it is told to.
type held struct {
	*platform
	arrived chan struct{}
	release chan struct{}
}

func holdPlatform(t *testing.T) *held {
	t.Helper()
	h := &held{arrived: make(chan struct{}, 1000), release: make(chan struct{})}
	h.platform = startPlatform(t, func(_ http.ResponseWriter, r *http.Request) {
		h.arrived <- struct{}{}
		select {
		case <-h.release:
		case <-r.Context().Done():
		}
	})
	return h
}

func TestRequestsBeyondTheLimitsAreToldThatTheTransportIsBusyAndNobodyElseIs(t *testing.T) {
	p := holdPlatform(t)
	f := forwarder(t, p.URL, Config{PerLink: 2, Concurrency: 3})
	greedy, other, late := f.Link("ws", "e1"), f.Link("ws", "e1"), f.Link("ws", "e1")
	var replies []<-chan []byte
	for range 2 {
		replies = append(replies, start(t.Context(), greedy, legacywire.Request{}))
	}
	for range 3 {
		wantRefusal(t, ask(t, greedy, legacywire.Request{}), 503, busy) // its own limit
	}
	replies = append(replies, start(t.Context(), other, legacywire.Request{}))
	for range 3 {
		wantRefusal(t, ask(t, late, legacywire.Request{}), 503, busy) // everybody's
	}
	for range 3 {
		<-p.arrived
	}
	if s := f.Stats(); s != (Stats{Busy: 6, Running: 3}) {
		t.Errorf("got %+v, want 6 busy and 3 running", s)
	}
	close(p.release)
	for _, reply := range replies {
		if a := parse(t, <-reply); a.Status != 200 {
			t.Errorf("got %+v, want 200", a)
		}
	}
	for _, l := range []*Link{greedy, other, late} {
		l.Wait()
		for range 2 {
			if a := ask(t, l, legacywire.Request{}); a.Status != 200 {
				t.Errorf("afterwards: got %+v, want 200", a)
			}
			l.Wait()
		}
	}
	if s := f.Stats(); s != (Stats{Forwarded: 9, Busy: 6}) {
		t.Errorf("got %+v, want 9 forwarded and 6 busy", s)
	}
}

func TestHundredsAtOnceNeverExceedALimitAndEachGetsItsOwnReply(t *testing.T) {
	const links, requests = 20, 30
	var now atomic.Int64
	p := startPlatform(t, func(w http.ResponseWriter, r *http.Request) {
		if now.Add(1) > 8 {
			t.Error("more than 8 at once")
		}
		_, _ = io.WriteString(w, strings.TrimPrefix(r.RequestURI, ownPath+"/"))
		now.Add(-1) // the answer goes when this returns
	})
	f := forwarder(t, p.URL, Config{PerLink: 4, Concurrency: 8})
	var running sync.WaitGroup
	for range links {
		running.Go(func() {
			l := f.Link("ws", "e1")
			var replies atomic.Int64
			for i := range requests {
				id := strconv.Itoa(10 + i)
				r := &legacywire.Request{Method: http.MethodGet, Path: ownPath + "/" + id}
				if i == 0 {
					r.Path = "/"
				}
				requestID := []byte(id)
				l.Go(t.Context(), requestID, r, func(text []byte) {
					replies.Add(1)
					a := parse(t, text)
					if a.RequestID != id || a.Status != 200 && a.Status != 503 && i > 0 || a.Status == 200 && a.Body != id {
						t.Errorf("%s: got %+v", id, a)
					}
				})
				requestID[0] = '!' // it is the caller's again
			}
			l.Wait()
			if n := replies.Load(); n != requests {
				t.Errorf("got %d replies, want %d", n, requests)
			}
		})
	}
	running.Wait()
	s := f.Stats()
	if s.Forwarded == 0 || s.Denied != links || s.Forwarded+s.Busy != links*(requests-1) || s.Running != 0 {
		t.Errorf("got %+v, want each of %d in it", s, links*requests)
	}
}

func TestRepliesThatCantGoAreBoundedByTheLink(t *testing.T) {
	p := startPlatform(t, func(http.ResponseWriter, *http.Request) {})
	f := forwarder(t, p.URL, Config{PerLink: 2})
	l := f.Link("ws", "e1")
	wait, entered := make(chan struct{}), make(chan struct{}, 2)
	for range 2 {
		l.Go(t.Context(), nil, &legacywire.Request{Method: http.MethodGet, Path: ownPath}, func([]byte) {
			entered <- struct{}{}
			<-wait
		})
	}
	<-entered
	<-entered
	wantRefusal(t, ask(t, l, legacywire.Request{}), 503, busy)
	if n := f.Stats().Running; n != 0 {
		t.Errorf("got %d running, want 0: the platform has answered", n)
	}
	close(wait)
	l.Wait()
}

func TestWhenALinkEndsItsRequestsEndAndNothingIsLeft(t *testing.T) {
	p := holdPlatform(t)
	var log bytes.Buffer
	f := forwarder(t, p.URL, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	l := f.Link("ws", "e1")
	ctx, cancel := context.WithCancel(t.Context())
	var replies []<-chan []byte
	for range 8 {
		replies = append(replies, start(ctx, l, legacywire.Request{Method: http.MethodPost}))
	}
	for range 8 {
		<-p.arrived
	}
	cancel()
	l.Wait()
	for _, reply := range replies {
		wantRefusal(t, parse(t, <-reply), 502, failed)
	}
	wantRefusal(t, parse(t, <-start(ctx, l, legacywire.Request{})), 502, failed) // a last one
	l.Wait()
	if s := f.Stats(); s != (Stats{Failed: 9}) || log.Len() != 0 {
		t.Errorf("got %+v and log %q, want 9 failed and no log", s, &log)
	}
}

// pipes is a listener whose connections are in memory, so that time can be faked.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, errors.New("closed")
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestAPlatformThatHangsFailsAfterHalfAMinute(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"before its answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the middle of it": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"all the time": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, ".")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(7 * time.Second):
				case <-r.Context().Done():
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{make(chan net.Conn), make(chan struct{})}
				server := &http.Server{Handler: handler}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = server.Serve(p)
				}()
				transport := &http.Transport{DialContext: p.dial}
				var log bytes.Buffer
				f := forwarder(t, "http://platform.test", Config{
					HTTP: &http.Client{Transport: transport}, Log: slog.New(slog.NewTextHandler(&log, nil)),
				})
				began := time.Now()
				wantRefusal(t, ask(t, f.Link("ws", "e1"), legacywire.Request{}), 502, failed)
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("got the reply after %v, want 30s", took)
				}
				if !strings.Contains(log.String(), "duration=30s kind=timeout") {
					t.Errorf("got log %q, want a timeout after 30s", &log)
				}
				transport.CloseIdleConnections()
				_ = server.Close()
				<-ended
			})
		})
	}
}
