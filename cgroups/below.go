package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// OpenBelow names a group inside the group at path, for a process to join: sub has its path, by controller, or for all of them by "".
// It has to be there wherever the outer one is, or the process would be in neither.
func OpenBelow(path string, sub map[string]string, w plan.Watcher) (Manager, error) {
	outer, err := Open(path, w)
	if err != nil {
		return nil, err
	}
	for c, path := range sub {
		if strings.Contains("/"+path+"/", "/../") {
			return nil, fmt.Errorf("cgroup %q is not below the container's own", strings.TrimPrefix(c+":"+path, ":"))
		}
	}
	g, ok := outer.(*v1Group)
	if !ok {
		if sub[""] == "" || len(sub) > 1 {
			return nil, errors.New("version 2 of cgroups has one tree: a cgroup is named without a controller")
		}
		return openExisting(filepath.Join(path, sub[""]), w)
	}
	for c := range sub {
		if c != "" && unix.Access(g.dir(c), unix.F_OK) != nil {
			return nil, fmt.Errorf("cgroup %s:%s: the container has no group of such a controller", c, sub[c])
		}
	}
	inner := &v1Group{mount: g.mount, path: g.path, watch: w, sub: sub}
	for _, c := range v1Controllers() {
		if unix.Access(g.dir(c), unix.F_OK) != nil {
			continue
		}
		if err := unix.Access(inner.dir(c), unix.F_OK); err != nil {
			return nil, fmt.Errorf("cgroup %s: %w", inner.dir(c), err)
		}
	}
	return inner, nil
}

func openExisting(path string, w plan.Watcher) (Manager, error) {
	g, err := Open(path, w)
	if err == nil {
		if absent := unix.Access(filepath.Join(Mount, path), unix.F_OK); absent != nil {
			err = fmt.Errorf("cgroup %s: %w", path, absent)
		}
	}
	return g, err
}
