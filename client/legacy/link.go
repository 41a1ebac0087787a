package legacy

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
	"github.com/getviewport/relay/internal/wsconn"
)

const (
	// pingEvery is how often the relay is asked whether it is there; a link that was silent for three times so long is
	// dead. Today's relays ping, too, but nobody notices when they stop.
	pingEvery = 25 * time.Second
	// batchBytes is how much of the frames that wait goes out in one write; of one that is longer, that one.
	batchBytes = 16 << 10
	// maxLoose bounds the frames that wait and belong to no session; more are dropped, and who waits for an answer to them
	// waits in vain.
	maxLoose = 256
	// keptBuffer is how large a buffer may be that is kept for the next message.
	keptBuffer = 64 << 10
	// closeLinger is how long a link that is closed here may take to get rid of what is due.
	closeLinger = 2 * time.Second
)

// link is one connection to the relay and the sessions on it, which end with it. One goroutine reads it and one writes
// it; end ends both.
type link struct {
	// Static after start.
	log   *slog.Logger
	conn  *wsconn.Conn
	stray func(l *link, frame any) // a frame of nobody here; must not block; nil: dropped
	since time.Time
	ctx   context.Context // ends with the link

	cancel   context.CancelFunc
	heard    atomic.Int64   // when the relay last showed that it is there, Unix nanoseconds
	wake     chan struct{}  // has an element when there may be something to send
	done     chan struct{}  // closed when the link has ended; err is set before
	finished sync.WaitGroup // reader, writer, and what stray started

	// mu guards what follows. It is taken after a session's lock, never before it.
	mu      sync.Mutex
	members map[string]*member // by the session id that envelopes have now
	waiting map[string]waiter  // for an answer, by request id
	ready   []*member          // want to send, each once, served in turn
	loose   [][]byte           // see maxLoose
	closing bool               // send what is due and then end
	err     *client.Error      // why the link ended; nil while it has not
}

// waiter waits for the answer to a request. Both methods are called by the reader and must not block.
type waiter interface {
	answer(frame any)
	fail(why *client.Error)
}

func newLink(log *slog.Logger, stray func(l *link, frame any)) *link {
	l := &link{
		log: log, stray: stray, wake: make(chan struct{}, 1), done: make(chan struct{}), since: time.Now(),
		members: make(map[string]*member), waiting: make(map[string]waiter),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// pong notes a sign of life; read is the other that does.
func (l *link) pong() { l.heard.Store(time.Now().UnixNano()) }

// start lets frames flow.
func (l *link) start() {
	l.pong()
	l.finished.Add(2)
	go l.read()
	go l.write()
}

func (l *link) read() {
	defer l.finished.Done()
	var buf []byte
	for {
		_, text, err := l.conn.ReadMessage(buf[:0])
		if err != nil {
			l.end(closeError(err))
			return
		}
		l.pong()
		l.receive(text)
		if buf = text; cap(buf) > keptBuffer {
			buf = nil
		}
	}
}

// receive handles one text, of which nothing is kept. What is not for anybody here is dropped.
func (l *link) receive(text []byte) {
	frame, err := legacycrypto.Parse(text)
	if err != nil {
		if code := statusCode(text); code != "" {
			l.status(code)
		} else {
			l.log.Debug("dropped a frame", "error", err)
		}
		return
	}
	switch f := frame.(type) {
	case *legacycrypto.Envelope:
		l.toMember(f.SessionID, f)
	case *legacycrypto.KeyUpdate:
		l.toMember(f.SessionID, f)
	case *legacycrypto.Response:
		l.toWaiter(f.RequestID, f)
	case *legacycrypto.OfferResponse:
		l.toWaiter(f.RequestID, f)
	case *legacycrypto.RedeemResponse:
		l.toWaiter(f.RequestID, f)
	default:
		if l.stray != nil {
			l.stray(l, frame)
		}
	}
}

func (l *link) toMember(id string, frame any) {
	l.mu.Lock()
	m := l.members[id]
	l.mu.Unlock()
	if m != nil {
		m.answer(frame)
	}
}

func (l *link) toWaiter(id string, frame any) {
	l.mu.Lock()
	w := l.waiting[id]
	l.mu.Unlock()
	if w != nil {
		w.answer(frame)
	}
}

// statusCode is the code of a relay_status, "" if text is none.
func statusCode(text []byte) legacywire.StatusCode {
	var fields map[string]json.RawMessage // names are matched exactly, unlike in a struct
	var kind, code string
	if len(text) > 8<<10 || json.Unmarshal(text, &fields) != nil || json.Unmarshal(fields["type"], &kind) != nil ||
		kind != "relay_status" || json.Unmarshal(fields["code"], &code) != nil {
		return ""
	}
	return legacywire.StatusCode(code)
}

// status handles a relay_status. It names no frame and no session.
func (l *link) status(code legacywire.StatusCode) {
	switch code {
	case legacywire.DaemonUnavailable:
		// Whatever keys a daemon had with us went with its link.
		l.endAll(session.Relay, &client.Error{
			Reason: client.PeerUnavailable, By: "relay", Text: "no daemon is attached; its sessions are gone with its link",
		})
	case legacywire.RelayRedirect:
		l.log.Warn("the relay says that another one has the daemon; redirects are not followed, change Config.URL")
	default:
		l.log.Warn("the relay refused a frame", "code", strconv.QuoteToASCII(string(code[:min(len(code), 64)])))
	}
}

// endAll ends all sessions, and whatever waits for an answer.
func (l *link) endAll(by session.Party, e *client.Error) {
	l.mu.Lock()
	members := make([]*member, 0, len(l.members))
	for _, m := range l.members {
		members = append(members, m)
	}
	waiters := make([]waiter, 0, len(l.waiting))
	for _, w := range l.waiting {
		waiters = append(waiters, w)
	}
	l.mu.Unlock()
	why := reason.New(reason.Code(e.Reason), "%s", e.Text)
	for _, m := range members {
		m.end(by, why)
	}
	for _, w := range waiters {
		w.fail(e)
	}
}

// await has the answer to a request given to w, until forget. It fails when the link has ended.
func (l *link) await(requestID string, w waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.waiting[requestID] = w
	return nil
}

func (l *link) forget(requestID string) {
	l.mu.Lock()
	delete(l.waiting, requestID)
	l.mu.Unlock()
}

// send queues a frame that belongs to no session.
func (l *link) send(text []byte) {
	l.mu.Lock()
	if len(l.loose) < maxLoose && l.err == nil {
		l.loose = append(l.loose, text)
	}
	l.mu.Unlock()
	l.wakeWriter()
}

func (l *link) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) write() {
	defer l.finished.Done()
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	var buf []byte
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
		case now := <-ticker.C:
			if now.UnixNano()-l.heard.Load() > int64(3*pingEvery) {
				l.end(&client.Error{Reason: client.LinkLost, By: "link", Text: "the relay does not answer"})
				return
			}
			l.conn.Ping()
		}
		for {
			out := l.nextBatch(buf[:0])
			if len(out) == 0 {
				break
			}
			if l.conn.Send(out) != nil {
				return // the reader learns why
			}
			if buf = out; cap(buf) > keptBuffer {
				buf = nil
			}
		}
		l.mu.Lock()
		closing := l.closing
		l.mu.Unlock()
		if closing {
			l.end(nil)
			return
		}
	}
}

