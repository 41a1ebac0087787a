package hostile_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"testing"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/relaytest"
)

const (
	// burst is how many messages the witness has under way in each direction. All of a burst together are below the
	// 32 KiB that a session may queue when the relay is over its budget.
	burst = 4
	// longest is the longest message of the witness in bytes.
	longest = 6000
)

// witness is a session of a tenant that does nothing wrong: a client sends numbered messages and the daemon answers each
// with one of its own. It runs until it has exchanged what was granted, and rests then.
type witness struct {
	// Static.
	session *client.Session // the client's end
	target  string
	running sync.WaitGroup

	mu   sync.Mutex
	cond *sync.Cond // something of what follows changed
	// Guarded by mu: how many messages each way are granted and exchanged, and whether it is to end.
	granted, exchanged uint64
	stopping           bool
	err                error
}

// watch starts a witness for ends. Whoever calls it calls end: then every message must have come, and a clean end.
func watch(ctx context.Context, t *testing.T, relay *relaytest.Relay, ends *relaytest.Ends) (w *witness, end func()) {
	t.Helper()
	listener, err := client.Listen(ctx, relay.ListenConfig(ends))
	if err != nil {
		t.Fatalf("the witness's daemon: %v", err)
	}
	c, err := client.Dial(ctx, relay.DialConfig(ends))
	if err != nil {
		t.Fatalf("the witness's client: %v", err)
	}
	up, err := c.Open(ctx)
	if err != nil {
		t.Fatalf("the witness's session: %v", err)
	}
	down, err := listener.Accept(ctx)
	if err != nil {
		t.Fatalf("the witness's session at its daemon: %v", err)
	}
	w = &witness{session: up, target: ends.Workspace + "/" + ends.Target}
	w.cond = sync.NewCond(&w.mu)
	stop := context.AfterFunc(ctx, w.cond.Broadcast)
	w.running.Go(func() { w.note(w.asks(ctx, up)) })
	w.running.Go(func() { w.note(w.answers(ctx, down)) })
	return w, func() {
		w.mu.Lock()
		w.stopping = true
		w.cond.Broadcast()
		w.mu.Unlock()
		w.running.Wait()
		if w.err != nil {
			t.Errorf("the witness %s: %v", w.target, w.err)
		}
		stop()
		_ = c.Close()
		_ = listener.Close()
	}
}

// asks is the client's loop: it sends a burst and takes the answers.
func (w *witness) asks(ctx context.Context, s *client.Session) error {
	for n := uint64(0); w.next(n); n += burst {
		for i := range uint64(burst) {
			if err := s.Send(ctx, message('u', n+i)); err != nil {
				return fmt.Errorf("message %d up: %w", n+i, err)
			}
		}
		for i := range uint64(burst) {
			if err := take(ctx, s, 'd', n+i); err != nil {
				return err
			}
			w.mu.Lock()
			w.exchanged++
			w.cond.Broadcast()
			w.mu.Unlock()
		}
	}
	if err := s.CloseWrite(); err != nil {
		return fmt.Errorf("the end up: %w", err)
	}
	if m, err := s.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("at the end down: got %d bytes, %v, want io.EOF", len(m), err)
	}
	return nil
}

// answers is the daemon's loop. It ends when the client has ended its direction.
func (w *witness) answers(ctx context.Context, s *client.Session) error {
	for n := uint64(0); ; n++ {
		switch err := take(ctx, s, 'u', n); {
		case errors.Is(err, io.EOF):
			w.mu.Lock()
			all := w.stopping && n == w.exchanged
			w.mu.Unlock()
			if !all {
				return fmt.Errorf("the client's end came after %d messages", n)
			}
			return s.CloseWrite()
		case err != nil:
			return err
		}
		if err := s.Send(ctx, message('d', n)); err != nil {
			return fmt.Errorf("message %d down: %w", n, err)
		}
	}
}

// next waits until more than n messages are granted; it is false when the witness is to end.
func (w *witness) next(n uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n >= w.granted && !w.stopping {
		w.cond.Wait()
	}
	return !w.stopping
}

func (w *witness) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.err == nil {
		w.err = err
	}
	w.cond.Broadcast()
}

// grant lets the witness exchange n messages more, in its own time.
func (w *witness) grant(n uint64) {
	w.mu.Lock()
	w.granted = w.exchanged + n
	w.cond.Broadcast()
	w.mu.Unlock()
}

// moves waits until the witness has exchanged n messages from now on.
func (w *witness) moves(ctx context.Context, t *testing.T, n uint64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	until := w.exchanged + n
	w.granted = max(w.granted, until)
	w.cond.Broadcast()
	for w.exchanged < until && w.err == nil && ctx.Err() == nil {
		w.cond.Wait()
	}
	if w.exchanged < until {
		t.Fatalf("the witness %s stands at %d messages of %d: %v", w.target, w.exchanged, until, errors.Join(w.err, ctx.Err()))
	}
}

// rests waits until the witness has exchanged all that was granted.
func (w *witness) rests(ctx context.Context, t *testing.T) {
	t.Helper()
	w.mu.Lock()
	n := w.granted - w.exchanged
	if w.exchanged > w.granted { // a burst goes on to its end
		n = 0
	}
	w.mu.Unlock()
	w.moves(ctx, t, n+burst)
}

// message is the n-th of a direction: its direction and number, bytes that depend on both, and a checksum.
func message(direction byte, n uint64) []byte {
	size := 13 + int(n*977%(longest-13))
	m := make([]byte, size)
	m[0] = direction
	binary.BigEndian.PutUint64(m[1:], n)
	for i := 9; i < size-4; i++ {
		m[i] = byte(i*31) ^ byte(n) ^ direction
	}
	return binary.BigEndian.AppendUint32(m[:size-4], crc32.ChecksumIEEE(m[:size-4]))
}

// take receives a message, which must be the n-th.
func take(ctx context.Context, s *client.Session, direction byte, n uint64) error {
	m, err := s.Recv(ctx)
	if err != nil {
		return fmt.Errorf("message %d of %q: %w", n, direction, err)
	}
	if len(m) < 13 || crc32.ChecksumIEEE(m[:len(m)-4]) != binary.BigEndian.Uint32(m[len(m)-4:]) {
		return fmt.Errorf("message %d of %q: %d bytes came changed", n, direction, len(m))
	}
	if got := binary.BigEndian.Uint64(m[1:]); m[0] != direction || got != n || len(m) != len(message(direction, n)) {
		return fmt.Errorf("got message %d of %q with %d bytes, want %d of %q", got, m[0], len(m), n, direction)
	}
	return nil
}
