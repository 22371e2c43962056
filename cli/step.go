package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/step"
)

func stepVerb() *verb {
	return &verb{
		name: "step", summary: "Walk through a command, one kernel operation at a time", usage: "[OPTIONS] COMMAND [ARG...]",
		min: 1, max: -1, passthrough: true,
		about: `Each operation is shown with the shell command that it equals and what it is for, before it is done. Then there is a choice: next
(Enter), back, a shell to look round, continue without asking, or quit, which undoes everything. "h" explains them. The answers are
read from standard input, one on each line; when that ends, it means quit.

"back" undoes everything and does it once more, up to the operation before. Once the container's command runs nothing is asked
any more.

Examples:
  $ mydocker step run --rm busybox true
  $ mydocker step network create lab
  $ mydocker step network rm lab`,
		flags: func() []urfave.Flag { return []urfave.Flag{langFlag()} },
		run:   runStep,
	}
}

// reversible are the commands that take back what they did when one of their operations fails.
func reversible() []string {
	return []string{"run", "container run", "start", "container start", "create", "container create", "network create", "network connect"}
}

func runStep(s *session, c *urfave.Context) error {
	texts, err := s.texts(c)
	if err != nil {
		return err
	}
	words := c.Args().Slice()
	inner, _, _ := walk(commands(), words)
	if inner.name == "step" {
		return s.bad(errors.New("step cannot be walked through itself"))
	}
	canUndo := slices.Contains(reversible(), inner.words())
	s.stepper = step.New(s.streams.In, s.streams.Err, s.color(s.streams.Err), canUndo, texts)
	say := func(key string) { fmt.Fprintln(s.streams.Err, texts.Text(key)) }
	line := slices.Concat(s.globals, []string{"--"}, words)
	for {
		tidy, err := s.noteNetworks()
		if err != nil {
			return err
		}
		result := s.dispatch(line)
		if canUndo && s.stepper.Leaving() {
			if err := tidy(); err != nil {
				return err
			}
		}
		outcome := s.stepper.Outcome()
		switch {
		case outcome == step.Again:
			say("step.again")
			continue
		case outcome == step.Quit && canUndo:
			say("step.quit-undone")
			return exitStatus(130) // as after ctrl-c
		case outcome == step.Quit:
			say("step.quit-half")
			return exitStatus(130)
		case result == nil && !s.stepper.Asked():
			say("step.nothing")
		}
		return result
	}
}

// noteNetworks remembers which networks are in the kernel. What comes back takes those out that have come since: a container's start
// makes its network ready first, and leaves it so when it fails, because the next container needs it.
func (s *session) noteNetworks() (tidy func() error, err error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	before := map[string]bool{}
	networks, err := e.Networks().Realised()
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		before[n.ID] = true
	}
	return func() error {
		now, err := e.Networks().Realised()
		for _, n := range now {
			if !before[n.ID] {
				err = errors.Join(err, e.Networks().Withdraw(context.Background(), n))
			}
		}
		return err
	}, nil
}
