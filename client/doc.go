// Package client is the SDK of daemons and clients: end-to-end encrypted sessions through a viewport relay.
//
// A client calls Dial and then Open for each session; a daemon calls Listen and then Accept. Both get a Session, with
// Send and Recv for messages, CloseWrite for half-close, and Stream for a view as io.ReadWriteCloser. The relay sees
// envelope headers and ciphertext; keys and plaintext stay in this process (docs/protocol.md, End-to-end encryption).
//
// One Client or Listener keeps one link to the relay for all its sessions, and a lost link is no more than a pause: both
// reconnect by themselves (keeper), and their sessions go on where they were. Before a token expires and when a relay
// drains, a second link takes over before the first is closed. A link is a gRPC stream, or a WebSocket where gRPC does
// not get through (dialer); sessions don't notice which.
//
// What this package does not do: it stores nothing (package identity keeps keys and pairings on disk) and it asks no
// platform for tokens (a TokenSource does).
package client
