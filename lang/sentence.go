package lang

import "regexp"

// sentences are the texts of a subject by what they are in English: exactly, or with placeholders in them.
type sentences struct {
	exact    map[string]string // English text -> key
	patterns []pattern
}

// Translated is a sentence that the code says in English, where it is made: the help of a command, what an operation is for. The subject
// has each of them once more, with its translation. One that is not there stays as it is; tests see to it that all are.
func (c *Catalogue) Translated(subject, sentence string) string {
	if c.language == English || sentence == "" {
		return sentence
	}
	known := c.sentences(subject)
	if key, ok := known.exact[sentence]; ok {
		return c.Text(key)
	}
	for _, p := range known.patterns {
		if found := p.expr.FindStringSubmatch(sentence); found != nil {
			var pairs []any
			for i, name := range p.names {
				pairs = append(pairs, name, c.Translated(subject, found[i+1]))
			}
			return c.Text(p.key, pairs...)
		}
	}
	return sentence
}

// sentences are read at the first use of a subject.
func (c *Catalogue) sentences(subject string) sentences {
	c.mu.Lock()
	known, ok := c.known[subject]
	c.mu.Unlock()
	if ok {
		return known
	}
	known.exact = make(map[string]string)
	english, err := Open(English)
	if err != nil {
		return known
	}
	for _, key := range english.Keys(subject) {
		raw, err := english.raw(key)
		if err != nil {
			continue
		}
		parts := pieces(raw)
		if len(parts) == 1 {
			known.exact[parts[0]] = key
			continue
		}
		p := pattern{key: key}
		expr := "^"
		for i, part := range parts {
			if i%2 == 0 {
				expr += regexp.QuoteMeta(part)
				continue
			}
			expr += "(.+)"
			p.names = append(p.names, part)
		}
		p.expr = regexp.MustCompile(expr + "$") // quoted text and one fixed group
		known.patterns = append(known.patterns, p)
	}
	c.mu.Lock()
	if c.known == nil {
		c.known = make(map[string]sentences)
	}
	c.known[subject] = known
	c.mu.Unlock()
	return known
}
