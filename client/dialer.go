package client

import (
	"context"
)

// dialer opens the links of one Client or Listener. It belongs to one goroutine at a time.
type dialer struct {
	cfg    *Config
	method string // of RelayService
}

// connect opens a link and returns when the relay has admitted it. Nothing is read or written before start. number
// counts attempts since the last healthy link.
func (d *dialer) connect(ctx context.Context, number int) (*link, error) {
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	token, err := d.cfg.token(ctx)
	if err != nil {
		return nil, err
	}
	return d.connectWith(ctx, token, number)
}

// connectWith is connect with a token at hand. ctx bounds it.
func (d *dialer) connectWith(ctx context.Context, token bearer, number int) (*link, error) {
	a := attempt{method: d.method, token: token.token, number: number}
	over, relay, err := dialGRPC(ctx, d.cfg, a, new(contact))
	if err != nil {
		return nil, err
	}
	return newLink(d.cfg, over, overGRPC, relay, token), nil
}
