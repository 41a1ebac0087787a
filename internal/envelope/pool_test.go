package envelope

import (
	"math/rand/v2"
	"sync"
	"testing"

	"google.golang.org/grpc/mem"
)

// pool hands out buffers that gRPC's reference counting really returns, poisons what comes back, and at the end of the
// test wants each back exactly once.
type pool struct {
	mu   sync.Mutex
	out  map[*byte]bool
	puts int
}

func newPool(t testing.TB) *pool {
	p := &pool{out: make(map[*byte]bool)}
	t.Cleanup(func() {
		if n := p.held(); n > 0 {
			t.Errorf("buffers never freed: got %d, want 0", n)
		}
	})
	return p
}

func (p *pool) held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

func (p *pool) Get(n int) *[]byte {
	b := make([]byte, n, max(n, smallBuffer)) // smaller ones would not be counted
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out[&b[:1][0]] = true
	return &b
}

func (p *pool) Put(b *[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	whole := (*b)[:cap(*b)]
	if !p.out[&whole[0]] {
		panic("a buffer was freed twice")
	}
	delete(p.out, &whole[0])
	p.puts++
	for i := range whole {
		whole[i] = 0xff
	}
}

// receive makes message what gRPC would receive, cut into buffers of the pool at cuts, which ascend.
func (p *pool) receive(message []byte, cuts ...int) mem.BufferSlice {
	var data mem.BufferSlice
	from := 0
	for _, to := range append(cuts[:len(cuts):len(cuts)], len(message)) {
		b := p.Get(to - from)
		copy(*b, message[from:to])
		data = append(data, mem.NewBuffer(b, p))
		from = to
	}
	return data
}

// fill makes b hold message, cut at cuts, as Codec does for RecvMsg: with references of b's own only.
func (p *pool) fill(t testing.TB, b *Batch, message []byte, cuts ...int) {
	t.Helper()
	data := p.receive(message, cuts...)
	if err := (Codec{}).Unmarshal(data, b); err != nil {
		t.Fatal(err)
	}
	data.Free()
}

// split makes b hold message and splits it.
func (p *pool) split(t testing.TB, b *Batch, message []byte, cuts ...int) error {
	t.Helper()
	p.fill(t, b, message, cuts...)
	return b.Split(testLimits)
}

var testLimits = Limits{MaxEnvelope: 2 << 20, MaxBatch: 64 << 10}

// everySplit calls f with the cuts of contiguous bytes, of every split in two, and of some in more.
func everySplit(n int, f func(cuts ...int)) {
	f()
	for i := range n + 1 {
		f(i)
	}
	for step := 1; step < 8; step++ {
		var cuts []int
		for i := step; i < n; i += step {
			cuts = append(cuts, i)
		}
		f(cuts...)
	}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for range 16 {
		var cuts []int
		for i := 0; i < n; i += r.IntN(12) {
			cuts = append(cuts, i)
		}
		f(cuts...)
	}
}
