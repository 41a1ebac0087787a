package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"time"
)

// A block is a header and a filling. The header, big-endian: what it is (u8), the stream's tag (8 bytes), its number
// (u64, from 0), and when its sender wanted to send it (i64, nanoseconds of Unix time). The end of a stream is a header
// whose number is how many blocks there were, and the SHA-256 of all of them.
const (
	kindBlock byte = 'b'
	kindEnd   byte = 'e'

	tagSize    = 8
	numberAt   = 1 + tagSize
	timeAt     = numberAt + 8
	headerSize = timeAt + 8
)

// MinBlock is the shortest block, in bytes.
const MinBlock = headerSize

// stream is what decides the bytes of a stream.
type stream struct{ key [sha256.Size]byte }

func newStream(seed, name string) stream { return stream{sha256.Sum256([]byte(seed + "\x00" + name))} }

func (s stream) tag() []byte { return s.key[:tagSize] }

// append appends a header.
func (s stream) append(b []byte, kind byte, number uint64, wanted time.Time) []byte {
	b = append(append(b, kind), s.tag()...)
	b = binary.BigEndian.AppendUint64(b, number)
	return binary.BigEndian.AppendUint64(b, uint64(wanted.UnixNano()))
}

// fill fills b with what block number has.
func (s stream) fill(number uint64, b []byte) {
	key := sha256.Sum256(binary.BigEndian.AppendUint64(s.key[:], number))
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
}

// Sent is what a Writer made.
type Sent struct {
	Blocks uint64 `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
	// SHA256 is that of all blocks, in hex.
	SHA256 string `json:"sha256"`
}

// Writer makes the blocks of one stream. It is not for concurrent use.
type Writer struct {
	stream stream
	sum    hash.Hash
	sent   Sent
}

// NewWriter returns a Writer at block 0. Seed and name decide the bytes: a Reader of the same two knows them.
func NewWriter(seed, name string) *Writer {
	return &Writer{stream: newStream(seed, name), sum: sha256.New()}
}

// Block returns the next block, of size bytes (at least MinBlock). Wanted is when the sender wants to send it.
func (w *Writer) Block(size int, wanted time.Time) []byte {
	b := make([]byte, 0, max(size, headerSize))
	b = w.stream.append(b, kindBlock, w.sent.Blocks, wanted)[:cap(b)]
	w.stream.fill(w.sent.Blocks, b[headerSize:])
	_, _ = w.sum.Write(b) // never fails
	w.sent.Blocks++
	w.sent.Bytes += uint64(len(b))
	return b
}

// End returns the message behind the last block.
func (w *Writer) End(wanted time.Time) []byte {
	return w.sum.Sum(w.stream.append(nil, kindEnd, w.sent.Blocks, wanted))
}

// Sent returns what was made so far.
func (w *Writer) Sent() Sent {
	w.sent.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	return w.sent
}

// message is a parsed block or end.
type message struct {
	kind    byte
	number  uint64
	wanted  time.Time
	content []byte
}

// parse reads a message of s; ok is false for anything else.
func (s stream) parse(b []byte) (m message, ok bool) {
	if len(b) < headerSize || !bytes.Equal(b[1:numberAt], s.tag()) {
		return m, false
	}
	m = message{
		kind: b[0], number: binary.BigEndian.Uint64(b[numberAt:timeAt]),
		wanted: time.Unix(0, int64(binary.BigEndian.Uint64(b[timeAt:headerSize]))), content: b[headerSize:],
	}
	return m, m.kind == kindBlock || m.kind == kindEnd && len(m.content) == sha256.Size
}
