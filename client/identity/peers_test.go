package identity

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// start is when the tests begin; expiry depends on what they pass in alone.
var start = time.Date(2026, 11, 24, 9, 30, 0, 123456789, time.UTC)

func testPeer(n byte) Peer {
	return Peer{
		Key: Key{n, 0xfb, 0xff}, Target: "host-1", Profile: NoiseIKpsk2,
		PSK: NewSecret([32]byte{n, 0xd7, 0xe3, 0x99, 0xc1, 0xfe, 0x8a, 0xee}), Label: "Ann's phone", PairedAt: start,
	}
}

func daemonFiles(t *testing.T, s *Store) (*Peers, *Pairings) {
	t.Helper()
	peers, err := s.Peers(Daemon, "acme")
	if err != nil {
		t.Fatal(err)
	}
	pairings, err := s.Pairings("acme")
	if err != nil {
		t.Fatal(err)
	}
	return peers, pairings
}

func wantPeer(t *testing.T, got Peer, want Peer) {
	t.Helper()
	if got.Key != want.Key || got.Target != want.Target || got.Profile != want.Profile || !got.PSK.Equal(want.PSK) ||
		got.Label != want.Label || !got.PairedAt.Equal(want.PairedAt.Truncate(time.Second)) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestADaemonFindsAClientByKeyAndForTheTargetItPairedForOnly(t *testing.T) {
	s := open(t)
	peers, _ := daemonFiles(t, s)
	if _, found, err := peers.ByKey("host-1", testPeer(1).Key); found || err != nil {
		t.Fatalf("before any pairing: got %v %v, want nothing", found, err)
	}
	for _, p := range []Peer{testPeer(1), testPeer(2)} {
		if err := peers.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := daemonFiles(t, s) // another process, so to say
	got, found, err := again.ByKey("host-1", testPeer(2).Key)
	if !found || err != nil {
		t.Fatalf("got %v %v, want the peer", found, err)
	}
	wantPeer(t, got, testPeer(2))
	if _, found, _ := again.ByKey("host-2", testPeer(2).Key); found {
		t.Error("a client paired for host-1 was found for host-2")
	}
	if _, found, _ := again.ByKey("host-1", testPeer(3).Key); found {
		t.Error("a client that never paired was found")
	}
	if _, _, err := again.ByTarget("host-1"); err == nil {
		t.Error("a daemon was given one of its clients for the target, want an error")
	}
}

func TestAClientPinsOneDaemonPerTarget(t *testing.T) {
	s := open(t)
	peers, err := s.Peers(Client, "acme")
	if err != nil {
		t.Fatal(err)
	}
	other := testPeer(3)
	other.Target, other.Profile, other.PSK, other.Label = "host-2", NoiseIK, Secret{}, ""
	for _, p := range []Peer{testPeer(1), other, testPeer(2)} {
		if err := peers.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	got, found, err := peers.ByTarget("host-1")
	if !found || err != nil {
		t.Fatalf("got %v %v, want the daemon", found, err)
	}
	wantPeer(t, got, testPeer(2))
	if got, found, err = peers.ByTarget("host-2"); !found || err != nil {
		t.Fatalf("got %v %v, want the daemon", found, err)
	}
	wantPeer(t, got, other)
	if all, err := peers.List(); err != nil || len(all) != 2 {
		t.Errorf("got %d peers (%v), want 2", len(all), err)
	}
}

func TestPairingAgainReplacesWhatWasPinned(t *testing.T) {
	peers, _ := daemonFiles(t, open(t))
	again := testPeer(1)
	again.PSK = NewSecret([32]byte{9})
	for _, p := range []Peer{testPeer(1), again} {
		if err := peers.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	all, err := peers.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("got %d peers (%v), want 1", len(all), err)
	}
	wantPeer(t, all[0], again)
}

func TestARemovedPeerIsGoneForARunningDaemonToo(t *testing.T) {
	s := open(t)
	running, _ := daemonFiles(t, s)
	command, _ := daemonFiles(t, s)
	if err := command.Add(testPeer(1)); err != nil {
		t.Fatal(err)
	}
	if _, found, err := running.ByKey("host-1", testPeer(1).Key); !found || err != nil {
		t.Fatalf("got %v %v, want the peer", found, err)
	}
	if found, err := command.Remove("host-1", testPeer(1).Key); !found || err != nil {
		t.Fatalf("got %v %v, want it removed", found, err)
	}
	if _, found, err := running.ByKey("host-1", testPeer(1).Key); found || err != nil {
		t.Errorf("got %v %v, want the peer gone", found, err)
	}
	if found, err := command.Remove("host-1", testPeer(1).Key); found || err != nil {
		t.Errorf("removed twice: got %v %v, want nothing there", found, err)
	}
}

func TestARunningDaemonSeesAnotherFileOfTheSameLengthAndTime(t *testing.T) {
	s := open(t)
	running, _ := daemonFiles(t, s)
	command, _ := daemonFiles(t, s)
	for _, want := range []string{"Ann", "Bob"} {
		peer := testPeer(1)
		peer.Label = want
		if err := command.Add(peer); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(command.file.path(), start, start); err != nil {
			t.Fatal(err)
		}
		if got, _, err := running.ByKey("host-1", peer.Key); err != nil || got.Label != want {
			t.Errorf("got %q (%v), want %q", got.Label, err, want)
		}
	}
}

func TestARunningDaemonRefusesAPeersFileThatBecomesReadable(t *testing.T) {
	peers, _ := daemonFiles(t, open(t))
	if err := peers.Add(testPeer(1)); err != nil {
		t.Fatal(err)
	}
	if _, found, err := peers.ByKey("host-1", testPeer(1).Key); !found || err != nil {
		t.Fatalf("got %v %v, want the peer", found, err)
	}
	if err := os.Chmod(peers.file.path(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, found, err := peers.ByKey("host-1", testPeer(1).Key); found || !errors.Is(err, ErrPermissions) {
		t.Errorf("got %v %v, want ErrPermissions", found, err)
	}
	if err := peers.Add(testPeer(2)); !errors.Is(err, ErrPermissions) {
		t.Errorf("add: got %v, want ErrPermissions", err)
	}
}

func TestNoPeerIsLostWhenManyAreAddedAtOnce(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			peers, _ := daemonFiles(t, s)
			if err := peers.Add(testPeer(byte(i + 1))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	peers, _ := daemonFiles(t, s)
	if all, err := peers.List(); err != nil || len(all) != 16 {
		t.Errorf("got %d peers (%v), want 16", len(all), err)
	}
}

func TestAPeerThatCannotBeIsNotPinned(t *testing.T) {
	peers, _ := daemonFiles(t, open(t))
	for name, change := range map[string]func(*Peer){
		"no key":              func(p *Peer) { p.Key = Key{} },
		"no target":           func(p *Peer) { p.Target = "" },
		"no profile":          func(p *Peer) { p.Profile = 0 },
		"no PSK for IKpsk2":   func(p *Peer) { p.PSK = Secret{} },
		"a PSK for IK":        func(p *Peer) { p.Profile = NoiseIK },
		"no time":             func(p *Peer) { p.PairedAt = time.Time{} },
		"a label too long":    func(p *Peer) { p.Label = strings.Repeat("a", MaxLabel+1) },
		"a label that writes": func(p *Peer) { p.Label = "\x1b[2J" },
		"a label that turns":  func(p *Peer) { p.Label = "a\u202eb" },
		"a label not UTF-8":   func(p *Peer) { p.Label = "\xff" },
	} {
		peer := testPeer(1)
		change(&peer)
		if err := peers.Add(peer); err == nil {
			t.Errorf("%s: pinned", name)
		}
	}
	if all, err := peers.List(); err != nil || len(all) != 0 {
		t.Errorf("got %d peers (%v), want none", len(all), err)
	}
}

func TestThePeersFileHasAnEnd(t *testing.T) {
	peers, _ := daemonFiles(t, open(t))
	all := make([]Peer, MaxPeers)
	for i := range all {
		all[i] = testPeer(1)
		all[i].Key[4], all[i].Key[5] = byte(i), byte(i>>8)
		all[i].Target, all[i].Label = strings.Repeat("t", 128), strings.Repeat("l", MaxLabel)
	}
	if err := peers.file.locked(func() error { return peers.write(all) }); err != nil {
		t.Fatal(err)
	}
	if got, err := peers.List(); err != nil || len(got) != MaxPeers {
		t.Fatalf("got %d peers (%v), want %d", len(got), err, MaxPeers)
	}
	if err := peers.Add(testPeer(2)); err == nil {
		t.Error("one more peer was pinned")
	}
	if err := peers.Add(all[7]); err != nil {
		t.Errorf("pairing one of them again: %v", err)
	}
}

func TestPinsOfOneWorkspaceNeverCountInAnotherWhoseFileNameIsTheSame(t *testing.T) {
	s := open(t)
	peers, pairings := daemonFiles(t, s)
	if err := peers.Add(testPeer(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := pairings.Create("host-1", NoiseIKpsk2, "", start); err != nil {
		t.Fatal(err)
	}
	// What a file system that ignores case does.
	other, err := s.Peers(Daemon, "ACME")
	if err != nil {
		t.Fatal(err)
	}
	otherPairings, err := s.Pairings("ACME")
	if err != nil {
		t.Fatal(err)
	}
	other.file, otherPairings.file = peers.file, pairings.file
	if _, err := other.List(); err == nil || !strings.Contains(err.Error(), `belongs to workspace "acme"`) {
		t.Errorf("peers: got %v, want an error about the workspace", err)
	}
	if _, _, err := otherPairings.Find("host-1", [8]byte{}, start); err == nil || errors.Is(err, ErrPairingUnknown) {
		t.Errorf("pairings: got %v, want an error about the workspace", err)
	}
}

func TestFindingAPeerAgainReadsNoFile(t *testing.T) {
	peers, _ := daemonFiles(t, open(t))
	for i := range 64 {
		if err := peers.Add(testPeer(byte(i + 1))); err != nil {
			t.Fatal(err)
		}
	}
	key := testPeer(64).Key
	find := func() {
		if _, found, err := peers.ByKey("host-1", key); !found || err != nil {
			t.Fatalf("got %v %v, want the peer", found, err)
		}
	}
	find()
	// Reading 64 peers takes hundreds of allocations, a stat of the file and of two directories a few.
	if got := testing.AllocsPerRun(100, find); got > 30 {
		t.Errorf("got %v allocations, want those of a stat", got)
	}
}
