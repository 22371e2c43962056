package lang

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Meaning says in the catalogue's language what an error says in English: a sentence for each of its lines that is known, none in English.
//
// The errors of the program are English sentences that are made wherever something fails, in other processes too, and no script that
// reads them is to be disappointed: so they stay, and the catalogue's subject "error" has the sentences that learners meet. Where the
// English one is found in an error, with anything in the place of its placeholders, the other language's is what the error means. Of several
// the one with most words counts: it says most.
func (c *Catalogue) Meaning(err error) (sentences []string) {
	if err == nil || c.language == English {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return []string{c.Text(p.key, p.values...)}
	}
	patterns := c.patterns()
	for line := range strings.Lines(err.Error()) {
		if s := c.meaning(patterns, strings.TrimSpace(line)); s != "" && !slices.Contains(sentences, s) {
			sentences = append(sentences, s)
		}
	}
	return sentences
}

// pattern finds an English sentence in an error.
type pattern struct {
	key     string
	names   []string // of the placeholders, in turn
	expr    *regexp.Regexp
	literal int // how many bytes of the sentence are fixed
}

// rank is how much a sentence says: one that gives a reason says all that the reason does.
func (p *pattern) rank() int {
	if slices.Contains(p.names, reason) {
		return p.literal + 1<<20
	}
	return p.literal
}

// patterns are those of all sentences, the first in rank first. They are made when something has failed, and nobody waits for it.
func (c *Catalogue) patterns() (all []pattern) {
	english, err := Open(English)
	if err != nil {
		return nil
	}
	for _, key := range english.Keys("error") {
		raw, err := english.raw(key)
		if err != nil {
			continue
		}
		all = append(all, newPattern(key, raw))
	}
	slices.SortStableFunc(all, func(a, b pattern) int { return b.rank() - a.rank() })
	return all
}

// reason is the placeholder whose value is a sentence of the catalogue too: what is refused for the same reason is many things.
const reason = "reason"

// newPattern: a value between two pieces of the text is anything, one before the text is a word, and one behind it ends where a new
// thought begins, but for a reason, which has thoughts of its own.
func newPattern(key, text string) (p pattern) {
	p.key = key
	parts := pieces(text)
	var b strings.Builder
	if parts[0] != "" {
		b.WriteString(".*") // where it stands twice, the last time: "cannot kill container a: container a is not running"
	}
	for i, part := range parts {
		switch {
		case i%2 == 0:
			p.literal += len(part)
			b.WriteString(regexp.QuoteMeta(part))
			continue
		case part == reason:
			b.WriteString(`(.+)`)
		case i == 1 && parts[0] == "", part == "flag": // a word
			b.WriteString(`(\S+)`)
		case i == len(parts)-2 && parts[i+1] == "":
			b.WriteString(`(.+?)(?:$|[;:,] | \()`)
		default:
			b.WriteString(`(.+?)`)
		}
		p.names = append(p.names, part)
	}
	p.expr = regexp.MustCompile(b.String()) // quoted text and four fixed groups
	return p
}

func (c *Catalogue) meaning(patterns []pattern, line string) string {
	for _, p := range patterns {
		found := p.expr.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		values := map[string]string{}
		for i, name := range p.names {
			values[name] = found[i+1]
			if said := c.meaning(patterns, found[i+1]); name == reason && said != "" {
				values[name] = said
			}
		}
		var pairs []any
		for name, value := range values {
			pairs = append(pairs, name, value)
		}
		return c.Text(p.key, pairs...)
	}
	return ""
}
