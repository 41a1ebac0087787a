package identity

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// PairingLifetime is how long a pairing string may be used.
	PairingLifetime = 10 * time.Minute
	// MaxPairings is how many strings of one workspace can wait at once.
	MaxPairings = 16
)

// Pairings are the pairing strings of one workspace's daemon that wait for their client, in a file: whoever makes a
// string and the daemon that meets it are two processes. Time comes in as an argument; it is the wall clock, because
// both share no other.
//
// A daemon asks twice. Find, at a HANDSHAKE_INIT that carries a pairing id, gives the PSK and uses nothing up: anybody
// may replay an INIT. Redeem, when the client's first DATA has decrypted and so proved that it holds key and PSK, uses
// the string up and pins the client. A client that lost its session in between comes again with the same string: then
// Find knows it no more, and Peers.ByKey has the same PSK.
type Pairings struct {
	store     *Store
	workspace string
	file      file
	peers     *Peers
}

type pairingsFile struct {
	Version   int            `json:"version"`
	Workspace string         `json:"workspace"`
	Pairings  []pairingEntry `json:"pairings"`
}

type pairingEntry struct {
	ID        string `json:"id"`
	Target    string `json:"target"`
	Profile   string `json:"profile"`
	PSK       string `json:"psk,omitempty"`
	Label     string `json:"label,omitempty"`
	ExpiresAt string `json:"expiresAt"`
}

// waiting is a pairingEntry that was checked.
type waiting struct {
	id      [PairingIDSize]byte
	peer    Peer // without Key and PairedAt
	expires time.Time
}

// live: a string that lasts longer than any can was made before the clock was set back.
func (w waiting) live(now time.Time) bool {
	left := w.expires.Sub(now)
	return left > 0 && left <= PairingLifetime
}

// Create makes a pairing for target, and the daemon's identity if there is none yet. It can be used once, for
// PairingLifetime from now on. Label is what the client will be called in the list of peers; it may be empty.
func (p *Pairings) Create(target string, profile Profile, label string, now time.Time) (Pairing, error) {
	if err := checkLabel(label); err != nil {
		return Pairing{}, fmt.Errorf("identity: pairing: %w", err)
	}
	id, err := p.store.LoadOrCreate(Daemon, p.workspace)
	if err != nil {
		return Pairing{}, err
	}
	made, err := newPairing(profile, p.workspace, target, id.Public, rand.Reader)
	if err != nil {
		return Pairing{}, err
	}
	err = p.file.locked(func() error {
		all, err := p.read(now)
		if err != nil {
			return err
		}
		if len(all) >= MaxPairings {
			return fmt.Errorf("identity: %d pairing strings wait already; the first ends in %v",
				len(all), all[0].expires.Sub(now).Round(time.Second))
		}
		return p.write(append(all, waiting{
			id:      made.ID(),
			peer:    Peer{Target: target, Profile: profile, PSK: made.PSK(), Label: label},
			expires: now.Add(PairingLifetime),
		}))
	})
	if err != nil {
		return Pairing{}, err
	}
	return made, nil
}

// Find returns what a client that names id must use for target: a profile and, for NoiseIKpsk2, a PSK. It uses nothing
// up. The error is ErrPairingUnknown if no such string waits.
func (p *Pairings) Find(target string, id [PairingIDSize]byte, now time.Time) (Profile, Secret, error) {
	all, err := p.read(now)
	if err != nil {
		return 0, Secret{}, err
	}
	i := index(all, target, id)
	if i < 0 {
		return 0, Secret{}, ErrPairingUnknown
	}
	return all[i].peer.Profile, all[i].peer.PSK, nil
}

// Redeem uses the string of id up and pins client for target. Of several that redeem one string at once one succeeds;
// for the others, and when the string ended in between, the error is ErrPairingUnknown.
func (p *Pairings) Redeem(target string, id [PairingIDSize]byte, client Key, now time.Time) (Peer, error) {
	var peer Peer
	err := p.file.locked(func() error {
		all, err := p.read(now)
		if err != nil {
			return err
		}
		i := index(all, target, id)
		if i < 0 {
			return ErrPairingUnknown
		}
		peer = all[i].peer
		peer.Key, peer.PairedAt = client, now.UTC().Truncate(time.Second)
		peers, err := p.peers.with(peer)
		if err != nil {
			return err
		}
		// In this order a crash in between costs a new string; in the other the string could be used twice.
		if err := p.write(slices.Delete(all, i, i+1)); err != nil {
			return err
		}
		return p.peers.write(peers)
	})
	if err != nil {
		return Peer{}, err
	}
	return peer, nil
}

func index(all []waiting, target string, id [PairingIDSize]byte) int {
	return slices.IndexFunc(all, func(w waiting) bool {
		return w.peer.Target == target && subtle.ConstantTimeCompare(w.id[:], id[:]) == 1
	})
}

// read returns what is live, the one that ends first in front.
func (p *Pairings) read(now time.Time) ([]waiting, error) {
	b, _, err := p.file.read()
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var on pairingsFile
	if err := p.file.decode(b, &on); err != nil {
		return nil, err
	}
	if on.Version != fileVersion {
		return nil, p.file.corrupt("this release reads version 1")
	}
	if on.Workspace != p.workspace {
		return nil, wrongWorkspace(p.file, on.Workspace, p.workspace)
	}
	var all []waiting
	for i, e := range on.Pairings {
		w, err := e.waiting()
		if err != nil {
			return nil, p.file.corrupt(fmt.Sprintf("pairing %d: %v", i+1, err))
		}
		if w.live(now) {
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b waiting) int { return a.expires.Compare(b.expires) })
	return all, nil
}

func (e pairingEntry) waiting() (w waiting, err error) {
	id, err := base64.RawURLEncoding.DecodeString(e.ID)
	if err != nil || len(id) != PairingIDSize {
		return waiting{}, errors.New("id is not 8 bytes in base64url")
	}
	w.id = [PairingIDSize]byte(id)
	w.peer = Peer{Target: e.Target, Label: e.Label}
	if w.peer.Profile, err = ParseProfile(e.Profile); err != nil {
		return waiting{}, err
	}
	if w.peer.PSK, err = decodeSecret(e.PSK); err != nil {
		return waiting{}, err
	}
	if w.expires, err = time.Parse(time.RFC3339Nano, e.ExpiresAt); err != nil {
		return waiting{}, errors.New("expiresAt is not a time of RFC 3339")
	}
	return w, w.peer.checkPinned()
}

// write replaces the file. Its lock is held.
func (p *Pairings) write(all []waiting) error {
	on := pairingsFile{Version: fileVersion, Workspace: p.workspace, Pairings: make([]pairingEntry, 0, len(all))}
	for _, w := range all {
		on.Pairings = append(on.Pairings, pairingEntry{
			ID:     base64.RawURLEncoding.EncodeToString(w.id[:]),
			Target: w.peer.Target, Profile: w.peer.Profile.String(), PSK: w.peer.PSK.encode(), Label: w.peer.Label,
			ExpiresAt: w.expires.UTC().Format(time.RFC3339Nano),
		})
	}
	return p.file.replace(on)
}
