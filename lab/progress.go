package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/sandbox"
	"github.com/mydocker/mydocker/state"
)

// Progress is how far a student has come in one lab: DIR/NAME.json.
type Progress struct {
	Lab     string
	Sandbox string
	// Here says that it is done on the machine itself: there is no sandbox.
	Here bool `json:",omitempty"`
	Step int  // from 0; the number of steps when all are passed
	// Hints are how many hints of each step were asked for, Solved which steps were solved by `lab solve`.
	Hints    map[int]int `json:",omitempty"`
	Solved   []int       `json:",omitempty"`
	Tries    int         // checks that failed
	Started  time.Time
	Finished time.Time `json:",omitzero"`
}

// Notebook is the directory with a student's progress.
type Notebook struct{ Dir string }

func (n Notebook) file(lab string) string { return filepath.Join(n.Dir, lab+".json") }

// Read gives a lab's progress. Not started is fs.ErrNotExist.
func (n Notebook) Read(lab string) (*Progress, error) {
	var p Progress
	err := state.ReadJSON(n.file(lab), &p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lang.Errorf(err, "lab.error-not-started", "lab", lab)
	}
	if p.Hints == nil {
		p.Hints = map[int]int{}
	}
	return &p, err
}

func (n Notebook) write(p *Progress) error {
	return state.ReplaceJSON(n.file(p.Lab), p, state.Volatile)
}

// labs is where teachers' labs are kept while they are going on.
func (n Notebook) labs() string { return filepath.Join(n.Dir, "labs") }

func (n Notebook) keep(files map[string][]byte) error {
	if len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(n.labs(), 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := state.Replace(filepath.Join(n.labs(), name), data, state.Volatile); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a lab's progress, and a copy of it. Absent is success.
func (n Notebook) forget(lab string) error {
	for _, language := range lang.Languages() {
		if err := os.Remove(filepath.Join(n.labs(), lab+"."+language+".md")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(n.file(lab)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if current, err := n.lastStarted(); err != nil || current != lab {
		return err
	}
	return os.Remove(filepath.Join(n.Dir, "current"))
}

// Current is the lab that is meant when no name is given: in a sandbox its lab, else the one that was started last. When that one was
// ended, it is the last of the others that are going on.
func (n Notebook) Current() (string, error) {
	if in, box := sandbox.Inside(); in != nil {
		if lab, ok := strings.CutPrefix(box, "lab-"); ok {
			if p, err := n.Read(lab); err == nil && p.Sandbox == box {
				return lab, nil
			}
		}
	}
	lab, err := n.lastStarted()
	if err != nil || lab != "" {
		return lab, err
	}
	files, err := filepath.Glob(filepath.Join(n.Dir, "*.json"))
	if err != nil {
		return "", err
	}
	var last *Progress
	for _, file := range files {
		p, err := n.Read(strings.TrimSuffix(filepath.Base(file), ".json"))
		if err == nil && p.Finished.IsZero() && (last == nil || p.Started.After(last.Started)) {
			last = p
		}
	}
	if last == nil {
		return "", lang.Errorf(fs.ErrNotExist, "lab.error-none")
	}
	return last.Lab, nil
}

// lastStarted is "" when it was ended, or none was.
func (n Notebook) lastStarted() (string, error) {
	data, err := os.ReadFile(filepath.Join(n.Dir, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

func (n Notebook) setCurrent(lab string) error {
	return state.Replace(filepath.Join(n.Dir, "current"), []byte(lab+"\n"), state.Volatile)
}
