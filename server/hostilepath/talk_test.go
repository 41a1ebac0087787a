package hostilepath_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/getviewport/relay/client"
)

// longest is the longest message of a talk in bytes: more than two fragments.
const longest = 40_000

// talk is a session whose ends send each other numbered messages, as many as the test allows. What arrives must be
// exactly what was sent, in order.
type talk struct {
	t        *testing.T
	up, down *client.Session // the client's end, the daemon's
	flows    [2]*flow
	running  sync.WaitGroup
}

// flow is one direction of a talk.
type flow struct {
	name     string
	from, to *client.Session
	seed     byte

	mu   sync.Mutex
	cond *sync.Cond // something of what follows changed
	// Guarded by mu.
	allowed, sent, received int
	closing                 bool
	err                     error
}

func newTalk(t *testing.T, upper, lower *client.Session) *talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	k := &talk{t: t, up: upper, down: lower}
	k.flows[up] = &flow{name: "up", from: upper, to: lower, seed: 1}
	k.flows[down] = &flow{name: "down", from: lower, to: upper, seed: 2}
	for _, f := range k.flows {
		f.cond = sync.NewCond(&f.mu)
		k.running.Go(func() { f.note(f.send(ctx)) })
		k.running.Go(func() { f.note(f.receive(ctx)) })
		context.AfterFunc(ctx, func() { f.note(ctx.Err()) })
	}
	t.Cleanup(func() {
		cancel()
		k.running.Wait()
	})
	return k
}

// allow lets each end send n messages more.
func (k *talk) allow(n int) {
	for _, f := range k.flows {
		f.mu.Lock()
		f.allowed += n
		f.cond.Broadcast()
		f.mu.Unlock()
	}
}

// arrive waits until everything that was allowed has arrived.
func (k *talk) arrive() {
	k.t.Helper()
	for _, f := range k.flows {
		f.wait(k.t, "everything arrives", func() bool { return f.received == f.allowed })
	}
}

// exchange sends n messages each way and waits for them.
func (k *talk) exchange(n int) {
	k.t.Helper()
	k.allow(n)
	k.arrive()
}

// lives fails the test if an end of the session noticed anything but a wait.
func (k *talk) lives() {
	k.t.Helper()
	for _, f := range k.flows {
		f.mu.Lock()
		err := f.err
		f.mu.Unlock()
		select {
		case <-f.from.Done():
			err = errors.Join(err, fmt.Errorf("the session ended with %v", f.from.Err()))
		default:
		}
		if err != nil {
			k.t.Fatalf("%s: %v, want a wait", f.name, err)
		}
	}
}

// watch returns what fails the test if an end of the session lost its way to the other one since.
func (k *talk) watch() (undisturbed func()) {
	_, upper := k.up.Reachable()
	_, lower := k.down.Reachable()
	return func() {
		k.t.Helper()
		for name, changed := range map[string]<-chan struct{}{"client": upper, "daemon": lower} {
			select {
			case <-changed:
				k.t.Errorf("the session of a %s whose path has no fault was disturbed", name)
			default:
			}
		}
	}
}

// finish ends both directions: each must come to its end, clean and complete.
func (k *talk) finish() {
	k.t.Helper()
	for _, f := range k.flows {
		f.mu.Lock()
		f.closing = true
		f.cond.Broadcast()
		f.mu.Unlock()
	}
	k.running.Wait()
	for _, f := range k.flows {
		if f.err != nil || f.received != f.sent || f.sent != f.allowed {
			k.t.Errorf("%s: got %d of %d messages that were sent of %d, %v", f.name, f.received, f.sent, f.allowed, f.err)
		}
		if err := f.from.Close(); err != nil {
			k.t.Errorf("the end that sent %s: Close: %v", f.name, err)
		}
	}
}

// wait waits for ok, which is called with mu held.
func (f *flow) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !ok() {
		if f.err != nil {
			t.Fatalf("%s, %s: never: %v; %d allowed, %d sent, %d received", f.name, what, f.err, f.allowed, f.sent, f.received)
		}
		f.cond.Wait()
	}
}

func (f *flow) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err == nil {
		f.err = err
	}
	f.cond.Broadcast()
}

func (f *flow) send(ctx context.Context) error {
	for n := 0; f.next(n); n++ {
		if err := f.from.Send(ctx, f.message(n)); err != nil {
			return fmt.Errorf("sending message %d: %w", n, err)
		}
		f.mu.Lock()
		f.sent++
		f.cond.Broadcast()
		f.mu.Unlock()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return f.from.CloseWrite()
}

// next waits until message n is allowed; it is false when there will be no more.
func (f *flow) next(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n >= f.allowed && !f.closing && f.err == nil {
		f.cond.Wait()
	}
	return n < f.allowed && f.err == nil
}

func (f *flow) receive(ctx context.Context) error {
	for n := 0; ; n++ {
		m, err := f.to.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving message %d: %w", n, err)
		}
		if want := f.message(n); !bytes.Equal(m, want) {
			got := "none"
			if len(m) >= 9 {
				got = fmt.Sprintf("%d of flow %d", binary.BigEndian.Uint64(m[1:]), m[0])
			}
			return fmt.Errorf("got message %s with %d bytes, want %d of flow %d with %d bytes",
				got, len(m), n, f.seed, len(want))
		}
		f.mu.Lock()
		f.received++
		f.cond.Broadcast()
		f.mu.Unlock()
	}
}

// message is the n-th of a flow: the flow, its number, and bytes that no other message has.
func (f *flow) message(n int) []byte {
	source := rand.NewChaCha8([32]byte{f.seed, byte(n), byte(n >> 8), byte(n >> 16)})
	m := make([]byte, 9+source.Uint64()%(longest-9))
	m[0] = f.seed
	binary.BigEndian.PutUint64(m[1:], uint64(n))
	_, _ = source.Read(m[9:])
	return m
}
