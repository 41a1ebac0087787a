package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/rpcerr"
)

// Tokens are the admin tokens that count. The zero value accepts nothing.
type Tokens struct{ sums [][sha256.Size]byte }

// NewTokens returns the tokens in list; empty ones don't count.
func NewTokens(list []string) Tokens {
	var t Tokens
	for _, s := range list {
		if s != "" {
			t.sums = append(t.sums, sha256.Sum256([]byte(s)))
		}
	}
	return t
}

// None reports whether there is no token: nothing can be let through.
func (t Tokens) None() bool { return len(t.sums) == 0 }

// check looks at an authorization value. It takes the same time whichever token is offered.
func (t Tokens) check(authorization string) *reason.Error {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return reason.New(reason.TokenMissing, "the admin token is missing; send authorization: Bearer <RELAY_ADMIN_TOKEN>")
	}
	offered, found := sha256.Sum256([]byte(token)), 0
	for _, sum := range t.sums {
		found |= subtle.ConstantTimeCompare(offered[:], sum[:])
	}
	if found == 0 {
		return reason.New(reason.TokenInvalid, "this is not the admin token of this relay")
	}
	return nil
}

func (t Tokens) authorise(ctx context.Context) (context.Context, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	value := ""
	if v := md.Get("authorization"); len(v) == 1 {
		value = v[0]
	}
	if err := t.check(value); err != nil {
		return nil, rpcerr.Status(err)
	}
	return ctx, nil
}

// Unary lets calls with an admin token through.
func (t Tokens) Unary() grpc.UnaryServerInterceptor { return auth.UnaryServerInterceptor(t.authorise) }

// Stream does the same for streams, reflection among them.
func (t Tokens) Stream() grpc.StreamServerInterceptor {
	return auth.StreamServerInterceptor(t.authorise)
}

// HTTP lets requests with an admin token through to next.
func (t Tokens) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := r.Header.Values("Authorization")
		value := ""
		if len(values) == 1 {
			value = values[0]
		}
		if err := t.check(value); err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
