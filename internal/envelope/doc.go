// Package envelope is what relay and endpoints share about the bytes of EnvelopeBatch: it reads envelope headers in
// place, splits a received batch into frames, hands adjacent frames on as runs without copying their ciphertext, joins
// runs into messages, and appends new envelopes (docs/protocol.md, Envelope).
//
// It owns the reference counting of gRPC's buffers, so that nobody else has to: a Batch holds the references of what
// was received, a Run holds its own, and an Outgoing hands them to gRPC. It decides nothing about a frame beyond its
// form: who may send it, and what follows from it, is for others; it never reads ciphertext.
package envelope