// nextBatch appends frames as they go over the connection, of one session after the other.
func (l *link) nextBatch(dst []byte) []byte {
	for len(dst) < batchBytes {
		text := l.nextText()
		if text == nil {
			break
		}
		if len(dst) > 0 && len(dst)+len(text) > batchBytes {
			// It is long enough to be worth a write of its own, and copying it to a grown buffer is not worth one less.
			if l.conn.Send(dst) != nil {
				return nil
			}
			dst = dst[:0]
		}
		dst = l.conn.AppendMessage(dst, wsconn.Text, text)
	}
	return dst
}

// nextText is the next frame to go out; nil: there is none.
func (l *link) nextText() []byte {
	for {
		l.mu.Lock()
		if len(l.loose) > 0 {
			text := l.loose[0]
			l.loose[0] = nil
			l.loose = l.loose[1:]
			l.mu.Unlock()
			return text
		}
		if len(l.ready) == 0 {
			l.mu.Unlock()
			return nil
		}
		m := l.ready[0]
		l.ready[0] = nil
		l.ready = l.ready[1:]
		m.queued = false
		l.mu.Unlock()
		if text := m.transmit(); text != nil {
			return text
		}
	}
}

// end ends the link with e, once; nil: it was closed here. It does not wait: closeAndWait does.
func (l *link) end(e *client.Error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if l.closing || e == nil {
		e = errClosedHere
	}
	l.err = e
	l.ready, l.loose = nil, nil
	l.mu.Unlock()
	close(l.done)
	l.cancel()
	l.conn.End(wsconn.CodeNormal, "")
}

// closeAndWait sends what is due, ends the link and what is on it, and returns when its goroutines are gone.
func (l *link) closeAndWait() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.wakeWriter()
	timer := time.NewTimer(closeLinger)
	select {
	case <-l.done:
	case <-timer.C:
		l.conn.Abort() // the writer may be stuck
	}
	timer.Stop()
	l.end(nil)
	if l.err == errClosedHere {
		l.endAll(session.Local, errClosedHere)
	} else {
		l.endAll(session.Link, &client.Error{Reason: client.LinkLost, By: "link", Text: l.err.Text})
	}
	l.finished.Wait()
	_ = l.conn.Close()
}

var errClosedHere = &client.Error{Reason: client.Closed, By: "local", Text: "the link to the relay was closed here"}
