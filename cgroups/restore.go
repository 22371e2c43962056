package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/plan"
)

// Update is Set for a group that is in use: when one limit is refused, those that were written before it are again what they were.
// That holds for files with one value; a line for one device, and rules for devices, stay. Of a systemd unit the files come first, and
// once more after systemd has written its own: it is told nothing that the kernel refuses.
func Update(m Manager, r *specs.LinuxResources) error {
	before, watch := present(m, r)
	var err error
	if scope, ok := m.(*SystemdGroup); ok {
		err = scope.Manager.Set(r)
	}
	if err == nil {
		err = m.Set(r)
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, putBack(before, watch))
}

// standingValue is what a file of the group says before it is written to.
type standingValue struct{ path, text string }

// present reads the files that Set will write. What cannot be read now is not what can be put back.
func present(m Manager, r *specs.LinuxResources) (list []standingValue, watch plan.Watcher) {
	var settings []Setting
	var dir func(Setting) string
	if scope, ok := m.(*SystemdGroup); ok {
		m = scope.Manager
	}
	if r == nil {
		return nil, nil
	}
	r, err := m.completed(r)
	if err != nil {
		return nil, nil // Set will tell, before it writes
	}
	switch g := m.(type) {
	case *v1Group:
		settings, err = V1Values(r)
		dir, watch = func(s Setting) string { return g.dir(s.Controller) }, g.watch
	case *v2Group:
		settings, err = V2Values(r)
		dir, watch = func(Setting) string { return g.dir() }, g.watch
	}
	if err != nil {
		return nil, nil
	}
	for _, s := range settings {
		path := filepath.Join(dir(s), s.File)
		text, err := readFile(path)
		if err != nil || strings.Contains(text, "\n") || text == "" && s.Controller != "cpuset" {
			continue
		}
		if !slices.ContainsFunc(list, func(v standingValue) bool { return v.path == path }) {
			list = append(list, standingValue{path, text})
		}
	}
	return list, watch
}

// putBack goes from the last to the first, and twice: of two limits that bound each other one has to go first.
func putBack(list []standingValue, watch plan.Watcher) error {
	var errs []error
	for range 2 {
		errs = nil
		for _, v := range slices.Backward(list) {
			now, err := readFile(v.path)
			if err == nil && now != v.text {
				err = write(watch, v.path, v.text+"\n", "as it was: another limit was refused")
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("put back what was changed before: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}
