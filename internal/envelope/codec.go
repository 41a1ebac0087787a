package envelope

import (
	"errors"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Codec is the raw codec of a relay's servers and of an endpoint's stream: a *Batch and an *Outgoing pass by reference,
// every other message goes to gRPC's own proto codec, so health, reflection and AdminService work on the same server.
//
// It is meant for grpc.ForceServerCodecV2 and grpc.ForceCodecV2 and must not be registered: the registered codec of its
// name is the one that it falls back to.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name is "proto": on the wire the messages are protobuf's.
func (Codec) Name() string { return proto.Name }

// Marshal hands over the buffers of an *Outgoing, which is empty and may be filled again afterwards; gRPC frees them,
// also when sending fails.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if o, ok := v.(*Outgoing); ok {
		return o.handOver()
	}
	c, err := fallback()
	if err != nil {
		return nil, err
	}
	return c.Marshal(v)
}

// Unmarshal makes a *Batch hold data, with references of its own; what it held before is freed.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*Batch); ok {
		b.hold(data)
		return nil
	}
	c, err := fallback()
	if err != nil {
		return err
	}
	return c.Unmarshal(data, v)
}

// fallback is gRPC's proto codec, which the import of its package registers. It is looked up when needed, for the
// registry has no order between packages' initialisation; the messages that need it are few.
func fallback() (encoding.CodecV2, error) {
	c := encoding.GetCodecV2(proto.Name)
	if _, self := c.(Codec); self || c == nil {
		return nil, errors.New("envelope: the proto codec of gRPC was replaced")
	}
	return c, nil
}
