package hostilepath_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/getviewport/relay/internal/reason"
)

// queueBytes is how much a direction holds; then nothing more is read.
const queueBytes = 64 << 10

// conn is a connection of an endpoint and the one to the relay that belongs to it. Each direction has a goroutine
// that reads and one that writes.
type conn struct {
	// Static.
	path       *path
	directions [2]*direction
	closing    chan struct{} // closed with closed

	// Guarded by path.mu.
	faults    faults
	hpack     *hpack.Decoder // of what the relay says
	streams   map[uint32]*stream
	opened    int    // streams, so far
	highest   uint32 // stream, so far
	last      uint32 // stream that GOAWAY lets live
	goingAway bool
	settled   bool // told GOAWAY, and no stream is left
	swallowed bool // frames that would be missed
	closed    bool
}

// stream is one that is open.
type stream struct {
	moved [2]bool // since cutSilent
	ended [2]bool
}

// direction is one half of a conn.
type direction struct {
	// Static.
	conn     *conn
	index    int
	src, dst net.Conn

	// Guarded by path.mu.
	queue    []frame
	bytes    int  // of queue
	flushing int  // frames that buffering lets go
	ended    bool // nothing more comes from src
	writing  bool // a frame that left the queue
}

// newConn makes a connection with these faults. Called with path.mu held.
func newConn(p *path, endpoint, relay net.Conn, f faults) *conn {
	c := &conn{path: p, faults: f, streams: make(map[uint32]*stream), closing: make(chan struct{})}
	c.hpack = hpack.NewDecoder(4096, func(h hpack.HeaderField) {
		if code, _, ok := strings.Cut(h.Value, ":"); ok && h.Name == "grpc-message" {
			p.seen.reasons[code]++
		}
	})
	c.directions[up] = &direction{conn: c, index: up, src: endpoint, dst: relay}
	c.directions[down] = &direction{conn: c, index: down, src: relay, dst: endpoint}
	return c
}

// run returns when both sides are closed.
func (c *conn) run() {
	var running sync.WaitGroup
	for _, d := range c.directions {
		running.Go(d.read)
		running.Go(d.write)
	}
	running.Wait()
	c.path.mu.Lock()
	defer c.path.mu.Unlock()
	delete(c.path.conns, c)
	c.path.cond.Broadcast()
}

// close ends both sides. Called with path.mu held.
func (c *conn) close(rst bool) {
	if c.closed {
		return
	}
	c.closed = true
	close(c.closing)
	for _, d := range c.directions {
		if rst {
			c.path.seen.resets++
			reset(d.src)
		} else {
			_ = d.src.Close()
		}
	}
	c.path.cond.Broadcast()
}

// heed acts on changed faults. Called with path.mu held.
func (c *conn) heed() {
	if c.swallowed && c.faults.swallow == [2]bool{} {
		c.close(true)
	}
	if c.faults.goAway > 0 && c.opened >= c.faults.goAway {
		c.sendGoAway()
	}
}

// sendGoAway tells the endpoint to open no more streams here. Called with path.mu held.
func (c *conn) sendGoAway() {
	if c.goingAway {
		return
	}
	c.goingAway, c.last = true, c.highest
	c.path.seen.goAways++
	c.directions[down].push(goAway(c.last))
	c.settle()
}

// settle ends a connection that was told GOAWAY when its streams have ended. Called with path.mu held.
func (c *conn) settle() {
	if c.goingAway && len(c.streams) == 0 {
		c.settled = true
		for _, d := range c.directions {
			d.ended = true
		}
		c.path.cond.Broadcast()
	}
}

// cutSilent is path.cutSilent for one connection. Called with path.mu held.
func (c *conn) cutSilent(code http2.ErrCode) {
	for id, s := range c.streams {
		if s.moved == [2]bool{true, true} {
			s.moved = [2]bool{}
			continue
		}
		c.path.seen.cut++
		c.directions[up].push(resetStream(id, code))
		c.directions[down].push(resetStream(id, code))
		delete(c.streams, id)
	}
	c.settle()
}

// note follows the streams of a connection, and reports whether f opens one that GOAWAY refuses. Called with path.mu
// held.
func (c *conn) note(index int, f frame) (refused bool) {
	s := c.streams[f.StreamID]
	if index == down {
		c.noteReason(f)
	}
	switch {
	case f.Type == http2.FrameHeaders && index == up && s == nil && f.StreamID > c.highest:
		c.highest = f.StreamID
		if c.goingAway && f.StreamID > c.last {
			c.path.seen.refused++
			return true
		}
		s = &stream{moved: [2]bool{true, true}}
		c.streams[f.StreamID] = s
		c.opened++
		c.path.seen.streams++
		if c.faults.goAway > 0 && c.opened >= c.faults.goAway {
			c.sendGoAway()
		}
	case f.Type == http2.FrameRSTStream:
		delete(c.streams, f.StreamID)
	case f.Type == http2.FrameData && index == down && bytes.Contains(f.payload(), []byte(reason.Probe)):
		c.path.seen.probes++
	}
	if s == nil {
		return false
	}
	if f.Type == http2.FrameData || f.Type == http2.FrameHeaders {
		s.moved[index] = true
	}
	if f.endsStream() {
		s.ended[index] = true
	}
	if s.ended == [2]bool{true, true} {
		delete(c.streams, f.StreamID)
	}
	return false
}

