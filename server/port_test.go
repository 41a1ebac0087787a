package server_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/server"
)

// get asks by HTTP/1.1 on a connection of its own.
func get(t *testing.T, url string, trust *tls.Config, authorization ...string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust}}
	request, err := http.NewRequestWithContext(patient(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range authorization {
		request.Header.Add("Authorization", value)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.ProtoMajor != 1 {
		t.Errorf("%s: got %s, want HTTP/1.1", url, answer.Proto)
	}
	return answer.StatusCode, string(body)
}

// secured makes the public port speak TLS.
func secured(t *testing.T) (change func(*server.Config), trust *tls.Config) {
	t.Helper()
	certFile, keyFile, trust := certificate(t)
	return func(c *server.Config) { c.TLSCert, c.TLSKey = certFile, keyFile }, trust
}

func TestOnePortServesLinksAndProbesPlainAndByTLS(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			var r *relay
			if scheme == "https" {
				change, trust := secured(t)
				r = start(t, change)
				r.tls = trust
			} else {
				r = start(t)
			}
			daemon, client, s := r.pair("port-" + scheme)
			client.send(s.data(2))
			daemon.want(typeData, 2)
			for _, path := range []string{"/health", "/livez", "/readyz"} {
				code, body := get(t, scheme+"://"+r.addr+path, r.tls)
				if code != 200 || body != `{"ok":true}`+"\n" {
					t.Errorf("%s: got %d %q, want 200 and ok, without detail", path, code, body)
				}
			}
			if code, _ := get(t, scheme+"://"+r.addr+"/metrics", r.tls); code != 404 {
				t.Errorf("/metrics on the public port: got %d, want 404", code)
			}
			health, err := healthv1.NewHealthClient(r.dial()).Check(patient(t), &healthv1.HealthCheckRequest{})
			if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
				t.Errorf("grpc.health.v1 without a token: got %v, %v, want SERVING", health, err)
			}
		})
	}
}

func TestByTLSOnlyALPNH2CarriesLinks(t *testing.T) {
	change, trust := secured(t)
	r := start(t, change)
	for offer, want := range map[string]string{"h2": "h2", "http/1.1": "http/1.1"} {
		config := trust.Clone()
		config.NextProtos = []string{offer}
		conn, err := tls.Dial("tcp", r.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("offering %s: got %q", offer, got)
		}
		_ = conn.Close()
	}
	_, err := healthv1.NewHealthClient(r.dial()).Check(patient(t), &healthv1.HealthCheckRequest{}) // plain
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a plain call on the TLS port: got %v, want UNAVAILABLE", err)
	}
}

func TestThePublicPortHasNoReflectionAndNoAdmin(t *testing.T) {
	r := start(t)
	conn := r.dial()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection: got %v, want UNIMPLEMENTED", err)
	}
	_, err = relayv1.NewAdminServiceClient(conn).GetStatus(patient(t), &relayv1.GetStatusRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("AdminService: got %v, want UNIMPLEMENTED", err)
	}
}

func TestAnAddressThatIsTakenIsAClearError(t *testing.T) {
	r := start(t)
	for name, cfg := range map[string]server.Config{
		"public": {Listen: r.addr, ValidateURL: platform.ValidateURL()},
		"admin": {
			Listen: "127.0.0.1:0", AdminListen: r.addr, AdminTokens: []string{"t"}, ValidateURL: platform.ValidateURL(),
		},
	} {
		s, err := server.New(cfg)
		if err == nil {
			_ = s.Close()
			t.Fatalf("%s: New took an address that is in use", name)
		}
		if !strings.Contains(err.Error(), r.addr) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: got %q, want the address and that it is in use", name, err)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefusedByName(t *testing.T) {
	good := server.Config{Listen: "127.0.0.1:0", ValidateURL: platform.ValidateURL()}
	for want, change := range map[string]func(*server.Config){
		"Config.Listen":        func(c *server.Config) { c.Listen = "7781" },
		"Config.AdminListen":   func(c *server.Config) { c.AdminTokens = []string{"t"} },
		"TLSCert":              func(c *server.Config) { c.TLSCert = "relay.crt" },
		"no-such.crt":          func(c *server.Config) { c.TLSCert, c.TLSKey = "no-such.crt", "no-such.key" },
		"Config.Heartbeat":     func(c *server.Config) { c.Heartbeat = -1 },
		"Limits.SessionWindow": func(c *server.Config) { c.Limits.SessionWindow = 1 },
		"Limits.MaxEnvelope":   func(c *server.Config) { c.Limits.MaxEnvelope = 5 << 20 },
		"JWKSURL":              func(c *server.Config) { c.ValidateURL = "" },
	} {
		cfg := good
		change(&cfg)
		s, err := server.New(cfg)
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: New took it", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}
