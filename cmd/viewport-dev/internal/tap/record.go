package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// Seen is what one envelope shows to whoever forwards it.
type Seen struct {
	// Link and Direction say where it passed, such as "client" and "to relay".
	Link, Direction string
	// Type is the frame type without its prefix, such as "DATA".
	Type     string
	Sequence uint64
	// Session is the first 6 characters of the session id; empty for frames about a link.
	Session string
	// Ciphertext is its size in bytes.
	Ciphertext int
	// Target is the runtime target.
	Target string
}

// Tally counts the envelopes of one type that passed in one direction of one link.
type Tally struct {
	Link, Direction, Type string
	Envelopes             int64
	Ciphertext            int64 // bytes
}

// Record keeps what several streams show: the first envelopes in the order in which they passed, and a count of all.
type Record struct {
	// Static.
	keep int

	mu sync.Mutex
	// Guarded by mu.
	first []Seen
	tally map[[3]string]*Tally
}

// NewRecord returns a Record that keeps the first envelopes.
func NewRecord(keep int) *Record { return &Record{keep: keep, tally: map[[3]string]*Tally{}} }

// First returns the first envelopes that passed. HEARTBEAT and ACK are counted only: they tell nothing.
func (r *Record) First() []Seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.first)
}

// Tallies returns the counts in order of link, direction and type.
func (r *Record) Tallies() []Tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Tally
	keys := slices.SortedFunc(maps.Keys(r.tally), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	for _, key := range keys {
		all = append(all, *r.tally[key])
	}
	return all
}

func (r *Record) add(link, direction string, e *relayv1.Envelope) {
	name := strings.TrimPrefix(e.GetType().String(), "FRAME_TYPE_")
	session := e.GetSessionId()
	session = session[:min(6, len(session))]
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [3]string{link, direction, name}
	if r.tally[key] == nil {
		r.tally[key] = &Tally{Link: link, Direction: direction, Type: name}
	}
	r.tally[key].Envelopes++
	r.tally[key].Ciphertext += int64(len(e.GetCiphertext()))
	if len(r.first) < r.keep && name != "HEARTBEAT" && name != "ACK" {
		r.first = append(r.first, Seen{
			Link: link, Direction: direction, Type: name, Sequence: e.GetSequence(), Session: session,
			Ciphertext: len(e.GetCiphertext()), Target: e.GetRuntimeTargetId(),
		})
	}
}

// maxMessage is the longest gRPC message that is read, in bytes: the limit of both sides.
const maxMessage = 4 << 20

// maxFrame is the longest HTTP/2 frame that is read, in bytes: gRPC writes 16,384.
const maxFrame = 1 << 20

// Decode reads one direction of an HTTP/2 connection that carries RelayService in the clear until it ends, and
// records its envelopes. A connection that is cut within a frame is no error. After one, what is left in stream is
// not read.
func (r *Record) Decode(link, direction string, stream io.Reader) error {
	d := decoder{record: r, link: link, direction: direction, messages: map[uint32][]byte{}}
	err := d.run(stream)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("tap: %s, %s: %w", link, direction, err)
}

type decoder struct {
	record          *Record
	link, direction string
	messages        map[uint32][]byte // by HTTP/2 stream: the part of a message that came
}

// run reads until something fails, be it that the stream has ended.
func (d *decoder) run(stream io.Reader) error {
	// Only the side that dialled begins with the preface.
	start := make([]byte, len(http2.ClientPreface))
	n, err := io.ReadFull(stream, start)
	if err != nil {
		return err
	}
	if string(start) != http2.ClientPreface {
		stream = io.MultiReader(bytes.NewReader(start[:n]), stream)
	}
	framer := http2.NewFramer(io.Discard, stream)
	framer.SetMaxReadFrameSize(maxFrame)
	framer.SetReuseFrames()
	framer.AllowIllegalReads = true
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			if err := d.data(f.StreamID, f.Data()); err != nil {
				return err
			}
			if f.StreamEnded() {
				delete(d.messages, f.StreamID)
			}
		case *http2.RSTStreamFrame:
			delete(d.messages, f.StreamID)
		}
	}
}

// data takes the payload of a DATA frame: gRPC messages, each behind a byte that says whether it is compressed and its
// length in 4, cut anywhere.
func (d *decoder) data(stream uint32, payload []byte) error {
	b := append(d.messages[stream], payload...)
	for len(b) >= 5 {
		length := binary.BigEndian.Uint32(b[1:5])
		if b[0] != 0 || length > maxMessage {
			return fmt.Errorf("stream %d carries no gRPC message as it should be: it begins with %x", stream, b[:5])
		}
		end := 5 + int(length)
		if len(b) < end {
			break
		}
		var batch relayv1.EnvelopeBatch
		if err := proto.Unmarshal(b[5:end], &batch); err != nil {
			return fmt.Errorf("stream %d carries no EnvelopeBatch: %w", stream, err)
		}
		for _, e := range batch.GetEnvelopes() {
			d.record.add(d.link, d.direction, e)
		}
		b = b[end:]
	}
	d.messages[stream] = append(d.messages[stream][:0], b...)
	return nil
}
