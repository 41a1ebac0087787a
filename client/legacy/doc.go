// Package legacy speaks to today's daemons and browsers: JSON frames over a WebSocket, key exchange v3 on P-256,
// envelopes of AES-GCM. A Client opens sessions to a daemon of today, a Listener serves today's browsers, through a
// relay of today or through ours. Both give a client.Session, so that an application can serve old and new peers
// alike. Where both ends are new, use package client.
//
//	client    Dial → Client.Open → *client.Session       Pair → Pairing, for DialConfig.PSK
//	daemon    Listen → Listener.Accept → *client.Session     ListenConfig.Offers, so that clients can pair
//
// # What a session lacks here
//
// The type is the same, what it promises is not. Session.Legacy tells.
//
//   - Delivery. Nobody acks. A message that Send has taken may be lost without a word, one at a time or with all that
//     follow: when a link ends, when a relay drops it, when a daemon was started anew. Those that do arrive are in
//     order, and none comes twice. An application that needs an answer waits for it with a deadline, and asks again.
//   - Resume. A session ends with its link: Recv gives what had arrived, and then client.LinkLost. Client and
//     Listener reconnect, sessions don't: open a new one.
//   - A clean end. The protocol has none: Recv never returns io.EOF, every end is an *client.Error, and one that was
//     cut short looks like one where nothing more is said. Close waits until what was sent is with the link, and
//     Abort does not; the peer is told by neither, nor of CloseWithError's code. CloseWrite fails with
//     errors.ErrUnsupported. A daemon forgets a client of which it hears nothing for ListenConfig.SessionLifetime
//     (client.PeerSilent). A client is not told that its daemon was started anew, unless the relay says
//     PEER_UNAVAILABLE upon its next message.
//   - Flow control. Nothing holds a sender back but its own link. Who leaves 4 MiB unread loses the session
//     (SLOW_CONSUMER).
//   - Bytes. A message is UTF-8 of 1 to MaxMessage bytes, about 786,000: others are refused by Send, and the session
//     goes on. So Session.Stream works for text alone, and only if no Write is longer than that.
//   - An address. Today's daemons send everything to every session, so a client gets what answers others, too; it has
//     to know its answers by what is in them. Sessions of a Listener are apart from each other, as always.
//
// # What its secrecy lacks
//
//   - With NoiseIK the client is nobody. Any key will do; whoever can put frames on the daemon's link, the relay
//     first of all, is as good as any client. Use NoiseIKpsk2: then the client has proved itself as soon as a message
//     of it was decrypted, and Session.PairingPeerID says who it is. Session.Peer is zero either way.
//   - The daemon is authenticated by the key that its client expects. Where that comes out of a token, whoever writes
//     tokens can be the daemon.
//   - Pairing trusts the relay, whatever the profile is worth afterwards: see Pair.
//   - Forward secrecy is per key: what was recorded stays secret from who steals the daemon's static key later, but a
//     key lives as long as its session, or until 250 messages have passed in a direction and the client has made a
//     new one. Who has a session's key reads all of it, both ways: there is one for both directions.
//   - The call for a new key is not authenticated, and which session a key exchange replaces is not under its seal: a
//     relay can end any session, with NoiseIK so can any client that knows its id and the moment.
//   - Session ids, sequences and the length of every message are visible to the relay.
//
// New keys are made without the application noticing; Session.ID keeps the first id. Send waits meanwhile, at most 10
// s.
//
// Where no peer of today notices, this package is stricter than they are: tags have 16 bytes and ivs 12, an end
// recognises its own envelopes when they come back, a forged envelope moves no sequence, a key is used up long before
// that is dangerous, RELAY_REDIRECT is not obeyed, a link that is dead is noticed, and after one that was closed
// there is a pause. Key exchange v2 is not spoken.
package legacy
