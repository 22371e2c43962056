package lab_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/sandbox"
)

// The lab that is meant when none is named: the last that was started, as long as it goes on, then the last of the others.
func TestCurrent(t *testing.T) {
	d := newDesk(t)
	if _, err := d.Notebook.Current(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no lab goes on: %v", err)
	}
	for _, name := range []string{"cable", "namespace", "bridge"} {
		_, _, err := d.Start(name)
		must(t, err)
	}
	for _, want := range []string{"bridge", "namespace", "cable"} {
		name, err := d.Reset("")
		must(t, err)
		if name != want {
			t.Errorf("%s was ended, not %s", name, want)
		}
	}
	if _, err := d.Reset(""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("all labs have ended: %v", err)
	}
}

// What a start that was killed half-way has left is ended like a lab.
func TestResetHalfStarted(t *testing.T) {
	d := newDesk(t)
	_, err := d.Store.Up(sandbox.Options{Name: "lab-cable", Hosts: 1})
	must(t, err)
	_, err = d.Reset("cable")
	must(t, err)
	if all, err := d.Store.List(); err != nil || len(all) > 0 {
		t.Errorf("left: %d sandboxes, %v", len(all), err)
	}
	if _, err := d.Reset("cable"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing to end: %v", err)
	}
}

// Whoever answers B means b.
func TestLetters(t *testing.T) {
	d := newDesk(t)
	l, _, err := d.Start("cable")
	must(t, err)
	for i, step := range l.Steps {
		word := do(t, d, step.Solution, true)
		r, err := d.Check("cable", strings.ToUpper(word))
		must(t, err)
		if r.Failed != nil {
			t.Errorf("step %d, answered %q: %s", i+1, strings.ToUpper(word), r.Failed.Fail)
		}
	}
}
