package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/getviewport/relay/server/internal/listen"
)

// port is one listening port with its gRPC server and its HTTP/1.1 handler.
type port struct {
	mux  *listen.Mux
	grpc *grpc.Server
	http *http.Server
}

func newPort(address string, server *grpc.Server, handler http.Handler, options listen.Options) (*port, error) {
	base, err := listen.TCP(context.Background(), address)
	if err != nil {
		return nil, err
	}
	return &port{
		mux:  listen.New(base, options),
		grpc: server,
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      time.Minute,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
		},
	}, nil
}

// run serves until ctx ends, then ends every connection and returns when nothing is left. An error is that of a listener
// that failed by itself.
func (p *port) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	errs := make(chan error, 3)
	serve := func(f func() error) {
		running.Go(func() {
			// Whichever ends first, the others have nothing to serve for.
			defer stop()
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	serve(func() error { return p.mux.Serve(ctx) })
	serve(func() error { return p.grpc.Serve(p.mux.GRPC()) })
	serve(func() error { return p.http.Serve(p.mux.HTTP()) })
	<-ctx.Done()
	// Not GracefulStop: it never returns while streams are open. Draining was done before, in our own protocol.
	p.grpc.Stop()
	_ = p.http.Close()
	_ = p.mux.Close()
	running.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
