package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
)

const (
	// idleTarget is how many client links share a target.
	idleTarget = 20
	// settle is how many milliseconds links rest before memory is read: what their opening left behind ends meanwhile.
	settle = 3000
)

// BenchmarkIdle is the resident memory of a process per link, each a connection of its own with one open ConnectClient
// stream that was admitted. The process collects its garbage and gives back free memory before it is asked, and what it
// had before the first link does not count.
func BenchmarkIdle(b *testing.B) {
	for _, transport := range []string{"plain", "tls"} {
		for _, kind := range []string{"relay", "bare"} {
			b.Run(transport+"/"+kind, func(b *testing.B) {
				for range b.N {
					var links leanLinks
					benchmarkIdle(b, kind, transport == "tls", []int{2000, 8000},
						func(addr string, config *tls.Config, platform *devplatform.Server, n int) error {
							return links.open(addr, config, clients(b, platform, devplatform.ES256, len(links.links), n))
						})
					links.close()
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// benchmarkIdle measures at several numbers of links; open opens those that are missing.
func benchmarkIdle(b *testing.B, kind string, secure bool, counts []int,
	open func(addr string, config *tls.Config, platform *devplatform.Server, n int) error,
) {
	b.Helper()
	platform := startPlatform(b)
	spec := childSpec{Kind: kind, JWKSURL: platform.JWKSURL()}
	var config *tls.Config
	if secure {
		spec.Cert, spec.Key, config = certificate(b)
	}
	process := startChild(b, spec)
	empty := process.memory()
	for _, n := range counts {
		n := scaled(n)
		if err := open(process.addr, config, platform, n); err != nil {
			b.Fatal(err)
		}
		time.Sleep(time.Duration(scaled(settle)) * time.Millisecond)
		now := process.memory()
		for _, m := range []struct {
			metric string
			rise   float64
		}{
			{"KiB/link-at-%d", float64(now.resident-empty.resident) / 1024},
			{"Go-KiB/link-at-%d", float64(now.inUse-empty.inUse) / 1024},
			{"goroutines/link-at-%d", float64(now.goroutines - empty.goroutines)},
		} {
			b.ReportMetric(m.rise/float64(n), fmt.Sprintf(m.metric, n))
		}
		process.profile(fmt.Sprintf("idle-%s-%t-%d", kind, secure, n))
	}
}

// clients are those numbered from to to-1, each with a token of its own.
func clients(b *testing.B, platform *devplatform.Server, algorithm string, from, to int) (all []who) {
	b.Helper()
	for i := from; i < to; i++ {
		w := who{
			method: "ConnectClient", workspace: fmt.Sprintf("bench-%d", i/(10*idleTarget)),
			target: fmt.Sprintf("host-%d", i/idleTarget),
		}
		var err error
		w.token, err = platform.Mint(devplatform.Claims{
			Role: devplatform.RoleClient, WorkspaceID: w.workspace, RuntimeTargetID: w.target, Algorithm: algorithm,
		})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

func startPlatform(b *testing.B) *devplatform.Server {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	platform, err := devplatform.New(devplatform.Config{})
	if err != nil {
		b.Fatal(err)
	}
	if err := platform.Start(ln); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = platform.Close() })
	return platform
}

// certificate makes one that signs itself: its files, and what a client needs to trust it.
func certificate(b *testing.B) (cert, key string, config *tls.Config) {
	b.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		b.Fatal(err)
	}
	der8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		b.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	write := func(name, typ string, der []byte) string {
		path := filepath.Join(b.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", der8),
		&tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}}
}
