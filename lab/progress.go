package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mydocker/mydocker/lang"
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
	current, err := n.Current()
	if err != nil || current != lab {
		return nil
	}
	return os.Remove(filepath.Join(n.Dir, "current"))
}

// Current is the lab that was started last, which is meant when no name is given.
func (n Notebook) Current() (string, error) {
	data, err := os.ReadFile(filepath.Join(n.Dir, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", lang.Errorf(err, "lab.error-none")
	}
	return strings.TrimSpace(string(data)), err
}

func (n Notebook) setCurrent(lab string) error {
	return state.Replace(filepath.Join(n.Dir, "current"), []byte(lab+"\n"), state.Volatile)
}
