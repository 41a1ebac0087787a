//go:build unix

package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getviewport/relay/internal/legacypage"
)

// call does what a page asks of its test, and returns what the page gets for it, as JSON.
type call func(argument json.RawMessage) (any, error)

// visit opens a page of testdata in a browser and returns what it reports. Meanwhile the page may call the test, one
// call after the other.
func visit(t *testing.T, page string, calls map[string]call) map[string]any {
	t.Helper()
	type report struct {
		result map[string]any
		err    error
	}
	reports := make(chan report, 1)
	calls["report"] = func(b json.RawMessage) (any, error) {
		var r report
		r.err = json.Unmarshal(b, &r.result)
		reports <- r
		return nil, r.err
	}
	calls["fail"] = func(b json.RawMessage) (any, error) {
		reports <- report{err: fmt.Errorf("the page failed: %s", b)}
		return nil, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{page}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("page") == "legacy.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(legacypage.Module)
			return
		}
		http.ServeFile(w, r, "testdata/"+r.PathValue("page"))
	})
	mux.HandleFunc("POST /call/{name}", func(w http.ResponseWriter, r *http.Request) {
		var argument, answer any
		err := json.NewDecoder(r.Body).Decode(&argument)
		if f := calls[r.PathValue("name")]; err == nil && f != nil {
			raw, _ := json.Marshal(argument)
			answer, err = f(raw)
		} else if err == nil {
			err = fmt.Errorf("there is no %s", r.PathValue("name"))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	browse(t, site.URL+"/"+page)
	select {
	case r := <-reports:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.result
	case <-patient(t).Done():
		t.Fatal("the page reports nothing")
		return nil
	}
}

// want compares what a page has reported under a name.
func want(t *testing.T, result map[string]any, name string, value any) {
	t.Helper()
	expected, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(result[name])
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(expected) {
		t.Errorf("%s: got %.300s, want %.300s", name, got, expected)
	}
}
