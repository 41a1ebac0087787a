//go:build !unix

package wsconn

// rawReads: connections are read in small pieces here.
const rawReads = false

func readSocket(uintptr, []byte) (n int, again bool, err error) { panic("wsconn: no raw reads here") }
