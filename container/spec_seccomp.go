package container

import (
	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultSeccomp is Docker's system call filter for a container with these capabilities: a container that may, say,
// mount is allowed the calls for it. Privileged containers have none.
func DefaultSeccomp(capabilities []string) (*specs.LinuxSeccomp, error) {
	return seccomp.GetDefaultProfile(withCapabilities(capabilities))
}

// SeccompProfile reads a profile in Docker's format (--security-opt seccomp=FILE).
func SeccompProfile(text []byte, capabilities []string) (*specs.LinuxSeccomp, error) {
	return seccomp.LoadProfile(string(text), withCapabilities(capabilities))
}

func withCapabilities(list []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: list}}}
}
