package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// leftover bounds what is still read from a pipe that somebody outside of the session keeps open after the command has
// ended: more than a pipe or a pseudo-terminal holds, so nothing of the command's own is lost.
const leftover = 1 << 20

var errClosedByClient = errors.New("closed by the client")

// receive handles the client's messages until the session ends, and returns why it did. It never waits for the process:
// a signal or the end of the session is seen however much input is queued.
func (s *server) receive(ctx context.Context) error {
	for {
		b, err := s.conn.Recv(ctx)
		if err == io.EOF {
			return errClosedByClient
		}
		if err != nil {
			return fmt.Errorf("session: %w", err)
		}
		m, err := parse(b)
		if err != nil {
			return failure(CodeProtocol, "%v", err)
		}
		switch m.kind {
		case kindStdin:
			if !s.in.offer(m.data) {
				return failure(CodeProtocol, "more input than the window of %d bytes allows", inputWindow)
			}
		case kindEOF:
			s.in.end()
		case kindResize:
			s.p.resize(m.size)
		case kindSignal:
			s.p.signal(m.signal)
		}
	}
}

// writeInput hands queued input to the process and gives the client credit for it. Once the process has closed its
// input there is no more credit, so that nothing is carried here to be thrown away. It waits for input until ctx ends.
func (s *server) writeInput(ctx, sending context.Context) {
	buf := make([]byte, maxData)
	granted := 0
	for {
		n, ended := s.in.take(buf)
		if n > 0 && s.p.write(buf[:n]) != nil {
			return
		}
		if ended {
			// An error means that the process has ended or closed its input: there is nobody to tell.
			_ = s.p.endInput()
			return
		}
		if granted += n; granted >= inputWindow/4 {
			if s.send(sending, &message{kind: kindCredit, credit: uint32(granted)}) != nil {
				return
			}
			granted = 0
		}
		if n == 0 {
			select {
			case <-s.in.wake:
			case <-ctx.Done():
				return
			}
		}
	}
}

// sendOutput sends all output until its end. It reads no more than the session takes, so that the process waits.
func (s *server) sendOutput(ctx context.Context, cancel context.CancelCauseFunc) {
	var pumps sync.WaitGroup
	for i, f := range s.p.output {
		pumps.Go(func() {
			if err := s.pump(ctx, kindStdout+kind(i), f); err != nil {
				cancel(fmt.Errorf("send output: %w", err))
			}
		})
	}
	pumps.Wait()
}

// pump sends what f gives as messages of kind k. An error of f is its end: EOF of a pipe, EIO of a pseudo-terminal that
// nobody has open any more.
func (s *server) pump(ctx context.Context, k kind, f *os.File) error {
	buf := make([]byte, MaxMessage)
	buf[0] = byte(k)
	left := leftover
	for left > 0 {
		last := s.isEnding()
		if last {
			_ = f.SetReadDeadline(time.Now().Add(s.grace))
		}
		n, err := f.Read(buf[1:])
		if n > 0 {
			if err := s.sendBytes(ctx, buf[:1+n]); err != nil {
				return err
			}
		}
		if last {
			left -= n
		}
		// A deadline that was set by limitOutput may have passed while a message was being sent: read once more.
		if err != nil && (last || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return nil
		}
	}
	return nil
}

func (s *server) isEnding() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}
