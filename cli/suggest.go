package cli

// nearest is the name that a mistyped one was most likely meant to be: the one with the fewest letters to insert, delete,
// replace or swap, if these are at most a third of its length. A name of which the typed one is a beginning counts as near.
func nearest(typed string, names []string) string {
	best, bestDistance := "", len(typed)/3+1
	for _, name := range names {
		d := distance(typed, name)
		if len(typed) >= 3 && len(name) > len(typed) && name[:len(typed)] == typed {
			d = 1
		}
		if d < bestDistance || d == bestDistance && best == "" && d <= 1 {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of single-letter edits between a and b, a swap of neighbours counting as one (the restricted
// Damerau-Levenshtein distance).
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
