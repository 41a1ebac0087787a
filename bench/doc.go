// Package bench measures what the relay costs beside a bare forwarder of the same transport, each in a process of its
// own: CPU and time of a frame, memory of an idle link, CPU of a connect; and the parts of the path in one process. It
// has test files only; `make bench` prints the tables.
package bench
