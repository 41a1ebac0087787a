package admission

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// verifier checks tokens by the platform's keys.
type verifier struct {
	keys   *keyring
	parser *jwt.Parser
}

func newVerifier(keys *keyring, issuer, audience string) *verifier {
	return &verifier{keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{rs256, es256, eddsa}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(skew),
	)}
}

// verify returns the claims of a genuine token that has not expired. Whom it is for is not checked here.
func (v *verifier) verify(token string, read reader) (*claims, error) {
	head, body, err := preParse(token)
	if err != nil {
		return nil, reason.New(reason.TokenInvalid, "%v", err)
	}
	k, err := v.keyOf(head)
	if err != nil {
		return nil, err
	}
	c, err := read(body)
	if err != nil {
		return nil, err
	}
	_, err = v.parser.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return k.public, nil })
	switch {
	case err == nil:
	case errors.Is(err, jwt.ErrTokenInvalidClaims):
		return nil, refuseClaims(err)
	default:
		v.keys.suspect()
		return nil, reason.New(reason.TokenInvalid, "the token's signature does not verify")
	}
	if c.id == "" {
		return nil, reason.New(reason.TokenInvalid, "the token has no claim jti")
	}
	return c, nil
}

// keyOf returns the key that a token names, if the token's alg is that of the key.
func (v *verifier) keyOf(h header) (key, error) {
	k, err := v.keys.lookup(h.keyID)
	if err != nil {
		return key{}, err
	}
	if k.algorithm != h.algorithm {
		v.keys.suspect()
		return key{}, reason.New(reason.TokenInvalid, "the token's alg is not that of its key")
	}
	return k, nil
}

// refuseClaims says what golang-jwt found in claims that are signed. TOKEN_EXPIRED is left for tokens with no other
// fault: it sends the peer for a fresh token of the same kind.
func refuseClaims(err error) error {
	for _, fault := range []struct {
		is   error
		text string
	}{
		{jwt.ErrTokenInvalidIssuer, "the token's iss is not this relay's issuer"},
		{jwt.ErrTokenInvalidAudience, "the token's aud is not this relay's audience"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks one of the claims exp, iss, aud"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet (nbf)"},
		{jwt.ErrTokenUsedBeforeIssued, "the token was issued in the future (iat)"},
	} {
		if errors.Is(err, fault.is) {
			return reason.New(reason.TokenInvalid, "%s", fault.text)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return &reason.Error{Code: reason.TokenExpired}
	}
	return &reason.Error{Code: reason.TokenInvalid}
}
