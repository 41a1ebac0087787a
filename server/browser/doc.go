// Package browser holds no code, only tests of the relay from inside a real browser: pages in headless Chromium that
// open WebSockets to a real relay, as pages of the platform do.
//
// The promises:
//
//   - A page opens /ws with its token in the subprotocol, with or without another name beside it, and learns from a
//     close alone that it was refused.
//   - A page and a daemon of today's protocol make a session of either profile, exchange messages both ways and change
//     their key; without a daemon the page is told DAEMON_UNAVAILABLE.
//   - A page speaks the native protocol: it gets the announced limits as its first message and never its token back.
//   - Viewers of a session hear of each other and of the daemon's events, and of one whose tab is closed.
//
// What it does not do: what needs no browser (packages server and server/legacy).
package browser
