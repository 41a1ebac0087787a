package identity_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/getviewport/relay/client/identity"
)

// A string that is made on the daemon's machine and pasted at the client pins each at the other.
func Example() {
	home, err := os.MkdirTemp("", "identity")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(home) }()
	store, err := identity.Open(home) // Open("") is VIEWPORT_HOME, else ~/.viewport
	if err != nil {
		log.Fatal(err)
	}

	// The daemon's machine: viewport pair.
	pairings, err := store.Pairings("acme")
	if err != nil {
		log.Fatal(err)
	}
	made, err := pairings.Create("host-1", identity.NoiseIKpsk2, "Ann's laptop", time.Now())
	if err != nil {
		log.Fatal(err)
	}
	text, err := made.Encode()
	if err != nil {
		log.Fatal(err)
	}

	// The client's: attach --pair. It pins the daemon when the daemon has answered the handshake.
	pairing, err := identity.ParsePairing(text)
	if err != nil {
		log.Fatal(err)
	}
	me, err := store.LoadOrCreate(identity.Client, pairing.Workspace)
	if err != nil {
		log.Fatal(err)
	}
	daemons, err := store.Peers(identity.Client, pairing.Workspace)
	if err != nil {
		log.Fatal(err)
	}
	pinned := pairing.Peer()
	pinned.PairedAt = time.Now()
	if err := daemons.Add(pinned); err != nil {
		log.Fatal(err)
	}

	// The daemon, once the client has proved that it holds its key and the PSK.
	client, err := pairings.Redeem("host-1", pairing.ID(), me.Public, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Label, "may reach", client.Target, "by", client.Profile)
	fmt.Println("private key:", me.Private)
	// Output:
	// Ann's laptop may reach host-1 by noise-ikpsk2
	// private key: [redacted]
}
