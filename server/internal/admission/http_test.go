package admission

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/reason"
)

// TestOverTCP runs both ways of asking over real connections of the Admitter's own, which end with Run (main_test.go).
func TestOverTCP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", body(200, document(rsaOne())))
	mux.HandleFunc("POST /validate", func(w http.ResponseWriter, r *http.Request) { body(200, goodAnswer(nil))(w, r) })
	server := httptest.NewServer(mux)
	defer server.Close()
	a, err := New(Config{JWKSURL: server.URL + "/jwks", ValidateURL: server.URL + "/validate"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	for a.Stats().Keys == 0 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	wantCode(t, a, asClient(rsaOne().mint(nil)), "")
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

func TestAPlatformWithoutAGoodCertificateIsNotAskedAndTheOperatorLearnsWhy(t *testing.T) {
	server := httptest.NewTLSServer(body(200, `{"ok":true}`))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	defer server.Close()
	var log bytes.Buffer
	a, err := New(Config{ValidateURL: server.URL, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, a, asClient("token"), reason.PlatformUnavailable)
	if !strings.Contains(log.String(), "certificate") {
		t.Errorf("got log %q, want the certificate in it", &log)
	}
}

func TestTheEnvironmentSendsNoTokenThroughAProxy(t *testing.T) {
	client, own := NewClient(nil, 1)
	if transport := client.Transport.(*http.Transport); transport.Proxy != nil || !own {
		t.Error("got a transport that asks for a proxy, want none")
	}
}
