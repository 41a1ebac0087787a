package hostilerelay_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/getviewport/relay/client"
)

// errUnsafe is what must never happen: an end delivered something else than its peer sent.
var errUnsafe = errors.New("UNSAFE")

// message is the n-th of a direction of a session: both names, the number, bytes that depend on all three, and a
// checksum. Some take one frame, some several.
func message(tag byte, from role, n int) []byte {
	size := 14 + n*977%3000
	if n%5 == 3 {
		size += 16000 * (1 + n%3)
	}
	m := make([]byte, size)
	m[0], m[1] = tag, from[0]
	binary.BigEndian.PutUint64(m[2:], uint64(n))
	for i := 10; i < size-4; i++ {
		m[i] = byte(i*31) ^ byte(n) ^ tag ^ from[0]
	}
	return binary.BigEndian.AppendUint32(m[:size-4], crc32.ChecksumIEEE(m[:size-4]))
}

// conversation is a session at which both ends send each other numbered messages.
type conversation struct {
	tag  byte
	ends map[role]*side
}

// side is one end of it. One goroutine sends and one receives.
type side struct {
	session  *client.Session
	tag      byte
	role     role
	peer     *side
	sent     atomic.Int64
	received atomic.Int64
	moved    chan struct{} // has an element when something was received
	closed   atomic.Bool   // CloseWrite was called
}

// ahead is how many messages an end sends at most before it has received as many: both are always in the middle of it.
const ahead = 4

func newConversation(tag byte, up, down *client.Session) *conversation {
	c := &side{session: up, tag: tag, role: atClient, moved: make(chan struct{}, 1)}
	d := &side{session: down, tag: tag, role: atDaemon, moved: make(chan struct{}, 1)}
	c.peer, d.peer = d, c
	return &conversation{tag: tag, ends: map[role]*side{atClient: c, atDaemon: d}}
}

// id is the session's.
func (c *conversation) id() string { return c.ends[atClient].session.ID() }

// send sends the next n messages.
func (s *side) send(ctx context.Context, n int) error {
	for range n {
		for s.sent.Load() >= s.received.Load()+ahead {
			select {
			case <-s.moved:
			case <-s.session.Done():
				return s.session.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// Counted before it is sent: what arrives was sent, whatever becomes of Send.
		next := s.sent.Add(1)
		if err := s.session.Send(ctx, message(s.tag, s.role, int(next-1))); err != nil {
			return err
		}
	}
	return nil
}

func (s *side) closeWrite() error {
	s.closed.Store(true)
	return s.session.CloseWrite()
}

// receive takes messages until n have come or the session ends; -1 is all of them, and then the end is io.EOF. Its
// error is errUnsafe where something came that the peer did not send.
func (s *side) receive(ctx context.Context, n int) error {
	for ; n != 0; n-- {
		m, err := s.session.Recv(ctx)
		sent, received := int(s.peer.sent.Load()), int(s.received.Load())
		if errors.Is(err, io.EOF) && (!s.peer.closed.Load() || received != sent) {
			return fmt.Errorf("%w: at the %s io.EOF came after %d messages of %d", errUnsafe, s.role, received, sent)
		}
		if err != nil {
			return err
		}
		if want := message(s.tag, s.peer.role, received); string(m) != string(want) || received >= sent {
			return fmt.Errorf("%w: at the %s came %d bytes %.20x, want message %d of %d: %d bytes %.20x", errUnsafe,
				s.role, len(m), m, received, sent, len(want), want)
		}
		s.received.Add(1)
		signal(s.moved)
	}
	return nil
}

// exchange sends n messages each way and returns when they have come.
func (c *conversation) exchange(ctx context.Context, n int) error {
	var running sync.WaitGroup
	var errs [4]error
	for i, r := range []role{atClient, atDaemon} {
		s := c.ends[r]
		running.Go(func() { errs[2*i] = s.send(ctx, n) })
		running.Go(func() { errs[2*i+1] = s.receive(ctx, n) })
	}
	running.Wait()
	return errors.Join(errs[:]...)
}

// finish ends both directions and wants a clean end of the session at both ends.
func (c *conversation) finish(ctx context.Context) error {
	var errs []error
	for _, s := range c.ends {
		errs = append(errs, s.closeWrite())
	}
	for _, s := range c.ends {
		if err := s.receive(ctx, -1); !errors.Is(err, io.EOF) {
			errs = append(errs, fmt.Errorf("the end at the %s: got %v, want io.EOF", s.role, err))
		}
	}
	return errors.Join(errs...)
}

// bystander is a session that nobody attacks. Its ends exchange messages whenever the attack has done something.
type bystander struct {
	*conversation
	bitten chan struct{} // has an element when they are to exchange some more
	stop   chan struct{}
	over   chan error // has the outcome once it has ended
}

func standBy(ctx context.Context, c *conversation) *bystander {
	b := &bystander{
		conversation: c, bitten: make(chan struct{}, 1), stop: make(chan struct{}), over: make(chan error, 1),
	}
	go func() { b.over <- b.run(ctx) }()
	return b
}

func (b *bystander) run(ctx context.Context) error {
	for {
		select {
		case <-b.bitten:
			if err := b.exchange(ctx, 2); err != nil {
				return err
			}
		case <-b.stop:
			// Once more: what happened has not hurt it.
			return errors.Join(b.exchange(ctx, 2), b.finish(ctx))
		}
	}
}

// end lets it finish, and returns what went wrong.
func (b *bystander) end() error {
	close(b.stop)
	return <-b.over
}
