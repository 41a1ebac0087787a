package endpoint

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/ledger"
)

// Config is what a process is: the first line of its input. It holds secrets.
type Config struct {
	// Workspace is that of all ends, and Seed decides what they send.
	Workspace string `json:"workspace"`
	Seed      string `json:"seed"`
	// Daemon is set for a daemon, Clients for clients.
	Daemon  *Daemon  `json:"daemon,omitempty"`
	Clients []Client `json:"clients,omitempty"`
}

// Link is how one end reaches the relay, and its static key.
type Link struct {
	// Relay is host:port.
	Relay  string `json:"relay"`
	Target string `json:"target"`
	Token  string `json:"token"`
	Key    Key    `json:"key"`
}

// Daemon serves one target.
type Daemon struct {
	Link
	// Admits are the clients that it knows.
	Admits []Admitted `json:"admits"`
}

// Admitted is a client that a daemon knows.
type Admitted struct {
	Key identity.Key `json:"key"`
	PSK Key          `json:"psk"`
}

// Client has one link and plays sessions on it.
type Client struct {
	Link
	Daemon   identity.Key `json:"daemon"`
	PSK      Key          `json:"psk"`
	Sessions []Script     `json:"sessions"`
}

// Script is a session.
type Script struct {
	// Name is the session's, and of no other session.
	Name     string `json:"name"`
	Up, Down Plan
	// Again opens the next session when one has ended, until Finish; they are called Name-1, Name-2 and so on.
	Again bool `json:"again,omitempty"`
}

// Plan is what one end of a session sends.
type Plan struct {
	// Blocks is how many blocks; 0: until Finish.
	Blocks int `json:"blocks,omitempty"`
	// Least and Most bound a block's size in bytes.
	Least int `json:"least,omitempty"`
	Most  int `json:"most,omitempty"`
	// Pause is the mean pause between blocks; 0: as fast as it goes.
	Pause time.Duration `json:"pause,omitempty"`
	// Late sends nothing before Finish.
	Late bool `json:"late,omitempty"`
	// Echo sends a block for each that came, and ends when the peer has ended. Blocks does not count then.
	Echo bool `json:"echo,omitempty"`
}

// Commands of the lines that follow.
const (
	// Finish ends what goes on until then; the sessions end cleanly.
	Finish = "finish"
	// State asks for an Event with State.
	State = "state"
)

// Event is a line of output. One of its members is set.
type Event struct {
	// Ready: the daemon is attached, or all sessions of the clients were opened.
	Ready bool `json:"ready,omitempty"`
	// Back: a session that had lost its peer got a block again, at a time in nanoseconds of Unix time.
	Back *Back `json:"back,omitempty"`
	// Result is a session that has ended.
	Result *Result `json:"result,omitempty"`
	// Finished: all sessions of the clients have ended, and no other will be opened.
	Finished bool `json:"finished,omitempty"`
	// State says of each session that has not ended what it is at.
	State []string `json:"state"`
	// Failed is why the process can't do what it was told.
	Failed string `json:"failed,omitempty"`
}

// Back is a session that goes on.
type Back struct {
	Name string `json:"name"`
	At   int64  `json:"at"`
}

// Result is what one end of a session saw.
type Result struct {
	Name string       `json:"name"`
	Sent ledger.Sent  `json:"sent"`
	Got  ledger.Tally `json:"got"`
	// Resumes is how often the session lost its peer and found it again; counted at clients.
	Resumes int `json:"resumes"`
	// Error is why the session did not end cleanly, or empty.
	Error string `json:"error,omitempty"`
}

// Key is a private key or a PSK, in a Config only.
type Key []byte

// NewKey draws one.
func NewKey() Key {
	k := make(Key, identity.KeySize)
	_, _ = rand.Read(k) // never fails
	return k
}

// Public is the public key of a private one.
func (k Key) Public() (identity.Key, error) {
	private, err := ecdh.X25519().NewPrivateKey(k)
	if err != nil {
		return identity.Key{}, errors.New("endpoint: no X25519 key")
	}
	return identity.Key(private.PublicKey().Bytes()), nil
}

func (k Key) secret() (identity.Secret, error) {
	if len(k) != identity.KeySize {
		return identity.Secret{}, errors.New("endpoint: a key or PSK of the wrong length")
	}
	return identity.NewSecret([identity.KeySize]byte(k)), nil
}

// identity is the static key of l.
func (l Link) identity(role identity.Role, workspace string) (id identity.Identity, err error) {
	id = identity.Identity{Role: role, Workspace: workspace}
	if id.Public, err = l.Key.Public(); err == nil {
		id.Private, err = l.Key.secret()
	}
	return id, err
}

// config is what the SDK needs to know.
func (l Link) config(workspace string) client.Config {
	return client.Config{
		Relay: l.Relay, Workspace: workspace, Target: l.Target, Token: client.StaticToken(l.Token),
		Version: "viewport-dev", RequirePSK: true,
	}
}
