package client

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

const (
	// maxLead is the longest time before its expiry that a token is replaced; short-lived ones are at a fifth.
	maxLead = 5 * time.Minute
	// renewRetry is the least time between two questions to a TokenSource that has nothing newer.
	renewRetry = 5 * time.Second
)

// bearer is a token and when it expires; zero: it does not say.
type bearer struct {
	token   string
	expires time.Time
}

// token asks the source. The expiry is read without a check of anything: it only says when to ask again, and the relay
// decides what a token is worth.
func (c *Config) token(ctx context.Context) (bearer, error) {
	token, err := c.Token(ctx)
	if err != nil {
		return bearer{}, &Error{Reason: Reason(reason.TokenMissing), By: "local", Text: "there is no token: " + err.Error(), cause: err}
	}
	b := bearer{token: token}
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err == nil && claims.ExpiresAt != nil {
		b.expires = claims.ExpiresAt.Time
	}
	return b, nil
}

// renewIn is when to replace a link so that its token does not end it: before the token expires, at random within the
// last part of its time, so that endpoints that connected together do not renew together.
func (l *link) renewIn() time.Duration {
	if l.expires.IsZero() {
		return 1<<63 - 1
	}
	left := time.Until(l.expires)
	lead := min(left/5, maxLead)
	if lead <= 0 {
		return renewRetry
	}
	return left - lead/2 - rand.N(lead/2+1)
}
