package legacysession

import (
	"testing"
	"time"

	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/session"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ends is a client's and a daemon's machine of one session.
type ends struct {
	t        testing.TB
	now      time.Time
	exchange legacycrypto.ClientConfig
	daemon   legacycrypto.DaemonConfig
	up, down *Machine
	psk      legacycrypto.PSK
}

func open(t testing.TB, profile legacycrypto.Profile, lifetime time.Duration) *ends {
	t.Helper()
	static, err := legacycrypto.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{
		t: t, now: began,
		exchange: legacycrypto.ClientConfig{Profile: profile, Daemon: static.Public()},
		daemon:   legacycrypto.DaemonConfig{Static: static, Required: profile},
	}
	if profile == legacycrypto.NoiseIKpsk2 {
		if e.psk, err = legacycrypto.NewPSK([]byte("thirty-two bytes of a paired key")); err != nil {
			t.Fatal(err)
		}
		e.exchange.PSK, e.exchange.PairingPeerID = e.psk, "phone"
	}
	h, err := legacycrypto.NewClientHandshake(e.exchange)
	if err != nil {
		t.Fatal(err)
	}
	init, err := h.Init()
	if err != nil {
		t.Fatal(err)
	}
	response, s, err := e.read(init).Respond(e.psk, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.down = New(s, Config{Lifetime: lifetime}, response, e.now)
	s, err = h.Finish(parse[*legacycrypto.Response](t, transmit(e.down)))
	if err != nil {
		t.Fatal(err)
	}
	e.up = New(s, Config{Client: e.exchange}, nil, e.now)
	return e
}

func (e *ends) read(init []byte) *legacycrypto.DaemonHandshake {
	e.t.Helper()
	h, err := legacycrypto.ReadInit(e.daemon, parse[*legacycrypto.Init](e.t, init))
	if err != nil {
		e.t.Fatal(err)
	}
	return h
}

func parse[T any](t testing.TB, text []byte) T {
	t.Helper()
	f, err := legacycrypto.Parse(text)
	if err != nil {
		t.Fatalf("Parse %.80q: %v", text, err)
	}
	frame, ok := f.(T)
	if !ok {
		t.Fatalf("got a %T, want a %T", f, frame)
	}
	return frame
}

func transmit(m *Machine) []byte {
	text, _ := m.Transmit()
	return text
}

// deliver hands everything that m has to send to to; inits go to Rekey.
func (e *ends) deliver(m, to *Machine) {
	e.t.Helper()
	for m.WantsToSend() {
		f, err := legacycrypto.Parse(transmit(m))
		if err != nil {
			e.t.Fatal(err)
		}
		if init, ok := f.(*legacycrypto.Init); ok {
			if _, err := to.Rekey(e.read(init.Text()), e.psk, e.now); err != nil {
				e.t.Fatalf("Rekey: %v", err)
			}
			continue
		}
		to.Receive(f, e.now)
	}
}

// ask has the daemon ask for a new key, and the client hear it.
func (e *ends) ask() {
	e.t.Helper()
	for range legacycrypto.RekeyAfter {
		e.send(e.down, "x")
		e.deliver(e.down, e.up)
		e.want(e.up, "x")
	}
}

func (e *ends) send(m *Machine, msg string) {
	e.t.Helper()
	if _, done, _, err := m.Send([]byte(msg), e.now); err != nil || !done {
		e.t.Fatalf("Send: %v, %v", done, err)
	}
}

func (e *ends) want(m *Machine, msg string) {
	e.t.Helper()
	if got, ok, _, err := m.Next(e.now); err != nil || !ok || string(got) != msg {
		e.t.Fatalf("Next: got %.40q, %v, %v, want %.40q", got, ok, err, msg)
	}
}

func (e *ends) wantNothing(m *Machine) {
	e.t.Helper()
	if got, ok, _, err := m.Next(e.now); err != nil || ok {
		e.t.Fatalf("Next: got %.40q, %v, want nothing", got, err)
	}
}

func (e *ends) wantEnd(m *Machine, code string, by session.Party) {
	e.t.Helper()
	end, ok := m.Err().(*session.End)
	if !ok || string(end.Code()) != code || end.By != by {
		e.t.Fatalf("the session ended with %v, want %s %v", m.Err(), code, by)
	}
}
