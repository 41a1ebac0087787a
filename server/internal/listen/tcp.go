package listen

import (
	"context"
	"fmt"
	"net"
	"time"
)

// TCP opens a listening TCP port ("127.0.0.1:7781"; port 0: any free one). Its connections send small writes at once
// (TCP_NODELAY, Go's default) and find a peer that vanished within a minute, which matters when heartbeats are off.
func TCP(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3,
	}}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}
