package wsconn

import (
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	// poolBytes is what one read takes of a plain TCP connection: several messages, if they are there.
	poolBytes = 32 << 10
	// stashBytes is what a source keeps while it waits: at most a part of a header.
	stashBytes = 64
	// directBytes: so much of a message that is still to come is read to where it belongs, without a copy.
	directBytes = 8 << 10
)

var pool = sync.Pool{New: func() any { return new([poolBytes]byte) }}

// source is the bytes of a connection. It holds a buffer of the pool only while there is something in it: on a plain
// TCP connection it waits for the socket to be readable before it takes one, and others are read in small pieces, which
// they have in a buffer of their own.
type source struct {
	nc  net.Conn
	raw syscall.RawConn // nil: nc is no plain TCP connection
	try func(fd uintptr) bool

	data   []byte           // what is there to be taken: of received, stash or buffer
	buffer *[poolBytes]byte // of the pool; nil: none
	stash  [stashBytes]byte

	// What try works on: dst nil is the buffer.
	dst []byte
	n   int
	err error
}

func (s *source) init(nc net.Conn, received []byte) {
	s.nc = nc
	s.data = append([]byte(nil), received...)
	// No other type: what embeds a TCP connection may read otherwise.
	if t, ok := nc.(*net.TCPConn); ok && rawReads {
		if raw, err := t.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.readable
		}
	}
}

// fill waits until there is more in data, which has at most a part of a header.
func (s *source) fill() error {
	if s.raw != nil {
		s.dst = nil
		return s.wait()
	}
	kept := copy(s.stash[:], s.data)
	n, err := s.nc.Read(s.stash[kept:])
	s.data = s.stash[:kept+n]
	if n > 0 {
		return nil
	}
	return orEOF(err)
}

// read waits until there is something for dst. data is empty.
func (s *source) read(dst []byte) (int, error) {
	if s.raw != nil {
		s.drop()
		s.dst = dst
		err := s.wait()
		s.dst = nil
		return s.n, err
	}
	n, err := s.nc.Read(dst)
	if n > 0 {
		return n, nil
	}
	return 0, orEOF(err)
}

func (s *source) wait() error {
	s.n, s.err = 0, nil
	if err := s.raw.Read(s.try); err != nil {
		return err
	}
	return s.err
}

// readable is called when the socket may be readable; false: it was not, wait.
func (s *source) readable(fd uintptr) bool {
	dst := s.dst
	kept := 0
	if dst == nil {
		if s.buffer == nil {
			s.buffer = pool.Get().(*[poolBytes]byte)
		}
		kept = copy(s.buffer[:], s.data) // they may overlap
		dst = s.buffer[kept:]
	}
	n, again, err := readSocket(fd, dst)
	if again {
		if s.dst == nil {
			s.data = s.stash[:copy(s.stash[:], s.buffer[:kept])]
			s.putBuffer()
		}
		return false
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	s.n, s.err = n, err
	if s.dst == nil {
		s.data = s.buffer[:kept+n]
	}
	return true
}

// drop gives up what is there.
func (s *source) drop() {
	s.data = nil
	s.putBuffer()
}

func (s *source) putBuffer() {
	if s.buffer != nil {
		pool.Put(s.buffer)
		s.buffer = nil
	}
}

// orEOF is for readers that return neither bytes nor an error.
func orEOF(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
