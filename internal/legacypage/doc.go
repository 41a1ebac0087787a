// Package legacypage is a client of today's protocol for a web page: key exchange v3 and envelopes on WebCrypto, in one
// module of JavaScript without dependencies (docs/legacy.md). The page of `viewport-dev --legacy` uses it, and so do
// the tests in a real browser.
//
// It is for development and tests: it checks what keeps a session secret, and leaves out what an application needs,
// such as to reconnect.
package legacypage

import _ "embed" // for Module

// Module is the text of the module, to be served as text/javascript.
//
//go:embed legacy.js
var Module []byte
