package cli

import (
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// phrases are the sentences of --help in the user's language.
//
// Commands and flags carry theirs in English, where they are made; the man pages and docs/docker-compat.md take them from there. The
// catalogue's subject "help" has each of them once more, with its translation.
type phrases struct{ texts *lang.Catalogue }

// phrases opens the catalogue when help was asked for, and never else.
func (s *session) phrases(v *verb, args []string) (phrases, error) {
	if s.lang == "" {
		s.lang = languageIn(args)
	}
	texts, err := s.catalogue()
	if err != nil {
		return phrases{}, usagef(v, "--lang: %v", err)
	}
	return phrases{texts}, nil
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
func (p phrases) head(name string, values ...any) string {
	return p.texts.Text("help.head."+name, values...)
}

// of is a sentence in the user's language.
func (p phrases) of(sentence string) string {
	text := strings.TrimSpace(sentence)
	return strings.Replace(sentence, text, p.texts.Translated("help", text), 1)
}

// about is the text under the usage line. Examples are commands, which are the same in every language.
func (p phrases) about(text string) string {
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
