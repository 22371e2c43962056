package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/sandbox"
)

// Desk is where a student works: the labs, the notebook and the sandboxes.
type Desk struct {
	Library  Library
	Notebook Notebook
	Store    *sandbox.Store
}

// Labs are the labs of the library, and those that are going on: a teacher's directory need not be named again, and need not be seen from
// the sandbox.
func (d *Desk) Labs() Library {
	l := d.Library
	if info, err := os.Stat(d.Notebook.labs()); err == nil && info.IsDir() {
		l.Dirs = append([]string{d.Notebook.labs()}, l.Dirs...)
	}
	return l
}

// Result is what a check came to.
type Result struct {
	Lab      *Lab
	Progress *Progress
	// Step is the step that was checked.
	Step int
	// Failed is nil when the step is passed.
	Failed   *Check
	Evidence string
}

// Start makes the lab's sandbox and prepares the first step. A lab that is going on is refused.
func (d *Desk) Start(name string) (lab *Lab, p *Progress, err error) {
	lab, err = d.fresh(name)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(d.Notebook.Dir, 0o755); err != nil {
		return nil, nil, err
	}
	p = &Progress{Lab: name, Sandbox: "lab-" + name, Started: time.Now(), Hints: map[int]int{}}
	if err := d.Store.Down(p.Sandbox); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	box, err := d.Store.Up(sandbox.Options{Name: p.Sandbox, Hosts: lab.Hosts, Shared: []string{d.Notebook.Dir}})
	if err != nil {
		return nil, nil, err
	}
	made := p.Sandbox
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start lab %s: %w", name, err), d.Store.Down(made), d.Notebook.forget(name))
		}
	}()
	bench := Bench{Box: box}
	if err := bench.prepare(d.Notebook.Dir, lab); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(d.keep(name), d.Notebook.write(p), d.Notebook.setCurrent(name)); err != nil {
		return nil, nil, err
	}
	return lab, p, nil
}

// fresh is a lab that is not going on.
func (d *Desk) fresh(name string) (*Lab, error) {
	lab, err := d.Labs().Load(name)
	if err != nil {
		return nil, err
	}
	p, err := d.Notebook.Read(name)
	if err != nil || !p.Here && !p.Finished.IsZero() {
		return lab, nil
	}
	if _, err := d.Store.Find(p.Sandbox); err == nil || p.Here { // the machine itself has to be brought back before anything else
		return nil, lang.Errorf(fs.ErrExist, "lab.error-going-on", "lab", name, "step", min(p.Step+1, len(lab.Steps)), "count", len(lab.Steps))
	}
	return lab, nil
}

// StartHere starts a lab on the machine itself. What the machine is like is written down first; Reset brings it back.
func (d *Desk) StartHere(name string) (lab *Lab, p *Progress, err error) {
	lab, err = d.fresh(name)
	switch {
	case err != nil:
		return nil, nil, err
	case !lab.Here:
		return nil, nil, lang.Errorf(nil, "lab.error-not-here", "lab", name)
	case os.Geteuid() != 0:
		return nil, nil, lang.Errorf(fs.ErrPermission, "lab.error-here-root")
	}
	bench := Bench{here: d.here(name)}
	if err := errors.Join(bench.findTools(lab), lab.checkSyntax()); err != nil {
		return nil, nil, err
	}
	p = &Progress{Lab: name, Here: true, Started: time.Now(), Hints: map[int]int{}}
	if err := bench.here.takePicture(); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(bench.here.dir))
	}
	if err := errors.Join(d.keep(name), d.Notebook.write(p), d.Notebook.setCurrent(name)); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(bench.here.dir))
	}
	script := lab.Setup + lab.Steps[0].Setup
	if lab.Image != "" {
		script = "mydocker image inspect busybox >/dev/null 2>&1 || mydocker image bootstrap >/dev/null\n" + script
	}
	if err := bench.mustRun(script); err != nil {
		_, undoErr := d.Reset(name)
		return nil, nil, errors.Join(fmt.Errorf("start lab %s: %w", name, err), undoErr)
	}
	return lab, p, nil
}

