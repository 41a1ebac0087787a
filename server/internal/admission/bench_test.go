package admission

import (
	"testing"

	"github.com/getviewport/relay/internal/reason"
)

// benchAdmitter has the keys without a platform.
func benchAdmitter(b *testing.B) *Admitter {
	b.Helper()
	a, err := New(keysOnly())
	if err != nil {
		b.Fatal(err)
	}
	set, err := parseKeySet([]byte(document(rsaOne(), ecOne(), edOne())))
	a.keys.settle(a.keys.begin(), set, err)
	return a
}

// BenchmarkAdmit is what a token costs before the platform is asked.
func BenchmarkAdmit(b *testing.B) {
	for _, row := range []struct {
		name  string
		token string
		want  reason.Code
	}{
		{"RS256", rsaOne().mint(nil), ""},
		{"ES256", ecOne().mint(nil), ""},
		{"EdDSA", edOne().mint(nil), ""},
		{"bad signature", rsaTwo().withHeader(map[string]any{"kid": "rsa-1"}), reason.TokenInvalid},
		{"unknown kid", rsaTwo().mint(nil), reason.PlatformUnavailable},
		{"no token", "abc", reason.TokenInvalid},
	} {
		b.Run(row.name, func(b *testing.B) {
			a := benchAdmitter(b)
			b.ReportAllocs()
			for b.Loop() {
				_, err := a.Admit(b.Context(), asClient(row.token))
				if err == nil && row.want != "" || err != nil && reason.Of(err).Code != row.want {
					b.Fatalf("got %v, want %q", err, row.want)
				}
			}
		})
	}
}

// BenchmarkPreParse is the part of it that stands before golang-jwt.
func BenchmarkPreParse(b *testing.B) {
	token := rsaOne().mint(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := preParse(token); err != nil {
			b.Fatal(err)
		}
	}
}
