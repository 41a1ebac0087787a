package isolation_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// tenant is one runtime target of one workspace.
type tenant struct{ workspace, target string }

func (t tenant) String() string { return fmt.Sprintf("%.40q/%.40q", t.workspace, t.target) }

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"

// word draws n characters that ids may have, at least one.
func word(r *rand.Rand, n int) string {
	b := make([]byte, max(1, n))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// collisions are ways to draw two tenants that differ and that careless code takes for one.
var collisions = []func(r *rand.Rand) (a, b tenant){
	// A separator that may belong to either id: "a:b" and "c", "a" and "b:c".
	func(r *rand.Rand) (a, b tenant) {
		x, y, z := word(r, 4), word(r, 4), word(r, 4)
		sep := string(".:-_"[r.IntN(4)])
		return tenant{x + sep + y, z}, tenant{x, y + sep + z}
	},
	// No separator at all: "ab" and "c", "a" and "bc".
	func(r *rand.Rand) (a, b tenant) {
		x, y, z := word(r, 3), word(r, 1+r.IntN(3)), word(r, 3)
		return tenant{x + y, z}, tenant{x, y + z}
	},
	// Workspace and target changed places.
	func(r *rand.Rand) (a, b tenant) {
		x, y := word(r, 6), word(r, 6)+"x"
		return tenant{x, y}, tenant{y, x}
	},
	// Upper and lower case.
	func(r *rand.Rand) (a, b tenant) {
		x, y := "q"+word(r, 8), word(r, 5)
		return tenant{x, y}, tenant{strings.ToUpper(x), y}
	},
	func(r *rand.Rand) (a, b tenant) {
		x, y := word(r, 8), "q"+word(r, 5)
		return tenant{x, y}, tenant{x, strings.ToUpper(y)}
	},
	// One is the other's beginning.
	func(r *rand.Rand) (a, b tenant) {
		x, y := word(r, 5), word(r, 5)
		return tenant{x, y}, tenant{x + word(r, 1), y}
	},
	func(r *rand.Rand) (a, b tenant) {
		x, y := word(r, 5), word(r, 5)
		return tenant{x, y}, tenant{x, y + word(r, 1)}
	},
	// The longest ids, which differ in their last character, or fill each other's place.
	func(r *rand.Rand) (a, b tenant) {
		x, y := word(r, 127), word(r, 128)
		return tenant{x + "0", y}, tenant{x + "1", y}
	},
	func(r *rand.Rand) (a, b tenant) {
		x, y := word(r, 127), word(r, 127)
		return tenant{x + "0", y}, tenant{x, "0" + y}
	},
	// Like numbers, paths, keys and what languages call nothing.
	func(r *rand.Rand) (a, b tenant) {
		odd := [][2]string{
			{"1", "01"}, {"1", "1.0"}, {"..", "."}, {".", "..."}, {"null", "undefined"}, {"null", "NULL"}, {"-", "--"},
			{"..:..:etc:passwd", "..:etc:passwd"}, {"constructor", "__proto__"}, {"a..b", "a.b"}, {"-rf", "rf"},
			{"workspace:a", "workspace::a"}, {"true", "True"}, {"vp1.AAAA", "vp1.AAAA_"}, {"NaN", "nan"},
		}
		p, y := odd[r.IntN(len(odd))], word(r, 4)
		return tenant{p[0], y}, tenant{p[1], y}
	},
}

// pairs draws one pair of each kind. No tenant comes twice.
func pairs(seed uint64) (all [][2]tenant) {
	r := rand.New(rand.NewPCG(seed, 7))
	seen := map[tenant]bool{}
	for _, draw := range collisions {
		for {
			a, b := draw(r)
			if a == b || seen[a] || seen[b] || max(len(a.workspace), len(a.target), len(b.workspace), len(b.target)) > 128 {
				continue
			}
			seen[a], seen[b] = true, true
			all = append(all, [2]tenant{a, b})
			break
		}
	}
	return all
}

// lookAlikes are ids that people can't tell from "acme", and that no tenant has.
var lookAlikes = []string{
	"аcme",           // Cyrillic а
	"ａcme",           // full width
	"acme\u200b",     // zero width space
	"acme\u00a0",     // no-break space
	"acm\u0435",      // Cyrillic е
	"ac\u00adme",     // soft hyphen
	"\ufeffacme",     // byte order mark
	"acme\u202e",     // right to left
	"acmé",           // one character
	"acme\u0301",     // the same, composed
	"ⓐcme",           // folded by NFKC
	"acme ", " acme", // spaces
	"acme\x00", "acme\n", "acme/", "acme%20", "ac\x7fme",
}
