package envelope

import (
	"errors"

	"google.golang.org/grpc/mem"
)

// Outgoing is one message to send, made of runs in the order in which they were added. The zero value is empty.
//
// SendMsg(&o) through Codec takes its buffers, which gRPC frees even when it fails, and leaves o empty. Where SendMsg
// fails before it gets so far, o still has them: call Free afterwards, which does nothing in all other cases.
type Outgoing struct {
	// A fresh array for each message: gRPC holds on to the last one, in its send buffer and to retry.
	bufs   []mem.Buffer
	bytes  int
	frames int
}

// Add appends r, which belongs to o from then on.
func (o *Outgoing) Add(r Run) {
	if r.first == nil {
		return
	}
	o.bufs = append(o.bufs, r.first)
	o.bufs = append(o.bufs, r.more...)
	o.bytes += r.Bytes()
	o.frames += r.Frames()
}

// Bytes is the serialized size of the message.
func (o *Outgoing) Bytes() int { return o.bytes }

// Frames is the number of envelopes in it.
func (o *Outgoing) Frames() int { return o.frames }

// Free gives up the buffers that nobody has taken.
func (o *Outgoing) Free() {
	for _, buf := range o.bufs {
		buf.Free()
	}
	*o = Outgoing{}
}

// AppendTo appends the message's bytes to dst and frees o: for transports other than gRPC.
func (o *Outgoing) AppendTo(dst []byte) []byte {
	for _, buf := range o.bufs {
		dst = append(dst, buf.ReadOnlyData()...)
	}
	o.Free()
	return dst
}

func (o *Outgoing) handOver() (mem.BufferSlice, error) {
	if o.frames == 0 {
		return nil, errors.New("envelope: a message without an envelope")
	}
	bufs := o.bufs
	*o = Outgoing{}
	return bufs, nil
}
