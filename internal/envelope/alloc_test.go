//go:build !race

package envelope

import (
	"testing"

	"google.golang.org/grpc/mem"
)

// The race detector makes sync.Pool drop things at random, so these run without it.

func wantAllocs(t *testing.T, what string, want float64, f func()) {
	t.Helper()
	f()
	if got := testing.AllocsPerRun(200, f); got != want {
		t.Errorf("%s: allocations: got %v, want %v", what, got, want)
	}
}

func TestForwardingABatchDoesNotAllocate(t *testing.T) {
	message, ends := batchOf(80, 64)
	var b Batch
	queue := make([]Run, 0, 4)
	for _, c := range []struct {
		name string
		data mem.BufferSlice
	}{
		{"in one buffer", received(message)},
		{"with a header that straddles buffers", append(received(message[:ends[40]+20]), received(message[ends[40]+20:])...)},
	} {
		wantAllocs(t, "receive and split "+c.name, 0, func() {
			if err := (Codec{}).Unmarshal(c.data, &b); err != nil {
				t.Fatal(err)
			}
			if err := b.Split(testLimits); err != nil {
				t.Fatal(err)
			}
		})
		wantAllocs(t, "and queue runs of one buffer, "+c.name, 0, func() {
			_ = (Codec{}).Unmarshal(c.data, &b)
			_ = b.Split(testLimits)
			queue = append(queue[:0], b.Run(0, 40), b.Run(42, 80))
			b.Free()
			for _, r := range queue {
				r.Free()
			}
		})
	}
	// gRPC keeps the array of a message's buffers, so each message has its own.
	r := RunOf(message, len(ends))
	wantAllocs(t, "hand over to gRPC", 1, func() {
		var o Outgoing
		o.Add(r)
		_, _ = o.handOver()
	})
}

func TestTheHeadOfARunDoesNotAllocate(t *testing.T) {
	message, _ := batchOf(80, 64)
	data := received(message)
	var b Batch
	wantAllocs(t, "head", 0, func() {
		_ = (Codec{}).Unmarshal(data, &b)
		_ = b.Split(testLimits)
		b.Run(0, 80).Head(60).Free()
	})
}

func TestAppendingAndCheckingOwnershipDoNotAllocate(t *testing.T) {
	h, c, dst := testHeader(), make([]byte, 256), make([]byte, 0, 1024)
	wantAllocs(t, "Append", 0, func() { dst = Append(dst[:0], h, c) })
	key := []byte("0123456789abcdef")
	id := []byte(SessionID(key))
	wantAllocs(t, "OwnsSession", 0, func() {
		if !OwnsSession(key, id) {
			t.Fatal("not owned")
		}
	})
}
