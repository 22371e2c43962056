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
		if err != nil {
			return nil, nil, err
		}
		if err := group.Annotate(s.Annotations); err != nil {
			return nil, nil, fmt.Errorf("config.json: %w", err)
		}
		return group, &scope, nil
	}
	if path == "" {
		path = "/mydocker-runtime/" + o.ID // not the engine's own directory, in which its gc removes what it does not know
	}
	group, err := cgroups.Open(filepath.Clean("/"+path), r.Watch)
	return group, nil, err
}

// makeGroup makes the group. A user who may make none there has containers without one, as under runc, unless the config wants
// just that group: what it wants of limits is refused then.
func (j *createJob) makeGroup() error {
	err := j.group.Create()
	if j.spec.Linux.CgroupsPath != "" || j.options.Systemd || !cgroups.IsForbidden(err) {
		return err
	}
	if err := j.group.Delete(); err != nil { // in some of the trees of version 1 it may exist
		return err
	}
	j.group, j.container.state.Cgroup = cgroups.None(), ""
	return nil
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
	switch {
	case len(full.Devices) == 0:
		full.Devices = rules
	case !beginsWith(full.Devices, rules): // our own engine's configs do, and need not say it twice
		full.Devices = slices.Concat(full.Devices, rules[1:])
	}
	return &full
}

// beginsWith says whether a list has the default rules first, and takes none of them back.
func beginsWith(list, rules []specs.LinuxDeviceCgroup) bool {
	same := func(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
	return len(list) >= len(rules) && slices.EqualFunc(list[:len(rules)], rules, func(a, b specs.LinuxDeviceCgroup) bool {
		return a.Allow == b.Allow && a.Type == b.Type && a.Access == b.Access && same(a.Major, b.Major) && same(a.Minor, b.Minor)
	}) && !slices.ContainsFunc(list[len(rules):], func(d specs.LinuxDeviceCgroup) bool { return !d.Allow })
}
