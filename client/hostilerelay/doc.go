// Package hostilerelay holds no code, only tests of what a malicious relay can do to two endpoints that use package
// client. Between them stands the real relay behind a man in the middle, which sees each envelope on each link and may
// drop, keep, double, swap, change and invent them. An endpoint cannot tell the two apart: together they are a hostile
// relay.
//
// It promises for each attack, with both profiles and at the client as at the daemon:
//
//   - No end delivers a byte that its peer did not send, one twice, one out of order, or io.EOF before all of them.
//   - What a session can bear it bears: it loses nothing and ends cleanly.
//   - What it can't bear ends it with one error, whose reason and whose author are the ones of docs/protocol.md.
//   - Another session on the same links goes on all the while, and memory stays within bounds.
//
// Each attack has a witness: the same run without it passes, and the attack counts what it did, which is something.
//
// What it does not do: it attacks no relay (server/hostile does), and it says nothing about a relay that merely drops
// everything for ever.
package hostilerelay
