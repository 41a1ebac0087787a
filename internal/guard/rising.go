package guard

// Rising is the guard of one direction of a legacy session: what passes has a higher epoch than all before it, or the
// same and a higher sequence. There is no gap rule, because nothing is sent again. The zero value has passed nothing.
type Rising struct{ epoch, sequence uint64 }

// Step takes the next frame and reports whether it passes.
func (g *Rising) Step(epoch, sequence uint64) bool {
	if epoch < g.epoch || epoch == g.epoch && sequence <= g.sequence {
		return false
	}
	g.epoch, g.sequence = epoch, sequence
	return true
}
