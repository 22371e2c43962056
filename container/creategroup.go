package container

import (
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/cgroups"
)

// openGroup names the container's group.
func (r *Runtime) openGroup(s *specs.Spec, o *CreateOptions) (cgroups.Manager, *cgroups.Scope, error) {
	path := s.Linux.CgroupsPath
	if o.Systemd {
		scope, err := cgroups.ParseScope(path, o.ID)
		if err != nil {
			return nil, nil, fmt.Errorf("config.json: %w", err)
		}
		group, err := cgroups.OpenScope(scope, r.Watch)
		return group, &scope, err
	}
	if path == "" {
		path = "/mydocker-runtime/" + o.ID // not the engine's own directory, in which its gc removes what it does not know
	}
	group, err := cgroups.Open(filepath.Clean("/"+path), r.Watch)
	return group, nil, err
}

// holdScope gives systemd a process to make a scope with, until the container's own is in it.
func (j *createJob) holdScope() (release func(), err error) {
	group, ok := j.group.(*cgroups.SystemdGroup)
	if !ok {
		return func() {}, nil
	}
	holder, err := holdProcess()
	if err != nil {
		return func() {}, err
	}
	group.Holder = holder.pid
	return holder.Release, nil
}

// withDefaultDevices lets the container use the devices that every container has: the config need not name them, and an
// engine's config does not. Nothing else is allowed but what it names.
func withDefaultDevices(r *specs.LinuxResources) *specs.LinuxResources {
	full := specs.LinuxResources{}
	if r != nil {
		full = *r
	}
	rules := DefaultDeviceRules()
	if len(full.Devices) == 0 {
		full.Devices = rules
	} else {
		full.Devices = slices.Concat(full.Devices, rules[1:])
	}
	return &full
}
