package faults

// living returns the pairs that still pass something on. The caller holds p.mu.
func (p *Proxy) living() (cs []*pair) {
	for c := range p.pairs {
		if !c.silent && !c.finishing {
			cs = append(cs, c)
		}
	}
	return cs
}

// each does something with the pairs that still pass something on, and returns how many there were.
func (p *Proxy) each(do func(*pair)) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	cs := p.living()
	for _, c := range cs {
		do(c)
	}
	return len(cs)
}

// Reset ends all connections with RST on both sides, as a router does that has lost its table, and returns how many
// there were.
func (p *Proxy) Reset() int { return p.each((*pair).reset) }

// Finish ends all connections with FIN on both sides, as a proxy does that shuts down, and returns how many there were.
// What comes later on them is thrown away.
func (p *Proxy) Finish() int {
	return p.each(func(c *pair) {
		c.finishing = true
		_, _ = c.near.CloseWrite(), c.far.CloseWrite()
	})
}

// Forget makes all connections half-open, as a network does that is gone: they forward nothing any more, and neither
// side is told. It returns how many there were. Release ends them.
func (p *Proxy) Forget() (n int, release func()) { return p.silence(func(*pair) {}) }

// Move ends all connections with RST on the side that made them and leaves them half-open on the other, as a peer does
// that wakes up in another network. It returns how many there were. Release ends them.
func (p *Proxy) Move() (n int, release func()) {
	return p.silence(func(c *pair) {
		_ = c.near.SetLinger(0)
		_ = c.near.Close()
	})
}

// silence makes all connections half-open and then does something else with them.
func (p *Proxy) silence(do func(*pair)) (n int, release func()) {
	var cs []*pair
	n = p.each(func(c *pair) {
		c.silent = true
		do(c)
		cs = append(cs, c)
	})
	return n, func() {
		for _, c := range cs {
			c.reset()
		}
	}
}

// Freeze forwards nothing, and connects nothing, until Thaw; then all goes on where it was. It returns how many
// connections there are.
func (p *Proxy) Freeze() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw == nil {
		p.thaw = make(chan struct{})
	}
	return len(p.living())
}

// Thaw ends Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw != nil {
		close(p.thaw)
		p.thaw = nil
	}
}
