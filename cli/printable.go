package cli

import (
	"fmt"
	"strings"
	"unicode"
)

// printable shows control characters as Go and C write them. A name that an image or a container chose may stand in an error, and a
// terminal takes some of them for orders: other colours, another title, lines that were never said.
func printable(text string) string {
	odd := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if !strings.ContainsFunc(text, odd) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if odd(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
