package bench

import (
	"fmt"
	"testing"
)

// BenchmarkBridge is BenchmarkForward for a client and a daemon of today's protocol. The sizes are those of what is in the
// ciphertext: the frame that has it in base64 is longer, see text-bytes. The client writes its frames
//   - each: one by one, as browsers do, up to a window ahead of the daemon;
//   - batched: as many at once as a native sender puts into a message;
//   - awaited: one by one, the next when the daemon has the last, so that each has to be read, sent and waited for alone.
func BenchmarkBridge(b *testing.B) {
	for _, sessions := range []int{1, 50} {
		for _, size := range []int{64, 1 << 10, 16 << 10} {
			for _, manner := range []string{"each", "batched", "awaited"} {
				if manner != "each" && size != 1<<10 {
					continue
				}
				b.Run(fmt.Sprintf("%d-sessions/%s/%s", sessions, sizeName(size), manner), func(b *testing.B) {
					benchmarkBridge(b, sessions, size, manner)
				})
			}
		}
	}
}

func benchmarkBridge(b *testing.B, sessions, size int, manner string) {
	platform := startPlatform(b)
	text, _ := legacyText("rs_4f1e0c8a9b7d6e5f4a3b2c1d", size)
	perWrite, ahead := 1, window
	switch manner {
	case "batched":
		perWrite = batchBytes / len(text)
	case "awaited":
		ahead = size + frameCost
	}
	open := func(addr string, n int) sender {
		p := openLegacyPair(b, addr, platform, n, size, perWrite, ahead)
		go p.receive()
		return p
	}
	compare(b, newSubject(b, "relay", platform, sessions, open), newSubject(b, "bare-websocket", platform, sessions, open))
	b.ReportMetric(float64(len(text)), "text-bytes")
}

// BenchmarkWebSocket is BenchmarkForward for the native protocol over WebSocket.
func BenchmarkWebSocket(b *testing.B) {
	for _, sessions := range []int{1, 50} {
		b.Run(fmt.Sprintf("%d-sessions/1KiB", sessions), func(b *testing.B) {
			platform := startPlatform(b)
			open := func(addr string, n int) sender {
				p := openWebSocketPair(b, addr, platform, n, 1<<10)
				go p.receive()
				return p
			}
			compare(b, newSubject(b, "relay", platform, sessions, open),
				newSubject(b, "bare-websocket", platform, sessions, open))
		})
	}
}

// BenchmarkBridgeIdle is BenchmarkIdle for clients of today's protocol.
func BenchmarkBridgeIdle(b *testing.B) {
	for _, transport := range []string{"plain", "tls"} {
		for _, kind := range []string{"relay", "bare-websocket"} {
			b.Run(transport+"/"+kind, func(b *testing.B) {
				for range b.N {
					var links webSockets
					benchmarkIdle(b, kind, transport == "tls", []int{2000}, links.open)
					links.close()
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