// keep writes a teacher's lab into the notebook, as it is now.
func (d *Desk) keep(name string) error {
	files, err := d.Library.files(name)
	if err != nil {
		return err
	}
	return d.Notebook.keep(files)
}

func (d *Desk) here(name string) here { return here{filepath.Join(d.Notebook.Dir, name+".here")} }

// prepare makes a fresh sandbox ready for a lab's first step.
func (b Bench) prepare(notebook string, lab *Lab) error {
	if err := errors.Join(b.findTools(lab), lab.checkSyntax()); err != nil {
		return err
	}
	script := "printf %s '" + strings.ReplaceAll(notebook, "'", `'\''`) + "' > " + insideFile + "\n"
	if lab.Image != "" {
		script += "mydocker image bootstrap >/dev/null\n"
	}
	return b.mustRun(script + lab.Setup + lab.Steps[0].Setup)
}

// insideFile tells a mydocker in the sandbox where the notebook is.
const insideFile = "/run/sandbox/labs"

// InsideNotebook is the notebook's directory when this process is in the sandbox of a lab, else "".
func InsideNotebook() string {
	data, err := os.ReadFile(insideFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (b Bench) mustRun(script string) error {
	out, code, err := b.Run(script, "")
	if err == nil && code != 0 {
		err = fmt.Errorf("the lab's preparation fails with status %d: %s", code, out)
	}
	return err
}

// packages are where programs are found that are not called as their package.
func packages() map[string]string {
	return map[string]string{"ip": "iproute2", "bridge": "iproute2", "ss": "iproute2", "nft": "nftables", "brctl": "bridge-utils", "ping": "iputils-ping", "busybox": "busybox-static",
		"lsns": "util-linux", "nsenter": "util-linux", "unshare": "util-linux", "ifconfig": "net-tools", "route": "net-tools", "netstat": "net-tools", "timeout": "coreutils"}
}

// findTools refuses a lab whose programs are not installed.
func (b Bench) findTools(lab *Lab) error {
	var missing, install []string
	for _, tool := range append([]string{"bash", "timeout"}, lab.Needs...) {
		if code, err := b.exec(sandbox.Command{Args: []string{"sh", "-c", "command -v " + tool + " >/dev/null"}, In: os.Stdin, Out: os.Stderr, Err: os.Stderr, Env: os.Environ()}); err != nil {
			return err
		} else if code != 0 {
			missing = append(missing, tool)
			if p := packages()[tool]; p != "" {
				tool = p
			}
			if !slices.Contains(install, tool) {
				install = append(install, tool)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return lang.Errorf(nil, "lab.error-programs", "lab", lab.Name, "missing", strings.Join(missing, ", "), "packages", strings.Join(install, " "))
}

// open finds a lab that is going on; "" is the one that was started last.
func (d *Desk) open(name string) (*Lab, *Progress, Bench, error) {
	if name == "" {
		current, err := d.Notebook.Current()
		if err != nil {
			return nil, nil, Bench{}, err
		}
		name = current
	}
	lab, err := d.Labs().Load(name)
	if err != nil {
		return nil, nil, Bench{}, err
	}
	p, err := d.Notebook.Read(name)
	if err != nil {
		return nil, nil, Bench{}, err
	}
	p.Step = min(max(p.Step, 0), len(lab.Steps))
	if p.Here {
		return lab, p, Bench{here: d.here(name)}, nil
	}
	if in, inside := sandbox.Inside(); in != nil && inside == p.Sandbox {
		return lab, p, Bench{Box: in}, nil
	}
	box, err := d.Store.Find(p.Sandbox)
	if err == nil {
		var alive bool
		if alive, err = box.Alive(); err == nil && !alive {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		return nil, nil, Bench{}, lang.Errorf(err, "lab.error-sandbox-gone", "lab", name)
	}
	return lab, p, Bench{Box: box}, nil
}

// Look is the lab that is going on, without needing its sandbox; a lab that is not started is given with no progress.
func (d *Desk) Look(name string) (*Lab, *Progress, error) {
	if name == "" {
		current, err := d.Notebook.Current()
		if err != nil {
			return nil, nil, err
		}
		name = current
	}
	lab, err := d.Labs().Load(name)
	if err != nil {
		return nil, nil, err
	}
	p, err := d.Notebook.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return lab, nil, nil
	}
	return lab, p, err
}

// ErrFinished says that a lab has no step left.
var ErrFinished error = lang.Errorf(nil, "lab.error-finished")

// Check judges the current step, and goes on to the next when it is passed. answer is for steps that ask something.
func (d *Desk) Check(name, answer string) (*Result, error) {
	lab, p, bench, err := d.open(name)
	if err != nil {
		return nil, err
	}
	if p.Step == len(lab.Steps) {
		return nil, ErrFinished
	}
	r := &Result{Lab: lab, Progress: p, Step: p.Step}
	if len(answer) == 1 { // B is b
		answer = strings.ToLower(answer)
	}
	r.Failed, r.Evidence, err = bench.Judge(&lab.Steps[p.Step], answer)
	if err != nil {
		return nil, err
	}
	if r.Failed != nil {
		p.Tries++
		p.Solved = slices.DeleteFunc(p.Solved, func(step int) bool { return step == p.Step }) // a solution that was in vain
		return r, d.Notebook.write(p)
	}
	return r, d.advance(lab, p, bench)
}

// advance goes to the next step and prepares it.
func (d *Desk) advance(lab *Lab, p *Progress, bench Bench) error {
	p.Step++
	if p.Step == len(lab.Steps) {
		p.Finished = time.Now()
		return d.Notebook.write(p)
	}
	if err := bench.mustRun(lab.Steps[p.Step].Setup); err != nil {
		return fmt.Errorf("prepare step %d: %w", p.Step+1, err)
	}
	return d.Notebook.write(p)
}

// Hint gives the next hint of the current step, and how many there are. After the last one it gives the last again.
func (d *Desk) Hint(name string) (hint string, number, of int, err error) {
	lab, p, _, err := d.open(name)
	if err != nil {
		return "", 0, 0, err
	}
	if p.Step == len(lab.Steps) {
		return "", 0, 0, ErrFinished
	}
	hints := lab.Steps[p.Step].Hints
	if len(hints) == 0 {
		return "", 0, 0, nil
	}
	number = min(p.Hints[p.Step]+1, len(hints))
	p.Hints[p.Step] = number
	return hints[number-1], number, len(hints), d.Notebook.write(p)
}

// Solve does the current step, and tells what it did. The caller checks it then as if the student had done it.
func (d *Desk) Solve(name string) (done Answer, output string, err error) {
	lab, p, bench, err := d.open(name)
	if err != nil {
		return Answer{}, "", err
	}
	if p.Step == len(lab.Steps) {
		return Answer{}, "", ErrFinished
	}
	done = lab.Steps[p.Step].Solution
	word, output, code, err := bench.Do(done)
	if err != nil {
		return done, output, err
	}
	done.Word = word
	if code != 0 {
		return done, output, fmt.Errorf("the solution ends with status %d here: %s: if something that was done before is in its way, `mydocker lab reset %s` begins anew", code, output, lab.Name)
	}
	if !slices.Contains(p.Solved, p.Step) {
		p.Solved = append(p.Solved, p.Step)
	}
	return done, output, d.Notebook.write(p)
}

// Reset ends a lab: its sandbox goes, and its progress.
func (d *Desk) Reset(name string) (string, error) {
	if name == "" {
		current, err := d.Notebook.Current()
		if err != nil {
			return "", err
		}
		name = current
	}
	p, err := d.Notebook.Read(name)
	if errors.Is(err, fs.ErrNotExist) && d.Store.Down("lab-"+name) == nil {
		return name, d.Notebook.forget(name) // a start that was killed half-way has left no more than the sandbox
	}
	if err != nil {
		return name, err
	}
	if p.Here {
		err = d.here(name).undo()
	} else {
		err = d.Store.Down(p.Sandbox)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return name, err
	}
	return name, d.Notebook.forget(name)
}
