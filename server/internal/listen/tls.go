package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// LoadTLS makes the TLS configuration of a public port from PEM files: TLS 1.2 or later, Go's choice of suites. Errors
// name the file. The certificate is served by GetCertificate, so that what renews it has one place to act.
func LoadTLS(certFile, keyFile string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
	}, nil
}

// Credentials are what a grpc.Server needs to serve Mux.GRPC, plain and TLS: the handshake is already done. The peer of
// a TLS connection has credentials.TLSInfo.
func Credentials() credentials.TransportCredentials { return handshaked{} }

// handshaked passes connections through.
type handshaked struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (handshaked) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return insecure.NewCredentials().ServerHandshake(conn)
	}
	return conn, credentials.TLSInfo{
		State:          t.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// ClientHandshake implements credentials.TransportCredentials; there is no client's side.
func (handshaked) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("credentials of a listening port can't dial")
}

// Info implements credentials.TransportCredentials.
func (handshaked) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "handshaked"}
}

// Clone implements credentials.TransportCredentials.
func (h handshaked) Clone() credentials.TransportCredentials { return h }

// OverrideServerName implements credentials.TransportCredentials; a server has no name to override.
func (handshaked) OverrideServerName(string) error { return nil }
