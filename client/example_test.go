package client_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
)

// A client that paired with the daemon before opens a session, sends one message and reads the answer.
func ExampleDial() {
	env := exampleDaemon()
	defer env.end()
	ctx := context.Background()

	store, err := identity.Open(env.clientHome) // "" for ~/.viewport
	if err != nil {
		log.Fatal(err)
	}
	id, err := store.LoadOrCreate(identity.Client, "acme")
	if err != nil {
		log.Fatal(err)
	}
	peers, err := store.Peers(identity.Client, "acme")
	if err != nil {
		log.Fatal(err)
	}
	daemon, _, err := peers.ByTarget("laptop")
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(ctx, client.DialConfig{
		Config: client.Config{
			Relay: env.relay, Workspace: "acme", Target: "laptop",
			Token: client.StaticToken(env.clientToken),
		},
		Identity: id,
		Daemon:   daemon,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	session, err := c.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := session.Send(ctx, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	answer, err := session.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
	if err := session.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: you said hello
}

// A daemon serves every client that its store has pinned, or that comes with a pairing string of `viewport pair`.
func ExampleListen() {
	env := exampleRelay()
	defer env.end()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	store, err := identity.Open(env.daemonHome) // "" for ~/.viewport
	if err != nil {
		log.Fatal(err)
	}
	id, err := store.LoadOrCreate(identity.Daemon, "acme")
	if err != nil {
		log.Fatal(err)
	}
	authorise, err := client.Paired(store, "acme", "laptop")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := client.Listen(ctx, client.ListenConfig{
		Config: client.Config{
			Relay: env.relay, Workspace: "acme", Target: "laptop",
			Token: client.StaticToken(env.daemonToken),
		},
		Identity:  id,
		Authorise: authorise,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go env.visit() // a client somewhere else, which sends "ping"

	session, err := listener.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for {
		msg, err := session.Recv(ctx)
		if err == io.EOF { // the client's clean close, and nothing else
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("received %s\n", msg)
	}
	if err := session.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: received ping
}

// Errors carry a reason that a program can match.
func ExampleError() {
	env := exampleRelay()
	defer env.end()
	c, err := client.Dial(context.Background(), env.dialConfig())
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Open(context.Background())
	fmt.Println(err)
	// Output: PEER_UNAVAILABLE (relay): no daemon is attached
}
