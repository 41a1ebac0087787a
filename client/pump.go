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
		if err := l.stream.RecvMsg(&b); err != nil {
			l.end(linkError(err))
			return
		}
		now := time.Now()
		l.mu.Lock()
		l.lastRecv = now
		l.mu.Unlock()
		err := b.Split(limits)
		for i, f := range b.Frames() {
			l.receive(&f.Header, b.Ciphertext(i), now)
		}
		b.Free()
		if err != nil {
			l.end(&Error{Reason: Reason(reason.FrameInvalid), By: "local", Text: "the relay sent what is no envelope", cause: err})
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
			l.status(status, now)
		}
		return
	}
	l.mu.Lock()
	s := l.sessions[string(h.Session)]
	l.mu.Unlock()
	if s != nil {
		s.receive(h, ciphertext, now)
	} else if l.orphan != nil {
		l.orphan(h, ciphertext)
	}
}

// status handles a STATUS about the whole link: a reason that ends streams is followed by the end of this one, which
// reports it; the others concern every session.
func (l *link) status(st envelope.Status, now time.Time) {
	for _, s := range l.all() {
		s.linkStatus(st, now)
	}
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
			l.mu.Lock()
			silent := now.Sub(l.lastRecv)
			l.mu.Unlock()
			if silent > 3*l.relay.heartbeat {
				l.end(&Error{Reason: LinkLost, By: "link",
					Text: "nothing came from the relay for three heartbeat intervals"})
				return
			}
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
			err := l.stream.SendMsg(&o)
			o.Free() // what gRPC did not take
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
			_ = l.stream.CloseSend()
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
		s.queued = false
		l.mu.Unlock()
		out, frames = s.transmit(batchBytes)
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
	l.mu.Lock()
	if !s.queued && l.err == nil {
		s.queued = true
		l.ready = append(l.ready, s)
	}
	l.mu.Unlock()
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

// add registers a session; it fails once the link has ended.
func (l *link) add(s *Session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.sessions[s.id] = s
	return nil
}

// remove forgets a session whose machine has nothing left to do on the wire.
func (l *link) remove(s *Session) {
	l.mu.Lock()
	if l.sessions[s.id] == s {
		delete(l.sessions, s.id)
	}
	l.mu.Unlock()
}

func (l *link) all() []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Session, 0, len(l.sessions))
	for _, s := range l.sessions {
		all = append(all, s)
	}
	return all
}

// end ends the link with e, once, and its sessions with it. It does not wait: closeAndWait does.
func (l *link) end(e *Error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if l.closing {
		e = &Error{Reason: Closed, By: "local", Text: "the link was closed here"}
	}
	l.err = e
	l.ready, l.replies = nil, nil
	l.mu.Unlock()
	close(l.done)
	l.cancel()
	for _, s := range l.all() {
		s.linkLost(e)
	}
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
	_ = l.conn.Close()
}
