package terminal

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/client"
)

var _ Conn = (*client.Session)(nil)

// helperEnv makes this test binary run an attachment at its own terminal instead of tests (see helper_test.go).
const helperEnv = "TERMINAL_TEST_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		os.Exit(helper(mode))
	}
	goleak.VerifyTestMain(m)
}

// guard returns a context that ends a test which hangs.
func guard(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var errLost = errors.New("the link is lost")

// end of a pair: one end of a session in memory, with a window of a few messages each way.
type memory struct {
	send, recv *lane
	lost       chan struct{}
	lose       func()
}

type lane struct {
	messages chan []byte
	closed   chan struct{}
	close    func()
}

func newLane() *lane {
	l := &lane{messages: make(chan []byte, 4), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func newPair() (client, daemon *memory) {
	up, down, lost := newLane(), newLane(), make(chan struct{})
	lose := sync.OnceFunc(func() { close(lost) })
	return &memory{up, down, lost, lose}, &memory{down, up, lost, lose}
}

func (m *memory) Send(ctx context.Context, b []byte) error {
	select {
	case <-m.lost:
		return errLost
	case <-m.send.closed:
		return errors.New("sent after CloseWrite")
	default:
	}
	select {
	case m.send.messages <- append([]byte(nil), b...):
		return nil
	case <-m.lost:
		return errLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Recv(ctx context.Context) ([]byte, error) {
	select {
	case b := <-m.recv.messages:
		return b, nil
	default:
	}
	select {
	case b := <-m.recv.messages:
		return b, nil
	case <-m.recv.closed:
		select {
		case b := <-m.recv.messages:
			return b, nil
		default:
			return nil, io.EOF
		}
	case <-m.lost:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) CloseWrite() error {
	m.send.close()
	return nil
}
