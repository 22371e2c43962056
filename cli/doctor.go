package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/doctor"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/lang"
)

func doctorVerb() *verb {
	return &verb{
		name: "doctor", summary: "Name what is wrong with the networks of this host", usage: "[OPTIONS] [CONTAINER|NETWORK|PORT]", max: 1, complete: "container",
		about: `Looks at the kernel, at what mydocker made and at what was made by hand: links, addresses, routes, settings, rules, published
ports, services, limits. For each fault: the cause, the evidence, and the commands that mend it. Nothing is changed without --fix.

The exit status is 0 when no fault was found, 1 when there are faults, and 125 when it could not look.

Examples:
  $ mydocker doctor
  $ mydocker doctor web
  $ mydocker doctor 8080/tcp
  $ mydocker doctor --fix br0`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("fix", "Show the commands that mend the faults, and run them"),
				yes("json", "Print the findings as JSON"),
				langFlag(),
			}
		},
		run: runDoctor,
	}
}

func runDoctor(s *session, c *urfave.Context) error {
	texts, err := s.texts(c)
	if err != nil {
		return err
	}
	if c.Bool("json") && c.Bool("fix") {
		return s.bad(errors.New("conflicting options: --json and --fix"))
	}
	ctx, ref := context.Background(), c.Args().First()
	r, err := s.examine(ctx, ref)
	if err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	if c.Bool("json") {
		if err := json.NewEncoder(s.streams.Out).Encode(r.JSON(texts)); err != nil {
			return err
		}
		return verdict(r)
	}
	if _, err := s.streams.Out.WriteString(r.Text(texts, s.paint())); err != nil {
		return err
	}
	if !c.Bool("fix") || len(r.Findings) == 0 {
		return verdict(r)
	}
	return s.fix(ctx, r, ref, texts)
}

// verdict is the exit status.
func verdict(r *doctor.Report) error {
	if len(r.Findings) > 0 {
		return exitStatus(1)
	}
	return nil
}

// fix shows what is about to be done, does it, and looks again. One fault that cannot be mended does not keep it from the others.
func (s *session) fix(ctx context.Context, r *doctor.Report, ref string, texts *lang.Catalogue) error {
	out := s.streams.Out
	var few []doctor.Finding
	for _, f := range r.Findings {
		if len(f.Commands) > 0 {
			few = append(few, f)
		}
	}
	if len(few) == 0 {
		fmt.Fprintln(out, texts.Text("doctor.nothing-to-run"))
		return exitStatus(1)
	}
	fmt.Fprintln(out, texts.Text("doctor.fixing"))
	for _, f := range few {
		for _, e := range f.Evidence {
			if e.Shows != "" {
				fmt.Fprintf(out, "- %s\n", e.Shows)
			}
		}
		for _, command := range f.Commands {
			fmt.Fprintf(out, "+ %s\n", command)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	m := &doctor.Mender{Self: append([]string{self}, s.globals...), Texts: texts}
	if s.explain {
		m.Watch = s.explainer(s.streams.Err)
	}
	done := map[string]bool{}
	var errs []error
	for _, f := range few {
		key := strings.Join(f.Commands, "\n")
		if done[key] { // one `network sync` mends many
			continue
		}
		done[key] = true
		errs = append(errs, m.Mend(ctx, f))
	}
	after, err := s.examine(ctx, ref)
	if err = errors.Join(append(errs, err)...); err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	fmt.Fprintf(out, "%s\n%s", texts.Text("doctor.after"), after.Text(texts, s.paint()))
	return verdict(after)
}

// examine reads the world and judges it, or the part of it that ref names. It is not read in one moment: what another command makes or
// removes meanwhile is only half in it. So a fault is one when it is there at a second look, too.
func (s *session) examine(ctx context.Context, ref string) (*doctor.Report, error) {
	w, err := s.readWorld(ctx)
	if err != nil {
		return nil, err
	}
	r, err := doctor.Examine(ctx, w)
	if err != nil {
		return nil, err
	}
	if len(r.Findings) > 0 {
		seen := r
		if w, err = s.readWorld(ctx); err != nil {
			return nil, err
		}
		if r, err = doctor.Examine(ctx, w); err != nil {
			return nil, err
		}
		r.Confirm(seen)
	}
	if ref == "" {
		return r, nil
	}
	return r.Only(w, ref)
}

// paint colours a report for a terminal.
func (s *session) paint() doctor.Paint {
	if !s.color(s.streams.Out) {
		return nil
	}
	codes := map[string]string{"fault": "31;1", "object": "1", "command": "36"}
	return func(kind, text string) string { return "\x1b[" + codes[kind] + "m" + text + "\x1b[0m" }
}
