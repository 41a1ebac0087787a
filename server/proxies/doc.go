// Package proxies holds no code, only tests of the terminators that deploy/ has configurations for: real nginx, HAProxy
// and Caddy between real endpoints and a real relay. What is shipped is what runs, with addresses and file names of the
// test, and where a test says so with shorter times.
//
// The promises, for each of them:
//
//   - A session lives through it, silent or busy, in both directions and with messages of any size.
//   - It may cut silent links, be reloaded, or be killed and come back: Send and Recv merely wait, everything arrives once
//     and in order, and the session ends cleanly.
//   - A relay is restarted behind it while sessions run, and they lose nothing.
//   - Today's daemons and clients meet over WebSocket.
//   - Of the relay's port it shows links and probes, and nothing else.
//
// What it does not do: faults that no terminator has on its own (package hostilepath).
package proxies
