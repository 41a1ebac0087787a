package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (e *interrupted) Error() string { return "ended by signal: " + e.signal.String() }

// untilSignal returns a context that SIGINT, SIGTERM and SIGHUP end with an *interrupted, except where whoever started
// this process has them ignored (nohup, a shell's &). After the first the signals have their usual effect, so that a
// second one ends a process that hangs. After stop the context is as it is.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	caught := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case s := <-caught:
			cancel(&interrupted{s.(syscall.Signal)})
		case <-over:
		}
		signal.Stop(caught)
		select {
		case s := <-caught: // it came before Stop
			cancel(&interrupted{s.(syscall.Signal)})
		default:
		}
	})
	return ctx, sync.OnceFunc(func() {
		close(over)
		watching.Wait()
	})
}