// noteReason counts what the relay ends a stream with. Called with path.mu held.
func (c *conn) noteReason(f frame) {
	block := f.payload()
	switch {
	case f.Type == http2.FrameHeaders:
		framer := http2.NewFramer(nil, bytes.NewReader(f.raw))
		if h, err := framer.ReadFrame(); err == nil {
			block = h.(*http2.HeadersFrame).HeaderBlockFragment()
		}
	case f.Type != http2.FrameContinuation:
		return
	}
	// What it can't read the endpoint can't either, which is not the path's business.
	_, _ = c.hpack.Write(block)
	if f.Flags.Has(http2.FlagHeadersEndHeaders) {
		_ = c.hpack.Close()
	}
}

// read queues what comes from src.
func (d *direction) read() {
	next := readFrame
	if d.index == up {
		next = readPreface
	}
	for d.room() {
		f, err := next(d.src)
		if err != nil {
			break
		}
		next = readFrame
		d.arrived(f)
	}
	d.conn.path.mu.Lock()
	defer d.conn.path.mu.Unlock()
	d.ended = true
	d.conn.path.cond.Broadcast()
}

// room waits until there is some; it is false when the connection is closed.
func (d *direction) room() bool {
	p := d.conn.path
	p.mu.Lock()
	defer p.mu.Unlock()
	for !d.conn.closed && d.bytes >= max(queueBytes, d.conn.faults.buffer) {
		p.cond.Wait()
	}
	return !d.conn.closed
}

// arrived decides what becomes of a frame from src.
func (d *direction) arrived(f frame) {
	c := d.conn
	p := c.path
	p.mu.Lock()
	defer p.mu.Unlock()
	ping, ack := f.ping()
	switch {
	case c.faults.swallow[d.index]:
		c.swallowed = true
		p.seen.lost[d.index]++
		p.cond.Broadcast()
		return
	case ping && c.faults.pings == swallowed, ping && !ack && c.faults.pings == answered:
		p.seen.pings++
		p.cond.Broadcast()
		if c.faults.pings == answered {
			c.directions[1-d.index].push(pong(f))
		}
		return
	}
	if c.faults.delay > 0 {
		f.due = time.Now().Add(c.faults.delay)
	}
	refused := c.note(d.index, f)
	d.push(f)
	if refused {
		// The endpoint takes the stream for unseen and opens it again elsewhere. Its header block had to reach the relay all
		// the same, for it changes HPACK's table.
		d.push(resetStream(f.StreamID, http2.ErrCodeCancel))
	}
	c.settle()
}

// push queues a frame for dst. Called with path.mu held.
func (d *direction) push(f frame) {
	d.queue = append(d.queue, f)
	d.bytes += len(f.raw)
	d.conn.path.cond.Broadcast()
}

// write forwards what is queued.
func (d *direction) write() {
	for {
		f, trickle, ok := d.take()
		if !ok {
			break
		}
		if wait := time.Until(f.due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-d.conn.closing:
			}
		}
		if d.put(f.raw, trickle) != nil {
			d.broken()
			break
		}
		d.forwarded(f)
	}
	d.conn.path.mu.Lock()
	defer d.conn.path.mu.Unlock()
	d.conn.close(false)
}

func (d *direction) put(raw []byte, trickle bool) error {
	if !trickle {
		_, err := d.dst.Write(raw)
		return err
	}
	for i := range raw {
		if _, err := d.dst.Write(raw[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// take waits for the next frame to forward; ok is false when there will be none.
func (d *direction) take() (f frame, trickle, ok bool) {
	c := d.conn
	p := c.path
	p.mu.Lock()
	defer p.mu.Unlock()
	d.writing = false
	p.cond.Broadcast()
	for ; ; p.cond.Wait() {
		switch i := d.front(); {
		case c.closed:
			return frame{}, false, false
		case c.faults.hold[d.index]:
		case i >= 0:
			f = d.queue[i]
			d.queue = append(d.queue[:i:i], d.queue[i+1:]...)
			d.bytes -= len(f.raw)
			d.flushing = max(d.flushing-1, 0)
			d.writing = true
			p.cond.Broadcast()
			return f, c.faults.trickle, true
		case d.ended && len(d.queue) == 0 && (!c.settled || c.directions[1-d.index].idle()):
			return frame{}, false, false
		}
	}
}

// idle reports whether nothing is under way. Called with path.mu held.
func (d *direction) idle() bool { return len(d.queue) == 0 && !d.writing }

// front is the place of the next frame that may go; -1: none may. A path that buffers keeps DATA back, and lets flow
// control and PINGs pass it; anything else pushes out what waits before it, as the end of a stream does at a
// terminator.
func (d *direction) front() int {
	if len(d.queue) == 0 {
		return -1
	}
	if d.conn.faults.buffer == 0 || d.flushing > 0 || d.ended {
		return 0
	}
	waiting, passing := 0, -1
	for i, f := range d.queue {
		switch {
		case f.Type == http2.FrameData && !f.endsStream():
			waiting += len(f.payload())
		case f.Type == http2.FrameWindowUpdate || f.Type == http2.FramePing:
			if passing < 0 {
				passing = i
			}
		default:
			return 0
		}
	}
	if waiting >= d.conn.faults.buffer {
		d.flushing = len(d.queue)
		return 0
	}
	return passing
}

// forwarded counts a frame that was written.
func (d *direction) forwarded(f frame) {
	p := d.conn.path
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Type == http2.FrameData {
		p.seen.data[d.index]++
	}
	p.seen.bytes[d.index] += len(f.raw)
	p.cond.Broadcast()
}

// broken waits, when dst has gone, until src may hear of it: not before the other direction has no black hole.
func (d *direction) broken() {
	p := d.conn.path
	p.mu.Lock()
	defer p.mu.Unlock()
	for !d.conn.closed && d.conn.faults.hold[1-d.index] {
		p.cond.Wait()
	}
}
