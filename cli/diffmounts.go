package cli

import (
	"slices"
	"strings"

	"github.com/mydocker/mydocker/image"
)

// changes are what the container itself has changed: without the empty files on which its own hosts, hostname and resolv.conf
// are mounted, and without the directory that looks changed because of them. Docker keeps those in a layer of their own.
func (f *containerFiles) changes() ([]image.Change, error) {
	all, err := f.rootfs.Diff()
	if err != nil {
		return nil, err
	}
	ours := []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
	found := false
	all = slices.DeleteFunc(all, func(c image.Change) bool {
		mine := c.Kind == 'A' && slices.Contains(ours, c.Path)
		found = found || mine
		return mine
	})
	below := slices.ContainsFunc(all, func(c image.Change) bool { return strings.HasPrefix(c.Path, "/etc/") })
	if found && !below {
		all = slices.DeleteFunc(all, func(c image.Change) bool { return c.Kind == 'C' && c.Path == "/etc" })
	}
	return all, nil
}
