package hostilepath_test

import (
	"bytes"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// frame is one HTTP/2 frame as it came. What a client sends first, the connection preface, counts as one: its type is
// one that HTTP/2 does not have.
type frame struct {
	http2.FrameHeader
	raw []byte    // header and payload
	due time.Time // not forwarded before; zero: at once
}

const (
	headerBytes = 9
	preface     = http2.FrameType(0xff)
)

func readPreface(r io.Reader) (frame, error) {
	raw := make([]byte, len(http2.ClientPreface))
	_, err := io.ReadFull(r, raw)
	return frame{FrameHeader: http2.FrameHeader{Type: preface}, raw: raw}, err
}

func readFrame(r io.Reader) (frame, error) {
	h, err := http2.ReadFrameHeader(r)
	if err != nil {
		return frame{}, err
	}
	var b bytes.Buffer
	f := frame{FrameHeader: h}
	if err := http2.NewFramer(&b, nil).WriteRawFrame(h.Type, h.Flags, h.StreamID, make([]byte, h.Length)); err != nil {
		return frame{}, err
	}
	f.raw = b.Bytes()
	_, err = io.ReadFull(r, f.payload())
	return f, err
}

func (f frame) payload() []byte { return f.raw[headerBytes:] }

func (f frame) ping() (ping, ack bool) {
	return f.Type == http2.FramePing, f.Flags.Has(http2.FlagPingAck)
}

// endsStream reports whether f is its sender's last frame of the stream.
func (f frame) endsStream() bool {
	return (f.Type == http2.FrameData || f.Type == http2.FrameHeaders) && f.Flags.Has(http2.FlagDataEndStream)
}

// own makes a frame that the path itself sends. Writing to a buffer fails for no frame that HTTP/2 allows.
func own(write func(*http2.Framer) error) frame {
	var b bytes.Buffer
	if err := write(http2.NewFramer(&b, nil)); err != nil {
		panic(err)
	}
	h, err := http2.ReadFrameHeader(bytes.NewReader(b.Bytes()))
	if err != nil {
		panic(err)
	}
	return frame{FrameHeader: h, raw: b.Bytes()}
}

func pong(ping frame) frame {
	return own(func(fr *http2.Framer) error { return fr.WritePing(true, [8]byte(ping.payload())) })
}

func resetStream(id uint32, code http2.ErrCode) frame {
	return own(func(fr *http2.Framer) error { return fr.WriteRSTStream(id, code) })
}

func goAway(last uint32) frame {
	return own(func(fr *http2.Framer) error { return fr.WriteGoAway(last, http2.ErrCodeNo, nil) })
}
