// Package lab is hands-on lessons: a text file each, worked through in a sandbox and judged there.
//
// A lab is a Markdown file (format.go says how it is written, docs/labs.md says it to teachers). It has steps; a step has a
// text, commands to type, checks, hints and a solution. A check is a few lines of shell that look at the kernel (prelude.sh has
// words for what is asked often), and the sentence that a student is told when they fail: so a check can judge the state and
// also the way in which it was reached.
//
// Files: format.go reads a lab, course.go finds labs, desk.go is the student's side (start, check, hint, solve, reset) and
// progress.go what is remembered of it.
//
// What it is not: an examination. The student is root where the checks run, and can cheat.
package lab

import (
	_ "embed"
	"fmt"
	"os"
	"strings"

	"github.com/mydocker/mydocker/sandbox"
)

// Lab is one lesson in one language.
type Lab struct {
	Name  string
	Title string
	About string // one line
	Intro string
	// Needs are programs that have to be installed, Image an image to be loaded into the sandbox ("busybox"), Hosts how many
	// machines it has.
	Needs []string
	Image string
	Hosts int
	// Here says that it can be done on the machine itself.
	Here  bool
	Setup string
	Steps []Step

	file   string
	blocks []block // all that are scripts
}

// Step is one thing to do.
type Step struct {
	Title string
	Text  string
	// Commands are shown to the student. Without a Solution they are the solution too.
	Commands string
	// Setup prepares the step, when the student gets to it: it breaks something, for instance.
	Setup    string
	Checks   []Check
	Hints    []string
	Solution Answer
	// Wrong are the usual mistakes. The tests make them, and look for the sentence that answers each.
	Wrong []Wrong
	// Right are other ways than the solution that are as good: a check judges what is there, not what was typed.
	Right []Answer
}

// Check passes when its script ends with status 0.
type Check struct {
	Script string
	Fail   string // what the student is told when it does not
}

// Sends says that the check tries whether packets arrive: when it fails, the doctor may know why.
func (c *Check) Sends() bool {
	return strings.Contains(c.Script, "pings ") || strings.Contains(c.Script, "answers ")
}

// Answer is what a student does in a step: commands, and the word that is given to `lab check`. A word of the form $(COMMAND)
// is what the command prints: for words that are others in each sandbox.
type Answer struct{ Script, Word string }

// Wrong is a mistake.
type Wrong struct {
	Answer
	Says string // a part of the sentence that answers it
}

//go:embed prelude.sh
var prelude string

// Bench is where scripts run: a sandbox, or the machine itself.
type Bench struct {
	Box  *sandbox.Sandbox
	here here
}

func (b Bench) exec(c sandbox.Command) (int, error) {
	if b.Box == nil {
		return b.here.exec(c)
	}
	return b.Box.Exec(c)
}

// limit is how long a script may take, in seconds: longer means that it hangs.
const limit = "180"

// Run runs a script on the sandbox's host and returns what it printed, and its status.
func (b Bench) Run(script, answer string) (output string, code int, err error) {
	out, err := os.CreateTemp("", "lab-output-")
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	in, err := os.Open(os.DevNull)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	// Output goes to a file: a program that is left running in the background would hold a pipe open.
	code, err = b.exec(sandbox.Command{
		Args: []string{"timeout", "-k", "1", limit, "bash", "-eu", "-c", prelude + script},
		Env:  append(os.Environ(), "ANSWER="+answer, "LC_ALL=C", "LANG=C"),
		Dir:  "/root", In: in, Out: out, Err: out,
	})
	if err != nil {
		return "", code, fmt.Errorf("run a script of the lab: %w", err)
	}
	data, err := os.ReadFile(out.Name())
	if code == 124 {
		data = append(data, "\n(stopped after "+limit+" seconds)\n"...)
	}
	return strings.TrimSpace(string(data)), code, err
}

// Judge runs a step's checks in order, and returns the first that fails, with what it printed; nil when all pass.
func (b Bench) Judge(step *Step, answer string) (failed *Check, evidence string, err error) {
	for i := range step.Checks {
		c := &step.Checks[i]
		out, code, err := b.Run(c.Script, answer)
		if err != nil {
			return nil, "", err
		}
		if code != 0 {
			return c, out, nil
		}
	}
	return nil, "", nil
}

// Do does what a student would do, and gives the word to be answered with.
func (b Bench) Do(a Answer) (word, output string, code int, err error) {
	output, code, err = b.Run(a.Script, "")
	if err != nil || !strings.HasPrefix(a.Word, "$(") {
		return a.Word, output, code, err
	}
	word, _, err = b.Run("printf %s "+a.Word, "")
	return word, output, code, err
}
