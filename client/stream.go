package client

import (
	"context"
	"io"
)

// Stream is a Session as a byte stream: Read gives the bytes of the messages, Write splits at MaxMessage, and message
// bounds mean nothing. Read and Write may run at once, each in one goroutine.
type Stream struct {
	session *Session
	rest    []byte // of the message that Read is in; owned by the reader
}

var _ io.ReadWriteCloser = (*Stream)(nil)

// Stream returns the session as an io.ReadWriteCloser. Use either the Stream or Send and Recv in a direction, not both.
func (s *Session) Stream() *Stream { return &Stream{session: s} }

// Read reads what has arrived, waiting for at least one byte. It returns io.EOF after the peer's clean close and only
// then.
func (st *Stream) Read(p []byte) (int, error) {
	for len(st.rest) == 0 && len(p) > 0 {
		msg, err := st.session.Recv(context.Background())
		if err != nil {
			return 0, err
		}
		st.rest = msg
	}
	n := copy(p, st.rest)
	st.rest = st.rest[n:]
	return n, nil
}

// Write sends p, in as many messages as it takes. It returns when the session holds all of it.
func (st *Stream) Write(p []byte) (n int, err error) {
	most := st.session.MaxMessage()
	for n < len(p) {
		chunk := p[n:min(n+most, len(p))]
		if err := st.session.Send(context.Background(), chunk); err != nil {
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

// CloseWrite ends the writing direction: the peer reads io.EOF.
func (st *Stream) CloseWrite() error { return st.session.CloseWrite() }

// Close is Session.Close.
func (st *Stream) Close() error { return st.session.Close() }
