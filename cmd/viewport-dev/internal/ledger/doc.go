// Package ledger makes numbered blocks and checks what arrives of them. A Writer numbers the messages of one direction
// of one session and fills them with bytes that only this stream has at this number; a Reader tells apart what was
// lost, doubled, reordered, damaged, or came from another stream, and how long nothing moved although something wanted
// to.
//
// It does no I/O and reads no clock.
package ledger
