package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/getviewport/relay/server/internal/listen"
)

// farewell is how long connections get to take the last words of their streams.
const farewell = time.Second

// port is one listening port with its gRPC server and its HTTP/1.1 handler.
type port struct {
	mux  *listen.Mux
	grpc *grpc.Server
	http *http.Server

	refusing atomic.Bool
	leaving  sync.WaitGroup // refuse's goroutine
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

// refuse closes the listening socket, so that a successor may bind it. Connections stay as long as they have a stream:
// each is sent GOAWAY, so that what stands in front opens no more streams on it, and one without a stream ends. Call it
// once.
func (p *port) refuse() {
	p.refusing.Store(true)
	_ = p.mux.StopAccepting()
	p.leaving.Go(p.grpc.GracefulStop)
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
			err := f()
			if p.refusing.Load() {
				return // gRPC's server ends with its last connection
			}
			// Whichever ends first, the others have nothing to serve for.
			defer stop()
			if err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	serve(func() error { return p.mux.Serve(ctx) })
	serve(func() error { return p.grpc.Serve(p.mux.GRPC()) })
	serve(func() error { return p.http.Serve(p.mux.HTTP()) })
	<-ctx.Done()
	p.stopGRPC()
	_ = p.http.Close()
	_ = p.mux.Close()
	running.Wait()
	p.leaving.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// stopGRPC lets streams that were just ended have their status written, and returns when no handler runs. Draining was
// done before, in our own protocol: GracefulStop alone never returns while a stream is open.
func (p *port) stopGRPC() {
	forced := make(chan struct{})
	force := time.AfterFunc(farewell, func() {
		defer close(forced)
		p.mux.CloseFresh()
		p.grpc.Stop()
	})
	p.grpc.GracefulStop()
	if !force.Stop() {
		<-forced
	}
}
