package bench

// sender sends to its peer through a process under measurement: so many messages, and returns when the peer has all of
// their frames, with their number.
type sender interface {
	send(messages int) (frames int, err error)
}

// flow is the credit between two ends in one process: nothing but what is measured has to cross the process between them.
type flow struct {
	credit int        // owned by the sender
	taken  chan taken // what the receiver took out of each message
	failed chan error // why the receiver ended; has room for it
}

type taken struct{ frames, cost int }

// newFlow has so much credit, of which a frame costs its ciphertext and frameCost.
func newFlow(window int) flow {
	return flow{credit: window, taken: make(chan taken, 2*window/frameCost), failed: make(chan error, 1)}
}

// through calls write for each message, which has so many frames and this cost, when there is credit for it.
func (f *flow) through(messages, frames, cost int, write func() error) (int, error) {
	received := 0
	take := func() error {
		select {
		case t := <-f.taken:
			f.credit += t.cost
			received += t.frames
			return nil
		case err := <-f.failed:
			return err
		}
	}
	for range messages {
		for f.credit < cost {
			if err := take(); err != nil {
				return 0, err
			}
		}
		f.credit -= cost
		if err := write(); err != nil {
			return 0, err
		}
	}
	for received < messages*frames {
		if err := take(); err != nil {
			return 0, err
		}
	}
	return received, nil
}
