package cli

import (
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// phrases are the sentences of --help in the user's language.
//
// Commands and flags carry theirs in English, where they are made; the man pages and docs/docker-compat.md take them from there. The
// catalogue's subject "help" has each of them once more, with its translation: a sentence is found by its English text.
type phrases struct {
	texts *lang.Catalogue
	keys  map[string]string // English sentence -> key; empty in English
}

// phrases reads the catalogue when help was asked for, and never else.
func (s *session) phrases(v *verb, args []string) (*phrases, error) {
	if s.lang == "" {
		s.lang = languageIn(args)
	}
	texts, err := s.catalogue()
	if err != nil {
		return nil, usagef(v, "--lang: %v", err)
	}
	p := &phrases{texts: texts, keys: map[string]string{}}
	if texts.Language() == lang.English {
		return p, nil
	}
	english, err := lang.Open(lang.English)
	if err != nil {
		return nil, err
	}
	for _, key := range english.Keys("help") {
		if !strings.HasPrefix(key, "help.head.") {
			p.keys[english.Text(key)] = key
		}
	}
	return p, nil
}

// languageIn finds --lang among arguments that are not read: with --help, nobody reads the others.
func languageIn(args []string) string {
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--lang="); ok {
			return value
		}
		if a == "--lang" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// head is a heading of the help's own.
func (p *phrases) head(name string, values ...any) string {
	return p.texts.Text("help.head."+name, values...)
}

// of is a sentence in the user's language; one that is not known stays as it is, which a test forbids.
func (p *phrases) of(sentence string) string {
	text := strings.TrimSpace(sentence)
	key, ok := p.keys[text]
	if !ok {
		return sentence
	}
	return strings.Replace(sentence, text, p.texts.Text(key), 1)
}

// about is the text under the usage line. Examples are commands, which are the same in every language.
func (p *phrases) about(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, paragraph := range paragraphs {
		if rest, ok := strings.CutPrefix(paragraph, examples); ok {
			paragraphs[i] = p.head("examples") + rest
		} else {
			paragraphs[i] = p.of(paragraph)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

const examples = "Examples:"
