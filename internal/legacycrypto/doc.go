// Package legacycrypto is the end-to-end encryption that today's daemons and browsers speak: key exchange v3 in both
// roles and both profiles, the envelopes (version 2) of the session that it makes, the change to a new key, and
// pairing over the relay. Each is a small machine that takes a frame's parsed text and gives the next frame's text:
//
//	client    NewClientHandshake → Init() → Finish(response) → *Session
//	daemon    ReadInit(init) → Respond() → response, *Session
//	both      Session.Seal(plaintext) → envelope, Session.Open(envelope) → plaintext
//	pairing   NewClientPairing → OfferRequest() → ReadOffer → Redeem() → Finish; PairingDaemon.Offer, .Redeem
//
// It does no I/O, starts no goroutine and reads no clock. It holds no table of sessions, waits for no answer and
// decides on nobody's admission: that is the caller's. A frame that is refused leaves everything as it was (wrong
// secrets at pairing apart, which are counted), so it can be dropped and the next one tried. Every error wraps one of
// this package and a code of package reason; none holds a secret. Nothing here is safe for concurrent use.
//
// # What these properties lack
//
// Whoever can choose uses the native protocol (package secure). Against it, a legacy session lacks, and no care of
// one end can mend:
//
//   - With noise-ik the client is not authenticated. Any key is accepted; a relay token is all the access control
//     there is, so that whoever can put frames on the daemon's link, the relay first of all, is as good as any
//     client. Only noise-ikpsk2 makes the client prove something, and the daemon knows only when an envelope opens
//     (Session.Confirmed): anybody can replay an init.
//   - The daemon is authenticated by the public key that the client expects, and a client gets that from the
//     platform. Who writes the token can put their own key into it.
//   - Pairing trusts the relay. It is an unauthenticated Diffie–Hellman: a relay that sits in the middle while a
//     client pairs reads the secret of the offer and derives the same PSK, and every signature still verifies. What
//     comes of it is worth as much as the relay was honest at that moment.
//   - Both directions have one key, and associated data does not say which direction it is of. A relay can send an
//     endpoint its own envelopes; sessions of this package recognise those, today's daemons do not.
//   - There is no resume. When a link ends, its sessions are lost, and a message that is lost on the way stays lost:
//     the receiver sees a hole in the sequence (Session.Missed) and nobody sends again. There are no acks, no flow
//     control and no authenticated end: a session that was cut short looks like one where nothing more is said.
//   - The request id, pairingPeerId and previousSessionId are not part of the transcript. A relay can put the id of a
//     session that its daemon asked to rekey into an init, an old one too, and the session is gone. With noise-ik
//     anybody's init will do, with noise-ikpsk2 it must be of the same pairing (here; today's daemons don't ask).
//   - What the daemon asks for with relay_key_update_required, and the answers ok:false at pairing, are in the clear
//     and not authenticated.
//   - Session id, epoch, sequence and the length of every message are visible to the relay.
//
// Where no peer of today notices, this package is stricter than they are: numbers, keys and base64url have one form;
// the iv has 12 bytes and the tag 16; sequences only go up, and only for what was decrypted; a session ends long
// before its key is worn out.
package legacycrypto
