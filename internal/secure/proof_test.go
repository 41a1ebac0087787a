package secure

import (
	"errors"
	"testing"
)

func TestAProofHoldsForItsSessionRoleAndNumbersOnly(t *testing.T) {
	client, daemon := pair(t, ik)
	proof := Proof{Type: resume, Session: "s", First: 1, Ack: 2, Consumed: 3, Attempt: 4}
	up, down := client.Prove(proof), daemon.Prove(proof)
	if !daemon.Verify(proof, up[:]) || !client.Verify(proof, down[:]) {
		t.Fatal("genuine proofs: got them refused")
	}
	if client.Verify(proof, up[:]) || daemon.Verify(proof, down[:]) {
		t.Error("a proof sent back to its maker: got it accepted")
	}
	cc, dc := configs(t, ik)
	cc.Prologue, dc.Prologue = Prologue("acme", "build-7", "another"), Prologue("acme", "build-7", "another")
	_, otherDaemon := pairOf(t, cc, dc)
	if otherDaemon.Verify(proof, up[:]) {
		t.Error("a proof in another session with the same resume secret: got it accepted")
	}
	for name, change := range map[string]func(*Proof){
		"RESUME made RESUMED": func(p *Proof) { p.Type = resumed },
		"RESUME made RESET":   func(p *Proof) { p.Type = reset },
		"type":                func(p *Proof) { p.Type += 256 },
		"session":             func(p *Proof) { p.Session = "t" },
		"a longer session":    func(p *Proof) { p.Session += "\x00" },
		"first":               func(p *Proof) { p.First++ },
		"ack":                 func(p *Proof) { p.Ack++ },
		"consumed":            func(p *Proof) { p.Consumed++ },
		"attempt":             func(p *Proof) { p.Attempt++ },
		"code":                func(p *Proof) { p.Code = "CANCELLED" },
		"ack for consumed":    func(p *Proof) { p.Ack, p.Consumed = p.Consumed, p.Ack },
	} {
		changed := proof
		change(&changed)
		if daemon.Verify(changed, up[:]) {
			t.Errorf("%s changed: got it accepted", name)
		}
	}
	for at := range up {
		bad := up
		bad[at] ^= 1
		if daemon.Verify(proof, bad[:]) || daemon.Verify(proof, up[:at]) {
			t.Fatalf("byte %d changed or cut: got it accepted", at)
		}
	}
	if daemon.Verify(proof, append(up[:], 0)) || daemon.Verify(proof, nil) {
		t.Error("another length: got it accepted")
	}
}

func TestWithoutAResumeSecretNothingIsProved(t *testing.T) {
	cc, dc := configs(t, ik)
	i, r := newInitiator(t, cc), newResponder(t, dc)
	m1, err := i.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ReadInit(m1); err != nil {
		t.Fatal(err)
	}
	_, daemon, err := r.Respond(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 31, 33} {
		if err := daemon.SetResumeSecret(make([]byte, length)); !errors.Is(err, ErrMisuse) {
			t.Errorf("a secret of %d bytes: got %v, want ErrMisuse", length, err)
		}
	}
	proof := Proof{Type: resume, Session: "s"}
	if got := daemon.Prove(proof); got != [32]byte{} {
		t.Errorf("got proof %x, want zeros", got)
	}
	var key [KeySize]byte
	mac, zeros := proof.mac(&key), [32]byte{}
	if daemon.Verify(proof, mac[:]) || daemon.Verify(proof, zeros[:]) {
		t.Error("a proof with a key of zeros, or zeros: got it accepted")
	}
}
