package client

import (
	"context"
	"errors"
	"time"

	"github.com/getviewport/relay/client/identity"
)

// Caller is a client that wants a session, as its HANDSHAKE_INIT says. Nothing of it is proved yet: the message may be a
// replay. So an Authorise looks keys up and does nothing else.
type Caller struct {
	// Key is the client's static key.
	Key identity.Key
	// Profile is the handshake it began.
	Profile identity.Profile
	// PairingID is set on a first contact with a pairing string, else nil.
	PairingID []byte
	// SessionID is the id of the session it wants.
	SessionID string
}

// Permission is what a daemon wants of a caller.
type Permission struct {
	// Profile is the handshake that this caller must use; another is refused with ProfileTooWeak.
	Profile identity.Profile
	// PSK is the pre-shared key, for NoiseIKpsk2.
	PSK identity.Secret
	// Confirmed, if set, is called once the caller has proved that it holds its key (and the PSK), before Accept returns
	// the session. An error ends the session with NotAuthorised.
	Confirmed func() error
}

// Authorise decides whether a caller may have a session. It runs for every HANDSHAKE_INIT, several at once; an error that
// is (or wraps) a Reason refuses with that reason, any other with NotAuthorised. It must return when ctx ends.
type Authorise func(ctx context.Context, c Caller) (Permission, error)

// Paired authorises the clients that the daemon's store has pinned for target, and those that come with a pairing string
// that waits: they are pinned once they have proved themselves.
func Paired(store *identity.Store, workspace, target string) (Authorise, error) {
	peers, err := store.Peers(identity.Daemon, workspace)
	if err != nil {
		return nil, err
	}
	pairings, err := store.Pairings(workspace)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, c Caller) (Permission, error) {
		if len(c.PairingID) == identity.PairingIDSize {
			id := [identity.PairingIDSize]byte(c.PairingID)
			profile, psk, err := pairings.Find(target, id, time.Now())
			if err == nil {
				return Permission{Profile: profile, PSK: psk, Confirmed: func() error {
					_, err := pairings.Redeem(target, id, c.Key, time.Now())
					return err
				}}, nil
			}
			if !errors.Is(err, identity.ErrPairingUnknown) {
				return Permission{}, err
			}
		}
		// A client whose first session was cut comes again with a string that is used up; it is pinned by then.
		peer, found, err := peers.ByKey(target, c.Key)
		switch {
		case err != nil:
			return Permission{}, err
		case found:
			return Permission{Profile: peer.Profile, PSK: peer.PSK}, nil
		case c.PairingID != nil:
			return Permission{}, PairingUnknown
		}
		return Permission{}, NotAuthorised
	}, nil
}
