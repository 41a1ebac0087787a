package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// Directions of a push.
const (
	pushUp   = "up"
	pushDown = "down"
)

// pushBlock is how often a mark occurs in what is pushed, in bytes.
const pushBlock = 64 << 10

// pushMark is the mark that occurs in what is pushed in one direction.
func pushMark(seed, direction string) []byte {
	sum := sha256.Sum256([]byte("mark " + direction + " " + seed))
	return []byte("pushed-" + direction + "-" + hex.EncodeToString(sum[:12]))
}

// pushed are the bytes that are pushed in one direction: size pseudo-random ones that seed and direction decide, with a
// mark in each block, not always at the same place in it.
type pushed struct {
	// Static.
	random *rand.ChaCha8
	mark   []byte

	left  int64
	count int
	block [pushBlock]byte
	ready []byte // the part of block that was not read
}

func newPushed(seed, direction string, size int64) io.Reader {
	return &pushed{
		random: rand.NewChaCha8(sha256.Sum256([]byte("bytes " + direction + " " + seed))),
		mark:   pushMark(seed, direction),
		left:   size,
	}
}

// Read fills p.
func (r *pushed) Read(p []byte) (int, error) {
	if len(r.ready) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		_, _ = r.random.Read(r.block[:]) // never fails
		copy(r.block[r.count*4099%(pushBlock-len(r.mark)):], r.mark)
		r.count++
		r.ready = r.block[:min(pushBlock, r.left)]
		r.left -= int64(len(r.ready))
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// pushArrived is what the far end writes after its bytes, once it has received as many.
const pushArrived = '\n'

// pushReport is what it says then, as one line of JSON: what it sent, and what it received until the end of its input.
type pushReport struct {
	Sent           int64  `json:"sent"`
	SentSHA256     string `json:"sent_sha256"`
	Received       int64  `json:"received"`
	ReceivedSHA256 string `json:"received_sha256"`
}

// peerCommand is the far end of the demo's push: the daemon runs it, with pipes.
type peerCommand struct {
	Bytes int64  `required:"" help:"How many bytes to write, and to expect."`
	Seed  string `required:"" help:"What decides them."`
}

// run writes its bytes to stdout while it reads stdin, says when as many have arrived, reads on to the end and reports.
func (c *peerCommand) run(stdin io.Reader, stdout io.Writer) error {
	type result struct {
		n   int64
		sum string
		err error
	}
	arrived, received := make(chan struct{}), make(chan result, 1)
	go func() {
		hash := sha256.New()
		n, err := io.CopyN(hash, stdin, c.Bytes)
		close(arrived)
		if err == nil {
			var more int64
			more, err = io.Copy(hash, stdin)
			n += more
		}
		if errors.Is(err, io.EOF) { // fewer came: the report says so
			err = nil
		}
		received <- result{n, hex.EncodeToString(hash.Sum(nil)), err}
	}()
	hash := sha256.New()
	sent, err := io.Copy(io.MultiWriter(hash, stdout), newPushed(c.Seed, pushDown, c.Bytes))
	if err != nil {
		// The reader ends with this process.
		return fmt.Errorf("peer: writing: %w", err)
	}
	<-arrived
	if _, err := stdout.Write([]byte{pushArrived}); err != nil {
		return fmt.Errorf("peer: writing: %w", err)
	}
	in := <-received
	if in.err != nil {
		return fmt.Errorf("peer: reading: %w", in.err)
	}
	return json.NewEncoder(stdout).Encode(pushReport{
		Sent: sent, SentSHA256: hex.EncodeToString(hash.Sum(nil)), Received: in.n, ReceivedSHA256: in.sum,
	})
}
