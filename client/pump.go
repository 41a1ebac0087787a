package client

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// read hands what arrives to the sessions. It never waits for an application: a session's machine takes every frame.
func (l *link) read() {
	defer l.finished.Done()
	limits := envelope.Limits{MaxEnvelope: l.relay.maxEnvelope, MaxBatch: 64 << 10}
	var b envelope.Batch
	defer b.Free()
	for {
		if err := l.over.receive(&b); err != nil {
			l.end(linkError(err))
			return
		}
		now := time.Now()
		l.lastRecv.Store(now.UnixNano())
		err := b.Split(limits)
		for i, f := range b.Frames() {
			l.receive(&f.Header, b.Ciphertext(i), now)
		}
		b.Free()
		if err != nil {
			l.end(&Error{Reason: LinkLost, By: "link", Text: "what came from the relay is no envelope", cause: err})
			return
		}
	}
}

// receive handles one envelope.
func (l *link) receive(h *envelope.Header, ciphertext []byte, now time.Time) {
	var status envelope.Status
	if len(h.Session) == 0 {
		if len(h.Status) > 0 {
			var err error
			if status, err = envelope.DecodeStatus(h.Status); err != nil {
				return
			}
		}
		switch h.Type {
		case relayv1.FrameType_FRAME_TYPE_HEARTBEAT:
			if status.Code == reason.Probe {
				l.reply(envelope.AppendHeartbeat(nil, l.cfg.Workspace, l.cfg.Target, false))
			}
		case relayv1.FrameType_FRAME_TYPE_STATUS:
			l.keeper.status(l, status, now)
		}
		return
	}
	l.keeper.receive(l, h, ciphertext, now)
}

// askToLeave lets the keeper replace this link after a while.
func (l *link) askToLeave(after time.Duration) {
	select {
	case l.leave <- after:
	default:
	}
}

// watch ends a link that has been silent for three heartbeat intervals. It runs by itself: the writer of a link that is
// a black hole is stuck in it.
func (l *link) watch() {
	silent := time.Since(time.Unix(0, l.lastRecv.Load()))
	if silent > 3*l.relay.heartbeat {
		l.end(&Error{Reason: LinkLost, By: "link", Text: "nothing came from the relay for three heartbeat intervals"})
		return
	}
	l.mu.Lock()
	if l.err == nil {
		l.watchdog.Reset(l.relay.heartbeat / 2)
	}
	l.mu.Unlock()
}

// write sends what sessions and link have to send, and a heartbeat when they had nothing for an interval.
func (l *link) write() {
	defer l.finished.Done()
	var beat <-chan time.Time
	if l.relay.heartbeat > 0 {
		ticker := time.NewTicker(l.relay.heartbeat / 2)
		defer ticker.Stop()
		beat = ticker.C
	}
	lastSent := time.Now()
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
		case now := <-beat:
			// Half an interval early, so that ticks that straddle it never make the pause longer than the interval.
			if now.Sub(lastSent) >= l.relay.heartbeat/2 {
				l.reply(envelope.AppendHeartbeat(nil, l.cfg.Workspace, l.cfg.Target, false))
			}
		}
		for {
			out, frames := l.nextBatch()
			if frames == 0 {
				break
			}
			var o envelope.Outgoing
			o.Add(envelope.RunOf(out, frames))
			err := l.over.send(&o)
			o.Free() // what the transport did not take
			if err != nil {
				// The reader gets the status that explains it.
				return
			}
			lastSent = time.Now()
		}
		l.mu.Lock()
		closing := l.closing
		l.mu.Unlock()
		if closing {
			l.over.closeSend()
			return
		}
	}
}

// nextBatch makes one message: of the link's own replies, or of the session whose turn it is.
func (l *link) nextBatch() (out []byte, frames int) {
	l.mu.Lock()
	if len(l.replies) > 0 {
		for len(l.replies) > 0 && (frames == 0 || len(out)+len(l.replies[0]) <= batchBytes) {
			out = append(out, l.replies[0]...)
			l.replies = l.replies[1:]
			frames++
		}
		l.mu.Unlock()
		return out, frames
	}
	for len(l.ready) > 0 {
		s := l.ready[0]
		l.ready[0] = nil
		l.ready = l.ready[1:]
		l.mu.Unlock()
		out, frames = s.transmit(l, batchBytes)
		if frames > 0 {
			return out, frames
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
	return nil, 0
}

// wants puts s into the turn of those that want to send. Called with s.mu held.
func (l *link) wants(s *Session) {
	if s.queued != l {
		s.queued = l
		l.mu.Lock()
		if l.err == nil {
			l.ready = append(l.ready, s)
		}
		l.mu.Unlock()
	}
	l.wakeWriter()
}

// reply queues an envelope that belongs to no session here.
func (l *link) reply(e []byte) {
	l.mu.Lock()
	if len(l.replies) < maxReplies && l.err == nil {
		l.replies = append(l.replies, e)
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

// end ends the link with e, once. It does not wait: closeAndWait does.
func (l *link) end(e *Error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if l.closing || e == nil {
		e = &Error{Reason: Closed, By: "local", Text: "the link was closed here"}
	}
	l.err = e
	l.ready, l.replies = nil, nil
	if l.watchdog != nil {
		l.watchdog.Stop()
	}
	l.mu.Unlock()
	close(l.done)
	l.over.cancel()
}

// closeAndWait sends what is due, ends the link, and returns when its goroutines are gone. The relay's end of the stream
// shows that it has read everything; it gets closeLinger for that.
func (l *link) closeAndWait() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.wakeWriter()
	timer := time.NewTimer(closeLinger)
	select {
	case <-l.done:
	case <-timer.C:
	}
	timer.Stop()
	l.end(nil)
	l.finished.Wait()
	l.over.close()
}
