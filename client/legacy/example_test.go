package legacy_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
)

// A client asks one of today's daemons, and doesn't wait for ever: an answer may be lost.
func ExampleDial() {
	env := exampleDaemon()
	defer env.end()
	ctx := context.Background()

	c, err := legacy.Dial(ctx, legacy.DialConfig{
		Config: legacy.Config{
			URL: env.url, Workspace: "acme", Target: "laptop",
			Token: client.StaticToken(env.clientToken),
		},
		Daemon:  env.daemonKey, // of a source that you trust: whoever chooses it is who you talk to
		Profile: identity.NoiseIK,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	session, err := c.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := session.Send(ctx, []byte(`{"type":"list-sessions","requestId":"r1"}`)); err != nil {
		log.Fatal(err)
	}
	wait, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	answer, err := session.Recv(wait)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
	if err := session.Close(); err != nil { // the daemon is not told
		log.Fatal(err)
	}
	// Output: {"type":"ack","requestId":"r1","status":"ok"}
}

// A daemon serves today's browsers with the key that it has always had.
func ExampleListen() {
	env := exampleRelay()
	defer env.end()
	ctx := context.Background()

	text, err := os.ReadFile(env.identityFile) // ~/.viewport/relay-identities/<workspace>.json
	if err != nil {
		log.Fatal(err)
	}
	id, err := legacy.ParseIdentity(text)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := legacy.Listen(ctx, legacy.ListenConfig{
		Config: legacy.Config{
			URL: env.url, Workspace: "acme", Target: "laptop",
			Token: client.StaticToken(env.daemonToken),
		},
		Identity: id,
		Profile:  identity.NoiseIK, // anybody whom the relay lets in may be the client
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go env.visit(id.Public()) // a browser somewhere else, which sends "ping" and leaves

	session, err := listener.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	msg, err := session.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("received %s\n", msg)

	// That its client has left a daemon sees by nothing but silence.
	wait, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	_, err = session.Recv(wait)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// received ping
	// true
}

// A client pairs once, so that the daemon knows it from then on.
func ExamplePair() {
	env := exampleDaemon()
	defer env.end()
	ctx := context.Background()

	key, err := legacy.NewSigningKey() // keep it
	if err != nil {
		log.Fatal(err)
	}
	config := legacy.Config{
		URL: env.url, Workspace: "acme", Target: "laptop",
		Token: client.StaticToken(env.pairingToken), // its scope is pairing
	}
	pairing, err := legacy.Pair(ctx, legacy.PairConfig{Config: config, Key: key})
	if err != nil {
		log.Fatal(err)
	}
	config.Token = client.StaticToken(env.clientToken)
	c, err := legacy.Dial(ctx, legacy.DialConfig{
		Config: config, Daemon: env.daemonKey,
		Profile: identity.NoiseIKpsk2, PSK: pairing.PSK, PairingPeerID: pairing.PeerID, // keep them, too
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	session, err := c.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(session.Profile())
	// Output: noise-ikpsk2
}
