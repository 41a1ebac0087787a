package client

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/secure"
	"github.com/getviewport/relay/internal/session"
)

// frames hands what a machine has to send now to f.
func frames(t *testing.T, m *session.Machine, f func(*envelope.Header, []byte)) {
	t.Helper()
	for m.WantsToSend() {
		out, _ := m.Transmit(nil, batchBytes, time.Now())
		var b envelope.Batch
		b.Load(out)
		if err := b.Split(envelope.Limits{MaxEnvelope: messageBytes, MaxBatch: 64 << 10}); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames() {
			f(&b.Frames()[i].Header, b.Ciphertext(i))
		}
	}
}

// openMachines are the two ends of a session.
func openMachines(t *testing.T) (up, down *session.Machine) {
	t.Helper()
	key := func() secure.KeyPair {
		k, err := secure.GenerateKeyPair(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	daemon, c := key(), session.Config{Workspace: "acme", Target: "laptop"}
	up, err := session.NewClient(c, session.ClientHandshake{
		Profile: relayv1.Profile_PROFILE_NOISE_IK, Static: key(), PeerStatic: daemon.Public,
	}, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	frames(t, up, func(h *envelope.Header, ciphertext []byte) {
		in, err := session.ReadInit(c, daemon, h, ciphertext, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if down, err = in.Accept(nil, rand.Reader, time.Now()); err != nil {
			t.Fatal(err)
		}
	})
	frames(t, down, func(h *envelope.Header, ciphertext []byte) { up.Receive(h, ciphertext, time.Now()) })
	frames(t, up, func(h *envelope.Header, ciphertext []byte) { down.Receive(h, ciphertext, time.Now()) })
	return up, down
}

func TestAPeerThatIsAwayIsNotSlowAndOneThatAnswersIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, down := openMachines(t)
		k := newKeeper(t.Context(), &Config{SendTimeout: 10 * time.Second}, "")
		s := newSession(k, down, nil)
		s.on = &link{keeper: k, wake: make(chan struct{}, 1)} // nothing of it is ever sent: the client is away
		s.start()
		told := make(chan error, 1)
		go func() {
			for {
				if err := s.Send(context.Background(), make([]byte, 10_000)); err != nil {
					told <- err
					return
				}
			}
		}()
		time.Sleep(5*time.Minute + time.Second)
		select {
		case err := <-told:
			t.Fatalf("Send to a client that is away: got %v, want it to wait", err)
		default:
		}
		// Now it answers, and still its application reads nothing.
		before := time.Now()
		for {
			s.mu.Lock()
			frames(t, s.native, func(h *envelope.Header, ciphertext []byte) { up.Receive(h, ciphertext, time.Now()) })
			s.mu.Unlock()
			frames(t, up, func(h *envelope.Header, ciphertext []byte) { s.receive(s.on, h, ciphertext, time.Now()) })
			time.Sleep(time.Second)
			select {
			case err := <-told:
				if !errors.Is(err, PeerSlow) || time.Since(before) > 3*k.cfg.SendTimeout {
					t.Errorf("Send to a client that answers and does not read: got %v after %v", err, time.Since(before))
				}
				s.Abort()
				k.cancel()
				return
			default:
			}
		}
	})
}
