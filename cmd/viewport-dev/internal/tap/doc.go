// Package tap shows what somebody sees who reads a link between an endpoint and the relay in the clear: Proxy stands in
// between and passes every byte on, a Search looks for marks in all of them, and a Record keeps the headers of the
// envelopes that they carry.
//
// It reads with code of its own (golang.org/x/net/http2, and the generated messages), not with the relay's parser, so
// that it would see what the relay's parser overlooks. It changes nothing, decrypts nothing, and knows no keys. For
// `viewport-dev demo` and tests only.
package tap
