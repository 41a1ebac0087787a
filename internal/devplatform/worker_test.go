package devplatform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

const executorPath = "/api/runtime/workspaces/acme/managed-executors/e%201"

func TestAWorkersRequestComesBackAsItCame(t *testing.T) {
	s, client := start(t, Config{})
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "", "", 200},
		{"GET", "/runs/r%2F1?a=1&b=%20", "", 200},
		{"POST", "/runs", `{"a":1}`, 200},
		{"PATCH", "/status/429", "é", 429},
		{"GET", "/status/503", "", 503},
	} {
		request, err := http.NewRequestWithContext(t.Context(), row.method, s.URL()+executorPath+row.path,
			strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Viewport-Worker-Nonce", "n1")
		request.Header["Accept"] = []string{"a", "b"}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var got echo
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != row.status || got.Method != row.method || got.Path != executorPath+row.path ||
			got.Body != row.body || got.Headers["x-viewport-worker-nonce"] != "n1" || got.Headers["accept"] != "a, b" {
			t.Errorf("%s %s: got %d %+v", row.method, row.path, response.StatusCode, got)
		}
		for _, name := range []string{"set-cookie", "authorization", "x-dev-echo"} {
			if response.Header.Get(name) == "" {
				t.Errorf("got no %s: a relay has nothing to drop, or to pass on", name)
			}
		}
	}
	if n := s.Calls().Worker; n != 5 {
		t.Errorf("got %d calls counted, want 5", n)
	}
}

func TestAWorkerMeetsAnswersThatARelayMustBear(t *testing.T) {
	s, client := start(t, Config{})
	status, b := ask(t, client, s.URL()+executorPath+"/big/70000", nil)
	if status != 200 || len(b) != 70000 || len(bytes.TrimLeft(b, " ")) != 0 {
		t.Errorf("big: got %d and %d bytes, want 70000 spaces", status, len(b))
	}
	if status, b := ask(t, client, s.URL()+executorPath+"/big", nil); status != 200 || len(b) != defaultBig {
		t.Errorf("big: got %d and %d bytes, want 8 MiB", status, len(b))
	}
	ask(t, client, s.URL()+executorPath+"/redirect", nil) // follows
	if n := s.Calls().Redirected; n != 1 {
		t.Errorf("got %d calls where it redirects to, want 1", n)
	}
	readSpaces(t, client, s.URL()+executorPath+"/drip", nil, 2)
	status, b = ask(t, client, s.URL()+executorPath, strings.Repeat("x", maxWorkerBody+1))
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of more than 4 MiB: got %d %s, want 413", status, b)
	}

	ctx, cancel := context.WithCancel(t.Context())
	before := s.Calls()
	done := make(chan error, 1)
	go func() {
		response, err := send(ctx, client, s.URL()+executorPath+"/slow", "{}")
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		done <- err
	}()
	for s.Calls() == before { // until it has come
		runtime.Gosched()
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("slow: got %v, want nothing until the caller gave up", err)
	}
}
