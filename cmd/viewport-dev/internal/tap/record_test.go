package tap

import (
	"bytes"
	"encoding/binary"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// data is a DATA envelope with size bytes of ciphertext.
func data(sequence uint64, size int) *relayv1.Envelope {
	return &relayv1.Envelope{
		Type: relayv1.FrameType_FRAME_TYPE_DATA, Sequence: sequence, SessionId: "abcdefgh", Ciphertext: make([]byte, size),
	}
}

// message is a gRPC message with these envelopes.
func message(t testing.TB, envelopes ...*relayv1.Envelope) []byte {
	t.Helper()
	b, err := proto.Marshal(&relayv1.EnvelopeBatch{Envelopes: envelopes})
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// connection is what an HTTP/2 endpoint writes that sends these payloads, in frames of at most size bytes.
func connection(t testing.TB, preface bool, size int, payloads ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if preface {
		b.WriteString(http2.ClientPreface)
	}
	framer := http2.NewFramer(&b, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(framer.WriteSettings())
	must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true}))
	for _, payload := range payloads {
		for piece := range slicesOf(payload, size) {
			must(framer.WriteData(1, false, piece))
			must(framer.WritePing(false, [8]byte{}))
		}
	}
	must(framer.WriteData(1, true, nil))
	return b.Bytes()
}

func TestARecordShowsTheHeadersOfAllEnvelopesHoweverTheyAreCut(t *testing.T) {
	payloads := [][]byte{
		message(t, &relayv1.Envelope{
			RuntimeTargetId: "laptop", Type: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, Sequence: 1,
			SessionId: "abcdefghijklmnopqrstuvwxyz", Ciphertext: make([]byte, 96),
		}),
		message(t, &relayv1.Envelope{Type: relayv1.FrameType_FRAME_TYPE_HEARTBEAT, RuntimeTargetId: "laptop"}),
		message(t,
			data(2, 500), data(3, 600)),
	}
	first := []Seen{
		{
			Link: "client", Direction: ToRelay, Type: "HANDSHAKE_INIT", Sequence: 1, Session: "abcdef", Ciphertext: 96,
			Target: "laptop",
		},
		{Link: "client", Direction: ToRelay, Type: "DATA", Sequence: 2, Session: "abcdef", Ciphertext: 500},
	}
	tallies := []Tally{
		{"client", ToRelay, "DATA", 2, 1100},
		{"client", ToRelay, "HANDSHAKE_INIT", 1, 96},
		{"client", ToRelay, "HEARTBEAT", 1, 0},
	}
	for _, preface := range []bool{true, false} {
		for _, size := range []int{1, 7, 100, 16384} {
			for name, reader := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
			} {
				r := NewRecord(2)
				stream := connection(t, preface, size, payloads...)
				if err := r.Decode("client", ToRelay, reader(bytes.NewReader(stream))); err != nil {
					t.Fatalf("preface %v, frames of %d, %s: %v", preface, size, name, err)
				}
				if got := r.First(); !reflect.DeepEqual(got, first) {
					t.Errorf("preface %v, frames of %d, %s: got %v, want %v", preface, size, name, got, first)
				}
				if got := r.Tallies(); !reflect.DeepEqual(got, tallies) {
					t.Errorf("preface %v, frames of %d, %s: got %v, want %v", preface, size, name, got, tallies)
				}
			}
		}
	}
}

func TestAConnectionThatIsCutAnywhereIsNoError(t *testing.T) {
	stream := connection(t, true, 50, message(t, data(2, 200)))
	for cut := range stream {
		if err := NewRecord(1).Decode("client", ToRelay, bytes.NewReader(stream[:cut])); err != nil {
			t.Fatalf("cut at %d: got %v, want no error", cut, err)
		}
	}
}

func TestAConnectionThatCarriesSomethingElseIsAnError(t *testing.T) {
	for name, payload := range map[string][]byte{
		"compressed":      append([]byte{1, 0, 0, 0, 1}, 'x'),
		"too long":        {0, 0xff, 0, 0, 0},
		"not an envelope": append([]byte{0, 0, 0, 0, 2}, 0xff, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			err := NewRecord(1).Decode("client", ToRelay, bytes.NewReader(connection(t, true, 100, payload)))
			if err == nil || !strings.Contains(err.Error(), "client, to relay") {
				t.Errorf("got %v, want an error that names link and direction", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(connection(f, true, 20, message(f, data(2, 60))))
	f.Add([]byte(http2.ClientPreface))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewRecord(4)
		_ = r.Decode("client", ToRelay, bytes.NewReader(stream))
		if n := len(r.First()); n > 4 {
			t.Errorf("got %d envelopes kept, want at most 4", n)
		}
	})
}
