package terminal

import "testing"

func TestInputGoesBehindTheWindowSizeThatItWasTypedIn(t *testing.T) {
	o := newOutbox(100)
	if b := o.urgent(nil); len(b) != 0 {
		t.Fatalf("got %v from an empty outbox", b)
	}
	// The size changes and something is typed between the sender's two looks.
	o.setSize(size{cols: 40, rows: 20})
	if err := o.input.put(t.Context(), []byte("stty size\n")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if n, _ := o.takeInput(p); n != 0 {
		t.Errorf("took %q in front of the new size", p[:n])
	}
	if b := o.urgent(nil); len(b) == 0 {
		t.Error("the size is not sent")
	}
	if n, _ := o.takeInput(p); string(p[:n]) != "stty size\n" {
		t.Errorf("took %q behind the size, want what was typed", p[:n])
	}
}
