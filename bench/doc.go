// Package bench measures what a relayed frame costs: the relay beside a bare forwarder of the same transport, each in a
// process of its own, and the parts of the path in one process. It has test files only; `make bench` prints the table.
package bench
