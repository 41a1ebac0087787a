// Package legacywire is what today's daemons, browsers and workers put on the wire of /ws: it parses and checks their
// JSON frames and upgrade requests, says which frame each of them may send, and writes the frames that a relay answers
// with, byte for byte.
//
// It decides by one text at a time and holds nothing: no I/O, no goroutine, no clock. Owners, sequences, rates and
// whether a channel is authorised are for the bridge, and so is everything about claims. A frame is read once and only
// as far as routing needs; nothing inside its strings is decoded, and the bridge forwards the text that it received.
//
// Those peers run on JavaScript, so its rules hold: JSON.parse decides what is JSON, strings are UTF-16 (package
// functions keep a lone surrogate as the three bytes that WTF-8 gives it, so that two different ids never become one),
// and white space is what String.prototype.trim removes.
package legacywire
