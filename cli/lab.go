package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/lab"
	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/sandbox"
)

func labGroup() *verb {
	return group("lab", "Learn containers and their networks by hand, in a sandbox",
		labListVerb(), labStartVerb(), labShowVerb(), labCheckVerb(), labHintVerb(), labSolveVerb(), labResetVerb(), labProgressVerb())
}

func labFlags(more ...urfave.Flag) func() []urfave.Flag {
	return func() []urfave.Flag {
		return append([]urfave.Flag{
			listOf("dir", "dir", "Also take labs from this directory; $MYDOCKER_LABS has more of them, with colons between"),
			langFlag(),
		}, more...)
	}
}

// labRoom is what a lab command works with.
type labRoom struct {
	s     *session
	desk  *lab.Desk
	texts *lang.Catalogue
	out   *heard
}

func (s *session) labRoom(c *urfave.Context, texts *lang.Catalogue) (*labRoom, error) {
	var dirs []string
	if more, _ := s.lookup("MYDOCKER_LABS"); more != "" {
		dirs = filepath.SplitList(more)
	}
	dirs = append(dirs, c.StringSlice("dir")...)
	store, err := s.sandboxes()
	if err != nil {
		return nil, err
	}
	notebook, err := s.labNotebook()
	if err != nil {
		return nil, err
	}
	return &labRoom{s: s, texts: texts, out: &heard{Writer: s.streams.Out}, desk: &lab.Desk{
		Library: lab.Library{Dirs: dirs, Language: texts.Language()}, Notebook: lab.Notebook{Dir: notebook}, Store: store,
	}}, nil
}

// labNotebook is where a student's progress is kept; the same directory inside the sandbox and outside.
func (s *session) labNotebook() (string, error) {
	if inside := lab.InsideNotebook(); inside != "" {
		return inside, nil
	}
	if os.Geteuid() == 0 {
		return filepath.Join(s.root.Lib, "labs"), nil
	}
	if dir, _ := s.lookup("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "mydocker", "labs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the progress of labs: %w", err)
	}
	return filepath.Join(home, ".local", "state", "mydocker", "labs"), nil
}

func (r *labRoom) say(key string, values ...any) {
	fmt.Fprintln(r.out, r.texts.Text("lab."+key, values...))
}

// step prints what a student is to do.
func (r *labRoom) step(l *lab.Lab, number int) {
	step := &l.Steps[number]
	r.say("step", "number", number+1, "count", len(l.Steps), "title", step.Title)
	fmt.Fprintf(r.out, "\n%s\n", step.Text)
	if step.Commands != "" {
		fmt.Fprintln(r.out)
		printCommands(r.out, step.Commands)
	}
	fmt.Fprintln(r.out)
}

func printCommands(w io.Writer, script string) {
	for line := range strings.Lines(strings.TrimRight(script, "\n") + "\n") {
		fmt.Fprint(w, "    "+line)
	}
}

// labVerb is a command that works on one lab, by name or on that which is going on.
func labVerb(name, summary, usage, example string, run func(r *labRoom, c *urfave.Context) error, more ...urfave.Flag) *verb {
	return inWords(&verb{
		name: name, summary: summary, usage: usage, max: 1, complete: "lab", about: "Examples:\n  $ mydocker lab " + example, flags: labFlags(more...),
		run: func(s *session, c *urfave.Context) error {
			texts, err := s.texts(c)
			if err != nil {
				return err
			}
			r, err := s.labRoom(c, texts)
			if err != nil {
				return err
			}
			if err := run(r, c); err != nil {
				return err
			}
			return r.out.err
		},
	})
}

func labListVerb() *verb {
	v := labVerb("list", "List the labs", "[OPTIONS]", "list", (*labRoom).list)
	v.aliases, v.max = []string{"ls"}, 0
	return v
}

func (r *labRoom) list(*urfave.Context) error {
	names, err := r.desk.Labs().Names()
	if err != nil {
		return err
	}
	rows := [][]string{r.head("lab.head")}
	var bad error
	for _, name := range names {
		l, p, err := r.desk.Look(name)
		if err != nil { // a teacher's file with a mistake does not hide the others
			bad = errors.Join(bad, err)
			continue
		}
		at := fmt.Sprintf("-/%d", len(l.Steps))
		if p != nil {
			at = fmt.Sprintf("%d/%d", min(p.Step, len(l.Steps)), len(l.Steps))
		}
		rows = append(rows, []string{name, at, l.Title + ": " + l.About})
	}
	return errors.Join(lang.Table(r.out, rows), bad)
}

// head is the first line of a table: in the catalogue, tabs stand between its words.
func (r *labRoom) head(key string) []string { return strings.Split(r.texts.Text(key), "\t") }

func labStartVerb() *verb {
	v := labVerb("start", "Start a lab in a sandbox of its own", "[OPTIONS] LAB", "start cable", func(r *labRoom, c *urfave.Context) error {
		start := r.desk.Start
		if c.Bool("here") {
			start = r.desk.StartHere
		}
		l, p, err := start(c.Args().First())
		if err != nil {
			return err
		}
		fmt.Fprintf(r.out, "# %s\n\n%s\n\n", l.Title, l.Intro)
		if p.Here {
			r.step(l, 0)
			fmt.Fprintln(r.s.streams.Err, r.texts.Text("lab.here", "lab", l.Name))
			return nil
		}
		if box, err := r.desk.Store.Find(p.Sandbox); err == nil {
			r.s.warn(sandboxNotes(r.texts, box))
		}
		r.step(l, 0)
		r.say("started", "lab", l.Name, "sandbox", p.Sandbox)
		return nil
	}, yes("here", "On this machine itself, not in a sandbox: reset brings the machine back to what it was"))
	v.min = 1
	v.complete = "lab"
	return v
}

