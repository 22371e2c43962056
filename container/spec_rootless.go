package container

import (
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Rootless changes a configuration into one for a user who is not root, as `runc spec --rootless` does: the user is root of a user
// namespace with one id, and there is nothing that only root of the host may make.
func Rootless(s *specs.Spec, uid, gid uint32) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace || n.Type == specs.UserNamespace // without a network of its own it has the user's
	})
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uid, Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: gid, Size: 1}}
	s.Linux.Resources = nil
	for i, m := range s.Mounts {
		if filepath.Clean(m.Destination) == "/sys" {
			// A new sysfs shows a network namespace, and belongs to whom that belongs.
			s.Mounts[i] = specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
			continue
		}
		s.Mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool {
			return strings.HasPrefix(o, "uid=") || strings.HasPrefix(o, "gid=") // there are no other ids
		})
	}
}
