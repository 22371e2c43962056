package cli

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/explain"
)

func explainVerb() *verb {
	return &verb{
		name: "explain", summary: "Explain a topic, with values of this machine", usage: "[OPTIONS] [TOPIC]", max: 1, complete: "topic",
		about: `A topic is a thing of the kernel or of mydocker: one screen of text, what this machine has of it right now, commands that show it,
and where to read on in the source. Without a topic they are listed. Nothing is changed.

"mydocker --explain COMMAND" is something else: it prints each kernel operation of a command while it is done.

Examples:
  $ mydocker explain
  $ mydocker explain veth
  $ mydocker explain --lang zh dnat`,
		flags: func() []urfave.Flag { return []urfave.Flag{langFlag()} },
		run: func(s *session, c *urfave.Context) error {
			texts, err := s.texts(c)
			if err != nil {
				return err
			}
			word := c.Args().First()
			if word == "" {
				_, err := s.streams.Out.WriteString(explain.Index(texts))
				return err
			}
			topic, ok := explain.Find(word)
			if !ok {
				hint := ""
				if best := nearest(word, explain.Words()); best != "" {
					hint = fmt.Sprintf(" (did you mean '%s'?)", best)
				}
				return s.bad(fmt.Errorf("there is no topic %q%s; 'mydocker explain' lists them", word, hint))
			}
			_, err = s.streams.Out.WriteString(explain.Screen(topic, texts, &explain.Machine{Root: s.root}))
			return err
		},
	}
}
