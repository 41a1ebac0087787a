package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxPeers is how many peers one workspace of one role pins at most.
	MaxPeers = 4096
	// MaxLabel is the longest label in bytes.
	MaxLabel = 64
)

// Peer is what is pinned about a peer: how it must prove who it is, whatever relay or platform say.
type Peer struct {
	// Key is the peer's static key.
	Key Key
	// Target is the runtime target that the pairing is for.
	Target string
	// Profile is the handshake that the peer must use.
	Profile Profile
	// PSK is present exactly for NoiseIKpsk2.
	PSK Secret
	// Label is what people call the peer: at most 64 bytes of printable UTF-8, or nothing.
	Label string
	// PairedAt is when a person decided it, to the second.
	PairedAt time.Time
}

func (p Peer) check() error {
	switch {
	case p.Key.IsZero():
		return errors.New("no key")
	case p.PairedAt.IsZero():
		return errors.New("no time of pairing")
	}
	return p.checkPinned()
}

// checkPinned checks what is known before the peer is: all but Key and PairedAt.
func (p Peer) checkPinned() error {
	switch {
	case !ValidName(p.Target):
		return errors.New("the target is not 1 to 128 bytes of [A-Za-z0-9._:-]")
	case !p.Profile.valid():
		return errProfile
	case p.PSK.IsZero() != (p.Profile == NoiseIK):
		return errors.New("noise-ikpsk2 has a PSK, noise-ik has none")
	}
	return checkLabel(p.Label)
}

// checkLabel keeps out what would write to the terminal of whoever lists peers.
func checkLabel(s string) error {
	bad := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(s) > MaxLabel || !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
		return errors.New("a label is at most 64 bytes of printable text")
	}
	return nil
}

// Peers are the pinned peers of one role in one workspace. A change made by another process is seen by the next call.
//
// A client pins one daemon per target. A daemon pins any number of clients per target; each is pinned for the target
// that its pairing string named, and for no other.
type Peers struct {
	// Static.
	file      file
	role      Role
	workspace string

	mu sync.Mutex
	// Guarded by mu: the file as last read. Valid while the name stands for the same file: it is only replaced, never
	// written in place, so a daemon that looks a client up costs a stat.
	peers []Peer
	info  fs.FileInfo // nil: nothing read yet
}

type peersFile struct {
	Version   int         `json:"version"`
	Workspace string      `json:"workspace"`
	Peers     []peerEntry `json:"peers"`
}

type peerEntry struct {
	PublicKey string `json:"publicKey"`
	Target    string `json:"target"`
	Profile   string `json:"profile"`
	PSK       string `json:"psk,omitempty"`
	Label     string `json:"label,omitempty"`
	PairedAt  string `json:"pairedAt"`
}

// Add pins peer, in place of what was pinned before: at a client for its target, at a daemon for its target and key. It
// is for what a person decided by pairing, never for what came over a network.
func (p *Peers) Add(peer Peer) error {
	return p.file.locked(func() error {
		all, err := p.with(peer)
		if err != nil {
			return err
		}
		return p.write(all)
	})
}

// with returns the peers and peer, checked. The lock is held.
func (p *Peers) with(peer Peer) ([]Peer, error) {
	peer.PairedAt = peer.PairedAt.UTC().Truncate(time.Second)
	if err := peer.check(); err != nil {
		return nil, fmt.Errorf("identity: peer: %w", err)
	}
	all, err := p.List()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(o Peer) bool { return p.pin(o) == p.pin(peer) })
	if len(all) >= MaxPeers {
		return nil, fmt.Errorf("identity: %s has %d peers, the most that fit: remove some first",
			p.file.path(), len(all))
	}
	return append(all, peer), nil
}

// pin is what a peer is pinned under: one of a kind in a file.
type pin struct {
	target string
	key    Key // zero at a client, which has one daemon per target
}

func (p *Peers) pin(peer Peer) pin {
	if p.role == Client {
		return pin{target: peer.Target}
	}
	return pin{target: peer.Target, key: peer.Key}
}

// ByKey returns the peer of target that has key: what a daemon asks about a client.
func (p *Peers) ByKey(target string, key Key) (peer Peer, found bool, err error) {
	return p.find(func(o Peer) bool { return o.Target == target && o.Key == key })
}

// ByTarget returns the daemon that a client has pinned for target.
func (p *Peers) ByTarget(target string) (peer Peer, found bool, err error) {
	if p.role != Client {
		return Peer{}, false, errors.New("identity: a daemon's peers are found by key: a target has many")
	}
	return p.find(func(o Peer) bool { return o.Target == target })
}