func labShowVerb() *verb {
	return labVerb("show", "Show what is to be done now, or what a lab is about", "[OPTIONS] [LAB]", "show", func(r *labRoom, c *urfave.Context) error {
		l, p, err := r.desk.Look(c.Args().First())
		if err != nil {
			return err
		}
		if p != nil && p.Step < len(l.Steps) {
			r.step(l, p.Step)
			return nil
		}
		fmt.Fprintf(r.out, "# %s\n\n%s\n\n", l.Title, l.Intro)
		for i := range l.Steps {
			r.say("step", "number", i+1, "count", len(l.Steps), "title", l.Steps[i].Title)
		}
		if p == nil {
			r.say("not-started", "lab", l.Name)
		} else {
			r.finished(l, p)
		}
		return nil
	})
}

func (r *labRoom) finished(l *lab.Lab, p *lab.Progress) {
	r.say("finished", "count", len(l.Steps), "tries", p.Tries, "solved", len(p.Solved))
	if p.Here {
		r.say("finished-here", "lab", l.Name)
	} else {
		r.say("finished-sandbox", "lab", l.Name)
	}
}

func labCheckVerb() *verb {
	v := labVerb("check", "Judge the step that is going on, and go on to the next when it is right", "[OPTIONS] [ANSWER]", "check",
		func(r *labRoom, c *urfave.Context) error { return r.check(c.String("lab"), c.Args().First()) },
		str("lab", "string", "Which lab (default: the one that was started last)"))
	v.about = "A step that asks something is answered with a word. The exit status is 0 when the step is passed, and 1 when it is not.\n\nExamples:\n  $ mydocker lab check\n  $ mydocker lab check b"
	return v
}

func (r *labRoom) check(name, answer string) error {
	res, err := r.desk.Check(name, answer)
	if err != nil {
		return err
	}
	if res.Failed != nil {
		r.say("failed", "sentence", res.Failed.Fail)
		if res.Evidence != "" {
			r.say("evidence")
			printCommands(r.out, res.Evidence)
		}
		if res.Failed.Sends() {
			r.say("next-doctor")
		}
		if len(res.Lab.Steps[res.Step].Hints) > 0 {
			r.say("next-hint")
		}
		return exitStatus(1)
	}
	if len(res.Lab.Steps[res.Step].Checks) == 0 {
		r.say("read", "number", res.Step+1)
	} else {
		r.say("passed", "number", res.Step+1)
	}
	fmt.Fprintln(r.out)
	if res.Progress.Step < len(res.Lab.Steps) {
		r.step(res.Lab, res.Progress.Step)
	} else {
		r.finished(res.Lab, res.Progress)
	}
	return nil
}

func labHintVerb() *verb {
	return labVerb("hint", "Give a hint for the step that is going on; the next one at each call", "[OPTIONS] [LAB]", "hint", func(r *labRoom, c *urfave.Context) error {
		text, number, count, err := r.desk.Hint(c.Args().First())
		if err != nil {
			return err
		}
		if count == 0 {
			r.say("no-hint")
			return nil
		}
		r.say("hint", "number", number, "count", count, "text", text)
		return nil
	})
}

func labSolveVerb() *verb {
	return labVerb("solve", "Do the step that is going on, show how, and go on", "[OPTIONS] [LAB]", "solve", func(r *labRoom, c *urfave.Context) error {
		for {
			done, _, err := r.desk.Solve(c.Args().First())
			if errors.Is(err, lab.ErrFinished) && c.Bool("all") {
				return nil
			}
			if err != nil {
				return err
			}
			if done.Script != "" {
				r.say("solve")
				printCommands(r.out, done.Script)
			}
			if done.Word != "" {
				r.say("solve-answer", "answer", done.Word)
			}
			if err := r.check(c.Args().First(), done.Word); err != nil || !c.Bool("all") {
				return err
			}
		}
	}, yes("all,a", "Do all steps that are left"))
}

func labResetVerb() *verb {
	return labVerb("reset", "End a lab: remove its sandbox and its progress", "[OPTIONS] [LAB]", "reset cable", func(r *labRoom, c *urfave.Context) error {
		if in, _ := sandbox.Inside(); in != nil {
			return lang.Errorf(nil, "lab.error-inside")
		}
		_, p, _ := r.desk.Look(c.Args().First())
		name, err := r.desk.Reset(c.Args().First())
		if err != nil {
			return err
		}
		if p != nil && p.Here {
			r.say("reset-here", "lab", name)
		} else {
			r.say("reset", "lab", name)
		}
		return nil
	})
}

func labProgressVerb() *verb {
	v := labVerb("progress", "Show how far you have come in the labs", "[OPTIONS]", "progress", (*labRoom).progress)
	v.max = 0
	return v
}

func (r *labRoom) progress(*urfave.Context) error {
	names, err := r.desk.Labs().Names()
	if err != nil {
		return err
	}
	rows := [][]string{r.head("lab.progress-head")}
	for _, name := range names {
		p, err := r.desk.Notebook.Read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		l, err := r.desk.Labs().Load(name)
		if err != nil {
			return err
		}
		hints := 0
		for _, n := range p.Hints {
			hints += n
		}
		state := r.texts.Text("lab.going")
		if !p.Finished.IsZero() {
			state = r.texts.Text("lab.done")
		}
		rows = append(rows, []string{name, fmt.Sprintf("%d/%d", p.Step, len(l.Steps)), fmt.Sprint(p.Tries), fmt.Sprint(hints), fmt.Sprint(len(p.Solved)), state})
	}
	if len(rows) == 1 {
		r.say("nothing")
		return nil
	}
	return lang.Table(r.out, rows)
}
