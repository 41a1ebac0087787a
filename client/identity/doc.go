// Package identity keeps what an endpoint must not lose or leak: its static key on disk, the peers it has pinned, and
// the pairing strings that pin them (docs/protocol.md, End-to-end encryption).
//
// A Store is a home directory, by default VIEWPORT_HOME, else ~/.viewport. Below relay-identities/x25519/<role> lie,
// for each workspace, with every byte of its name outside [A-Za-z0-9_-] written as %XX:
//
//	<workspace>.json            the static key: Store.Load, Store.LoadOrCreate
//	<workspace>.peers.json      what is pinned: Store.Peers
//	<workspace>.pairings.json   pairing strings that wait for their client; daemons only: Store.Pairings
//	.lock                       locked (flock) by whoever changes a file beside it
//
// Directories are 0700 and files 0600. A file that others can read or write, and a directory that others can write, is
// refused with the chmod that mends it, wherever the home is. A symbolic link is refused too: a file is replaced whole
// by a rename, which would leave the link's target behind with keys or pins that no longer count (the directories may
// be links). A file that does not parse is an error and stays as it is: a key that is silently replaced locks out every
// peer that pinned it.
//
// Any number of processes may use one Store at once, and everything here may be used by several goroutines. No
// private key, PSK or pairing id is printed by fmt, encoding/json or log/slog, whatever holds it.
//
// What this package does not do: it opens no connection and decides nothing about a session; package client does.
package identity