func (p *Peers) find(is func(Peer) bool) (Peer, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refresh(); err != nil {
		return Peer{}, false, err
	}
	if i := slices.IndexFunc(p.peers, is); i >= 0 {
		return p.peers[i], true, nil
	}
	return Peer{}, false, nil
}

// Remove forgets the peer of target that has key and reports whether there was one.
func (p *Peers) Remove(target string, key Key) (found bool, err error) {
	err = p.file.locked(func() error {
		all, err := p.List()
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(all, func(o Peer) bool { return o.Target == target && o.Key == key })
		if found = len(rest) < len(all); !found {
			return nil
		}
		return p.write(rest)
	})
	return found && err == nil, err
}

// List returns all peers, the oldest pairing first. The slice is the caller's.
func (p *Peers) List() ([]Peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refresh(); err != nil {
		return nil, err
	}
	return slices.Clone(p.peers), nil
}

// refresh reads the file unless it is the one that was read last. mu is held.
func (p *Peers) refresh() error {
	if p.unchanged() {
		return nil
	}
	p.peers, p.info = nil, nil
	b, info, err := p.file.read()
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	peers, err := p.parse(b)
	if err != nil {
		return err
	}
	p.peers, p.info = peers, info
	return nil
}

// unchanged reports whether the name stands for the file that was read, with its mode then. mu is held.
func (p *Peers) unchanged() bool {
	if p.info == nil {
		return false
	}
	info, err := os.Lstat(p.file.path())
	return err == nil && os.SameFile(info, p.info) && info.Size() == p.info.Size() && info.Mode() == p.info.Mode() &&
		info.ModTime().Equal(p.info.ModTime()) && p.file.checkDir() == nil
}

func (p *Peers) parse(b []byte) ([]Peer, error) {
	var on peersFile
	if err := p.file.decode(b, &on); err != nil {
		return nil, err
	}
	if on.Version != fileVersion {
		return nil, p.file.corrupt("this release reads version 1")
	}
	if on.Workspace != p.workspace {
		return nil, wrongWorkspace(p.file, on.Workspace, p.workspace)
	}
	if len(on.Peers) > MaxPeers {
		return nil, p.file.corrupt("it has more than 4096 peers")
	}
	peers := make([]Peer, 0, len(on.Peers))
	seen := make(map[pin]bool, len(on.Peers))
	for i, e := range on.Peers {
		peer, err := e.peer()
		if err != nil {
			return nil, p.file.corrupt(fmt.Sprintf("peer %d: %v", i+1, err))
		}
		if seen[p.pin(peer)] {
			return nil, p.file.corrupt(fmt.Sprintf("peer %d is pinned twice", i+1))
		}
		seen[p.pin(peer)] = true
		peers = append(peers, peer)
	}
	return peers, nil
}

func (e peerEntry) peer() (peer Peer, err error) {
	peer = Peer{Target: e.Target, Label: e.Label}
	if peer.Key, err = ParseKey(e.PublicKey); err != nil {
		return Peer{}, err
	}
	if peer.Profile, err = ParseProfile(e.Profile); err != nil {
		return Peer{}, err
	}
	if peer.PSK, err = decodeSecret(e.PSK); err != nil {
		return Peer{}, err
	}
	if peer.PairedAt, err = time.Parse(time.RFC3339, e.PairedAt); err != nil {
		return Peer{}, errors.New("pairedAt is not a time of RFC 3339")
	}
	return peer, peer.check()
}

// write replaces the file. Its lock is held, mu is not.
func (p *Peers) write(peers []Peer) error {
	on := peersFile{Version: fileVersion, Workspace: p.workspace, Peers: make([]peerEntry, 0, len(peers))}
	for _, peer := range peers {
		on.Peers = append(on.Peers, peerEntry{
			PublicKey: peer.Key.String(), Target: peer.Target, Profile: peer.Profile.String(), PSK: peer.PSK.encode(),
			Label: peer.Label, PairedAt: peer.PairedAt.Format(time.RFC3339),
		})
	}
	return p.file.replace(on)
}

// wrongWorkspace is the fault of a file system that takes two names for one: what is pinned for one workspace must not
// count in another.
func wrongWorkspace(f file, got, want string) error {
	return fmt.Errorf("identity: %s belongs to workspace %q, not to %q: where upper and lower case make one file "+
		"name, give each its own VIEWPORT_HOME", f.path(), got, want)
}
