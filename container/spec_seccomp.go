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

// Unconfined is the profile of a container without a system call filter (--security-opt seccomp=unconfined).
func Unconfined() *specs.LinuxSeccomp { return &specs.LinuxSeccomp{} }

// unconfined says whether a profile asks for nothing: as Docker reads it, that means no filter.
func unconfined(p *specs.LinuxSeccomp) bool {
	return p == nil || p.DefaultAction == "" && len(p.Syscalls) == 0
}

func seccompOf(o SpecOptions, capabilities []string) (*specs.LinuxSeccomp, error) {
	switch {
	case o.SeccompProfile != nil:
		return SeccompProfile(o.SeccompProfile, capabilities)
	case o.Seccomp == nil && !o.Privileged:
		return DefaultSeccomp(capabilities)
	case unconfined(o.Seccomp):
		return nil, nil
	}
	return o.Seccomp, nil
}

func withCapabilities(list []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: list}}}
}
