// Package faults breaks TCP connections on command: a Proxy passes them on until it is told to reset, to finish, to
// freeze or to forget them, and Schedule draws from a seed when which of that happens. It knows nothing of what passes.
package faults
