package legacy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/legacycrypto"
)

const (
	// backlog is how many sessions wait for Accept; more are ended.
	backlog = 128
	// maxSessions is how many sessions a Listener has at once, as today's daemons do. For one more the one gives way that
	// has not been heard for longest, and before those one of which nothing was ever heard.
	maxSessions = 4096
	// defaultLifetime is more than a session lives on a relay of today without a new key, half an hour.
	defaultLifetime = 35 * time.Minute
	maxLifetime     = 24 * time.Hour
)

// ListenConfig is what a daemon needs beside the relay's address.
type ListenConfig struct {
	Config
	// Identity is the daemon's static key. The platform tells clients its Public.
	Identity Identity
	// Profile is the weakest key exchange that is accepted: NoiseIK takes both, NoiseIKpsk2 only itself. It must come from
	// this daemon's own configuration, or from a token that it has verified.
	Profile identity.Profile
	// PSK returns the pre-shared key of a pairing, as Offers.Paired got it; the zero Secret if there is no such pairing.
	// It runs for every key exchange of NoiseIKpsk2, several at once, for whoever claims the id: it looks up and does
	// nothing else. It must return when ctx ends. nil: there are no pairings, and NoiseIKpsk2 is refused.
	PSK func(ctx context.Context, pairingPeerID string) (identity.Secret, error)
	// Offers, if set, lets clients pair through the relay; see Offers for what that is worth.
	Offers *Offers
	// SessionLifetime is how long a session lives without a message or a new key of its client; then it ends with
	// client.PeerSilent. A daemon is not told that a client has left, so this is what frees what it has left behind. 0:
	// 35 minutes. At most a day.
	SessionLifetime time.Duration
}

// Listener is a daemon at the relay: it accepts sessions, and reconnects by itself until Close. When its link ends
// all its sessions do, because clients can't find them again.
type Listener struct {
	// Static.
	keeper   *keeper
	intake   *intake
	accepted chan *client.Session
}

// Listen starts a daemon and returns when the relay has let it in (which with today's is not yet when it has looked
// at the token's claims). A refusal that something must be done about is returned; anything else is tried again,
// after pauses of up to 1 s that grow to 30 s, until ctx ends. Later refusals are all taken for passing ones, because
// today's relays have one status for a token that is bad and a platform that is away. After Listen has returned ctx
// has no effect.
func Listen(ctx context.Context, cfg ListenConfig) (*Listener, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	required, err := profileOf(cfg.Profile)
	if err != nil {
		return nil, err
	}
	static, err := cfg.Identity.key()
	if err != nil {
		return nil, err
	}
	if required == legacycrypto.NoiseIKpsk2 && cfg.PSK == nil {
		return nil, errors.New("legacy: ListenConfig.Profile is NoiseIKpsk2, so PSK has to be set")
	}
	switch {
	case cfg.SessionLifetime == 0:
		cfg.SessionLifetime = defaultLifetime
	case cfg.SessionLifetime < 0 || cfg.SessionLifetime > maxLifetime:
		return nil, errors.New("legacy: ListenConfig.SessionLifetime is negative or more than a day")
	}
	l := &Listener{accepted: make(chan *client.Session, backlog)}
	var pairing *legacycrypto.PairingDaemon
	if cfg.Offers != nil {
		if pairing, err = cfg.Offers.start(); err != nil {
			return nil, err
		}
	}
	l.intake = &intake{
		cfg: cfg, daemon: legacycrypto.DaemonConfig{Static: static, Required: required}, accepted: l.accepted,
		slots: make(chan struct{}, atOnce), pairing: pairing,
	}
	l.keeper = newKeeper(ctx, &l.intake.cfg.Config, "workspace-daemon", l.intake.stray)
	l.keeper.start(nil)
	if _, err := l.keeper.wait(ctx); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Accept returns the next session. With NoiseIK anybody may be its client whom the relay lets in; with NoiseIKpsk2
// the client has proved itself once Recv has returned a message, and then Session.PairingPeerID says who it is.
// Accept fails when ctx ends and after Close.
func (l *Listener) Accept(ctx context.Context) (*client.Session, error) {
	for {
		select {
		case s := <-l.accepted:
			select {
			case <-s.Done(): // while it waited
				continue
			default:
				return s, nil
			}
		case <-l.keeper.done:
			return nil, l.keeper.ended()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Done is closed when the Listener has ended; Accept then says why.
func (l *Listener) Done() <-chan struct{} { return l.keeper.done }

// Close ends the Listener, its link and its sessions; their clients are not told. Messages that Send has taken still
// go out, for at most 2 s. It returns when all is over.
func (l *Listener) Close() error {
	l.keeper.close()
	return nil
}

// intake turns key exchanges into sessions for a Listener.
type intake struct {
	// Static.
	cfg      ListenConfig
	daemon   legacycrypto.DaemonConfig
	accepted chan *client.Session
	slots    chan struct{} // held while a key exchange or a pairing is answered

	pairingMu sync.Mutex
	pairing   *legacycrypto.PairingDaemon // guarded by pairingMu; nil: nobody can pair
}
