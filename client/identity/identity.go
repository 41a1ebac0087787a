package identity

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	fileVersion = 1
	algorithm   = "x25519"
)

// Identity is the static key of one side in one workspace. It prints without its private key.
type Identity struct {
	// Role and Workspace say whose it is.
	Role      Role
	Workspace string
	// Public is what peers pin.
	Public Key
	// Private belongs to Public.
	Private Secret
	// CreatedAt is when the key was drawn.
	CreatedAt time.Time
}

// identityFile is the file as docs/protocol.md has it.
type identityFile struct {
	Version    int    `json:"version"`
	Algorithm  string `json:"algorithm"`
	PublicKey  string `json:"publicKey"`
	PrivateKey string `json:"privateKey"`
	CreatedAt  string `json:"createdAt"`
}

// Load returns the identity of role in workspace. The error wraps ErrNotFound if there is none.
func (s *Store) Load(role Role, workspace string) (Identity, error) {
	f, err := s.file(role, workspace, ".json")
	if err != nil {
		return Identity{}, err
	}
	return load(f, role, workspace)
}

// LoadOrCreate returns the identity of role in workspace and draws one if there is none. Of several processes that do
// so at once one draws the key and all return it.
func (s *Store) LoadOrCreate(role Role, workspace string) (Identity, error) {
	f, err := s.file(role, workspace, ".json")
	if err != nil {
		return Identity{}, err
	}
	id, err := load(f, role, workspace)
	if !errors.Is(err, ErrNotFound) {
		return id, err
	}
	err = f.locked(func() error {
		if id, err = load(f, role, workspace); !errors.Is(err, ErrNotFound) {
			return err
		}
		if id, err = generate(role, workspace); err != nil {
			return err
		}
		return f.replace(identityFile{
			Version: fileVersion, Algorithm: algorithm,
			PublicKey: id.Public.String(), PrivateKey: id.Private.encode(),
			CreatedAt: id.CreatedAt.Format(time.RFC3339),
		})
	})
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

func generate(role Role, workspace string) (Identity, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("identity: no key: %w", err)
	}
	return Identity{
		Role: role, Workspace: workspace,
		Public:    Key(private.PublicKey().Bytes()),
		Private:   NewSecret([KeySize]byte(private.Bytes())),
		CreatedAt: time.Now().UTC().Truncate(time.Second),
	}, nil
}

func load(f file, role Role, workspace string) (Identity, error) {
	b, _, err := f.read()
	if err != nil {
		return Identity{}, err
	}
	var on identityFile
	if err := f.decode(b, &on); err != nil {
		return Identity{}, err
	}
	if on.Version != fileVersion || on.Algorithm != algorithm {
		return Identity{}, f.corrupt("this release reads version 1 of algorithm x25519")
	}
	id := Identity{Role: role, Workspace: workspace}
	if id.Public, err = ParseKey(on.PublicKey); err != nil {
		return Identity{}, f.corrupt("publicKey: " + err.Error())
	}
	if id.Private, err = decodeSecret(on.PrivateKey); err != nil || id.Private.IsZero() {
		return Identity{}, f.corrupt("privateKey: " + errKey.Error())
	}
	if id.CreatedAt, err = time.Parse(time.RFC3339, on.CreatedAt); err != nil {
		return Identity{}, f.corrupt("createdAt is not a time of RFC 3339")
	}
	bytes := id.Private.Reveal()
	private, err := ecdh.X25519().NewPrivateKey(bytes[:])
	if err != nil || Key(private.PublicKey().Bytes()) != id.Public {
		return Identity{}, f.corrupt("publicKey does not belong to privateKey")
	}
	return id, nil
}
