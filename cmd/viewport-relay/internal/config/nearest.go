package config

// nearest returns the known name that is most like an unknown one, or "" when none is. Where several are equally near
// the table's order decides, so that what is honoured comes first.
func nearest(unknown string) string {
	best, bestDistance := "", len(unknown)/4+1
	for _, s := range settings() {
		for _, n := range s.allNames() {
			if d := distance(unknown, n.name); d < bestDistance {
				best, bestDistance = n.name, d
			}
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements that make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
