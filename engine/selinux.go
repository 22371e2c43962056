package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/selinux/go-selinux"
	"github.com/opencontainers/selinux/go-selinux/label"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/plan"
)

// SELinux for `run`, as Docker has it when its daemon was started with --selinux-enabled. A container gets two labels when it is
// made, and keeps them: one for its processes, one for its files. The host's policy names both (lxc_contexts, of the package
// container-selinux); what tells one container from the next is the level, two categories out of 1024 (s0:c12,c345): a process may
// write to a file only if it has all of the file's categories. See it live: `ps -Z`, `ls -Z`, selinux(8).

// labelDisable is the value of --security-opt label=disable: processes keep the label of whoever starts the container.
const labelDisable = "disable"

// labelOptions are the values of --security-opt label=…: disable, or user:U, role:R, type:T, filetype:T, level:L.
func labelOptions(opts []string) (values []string) {
	for _, opt := range opts {
		if key, value := splitSecurityOpt(opt); key == "label" {
			values = append(values, value)
		}
	}
	return values
}

// chooseLabels gives a container that is being made its labels, before there is any effect. A label that is asked for and that nobody
// would enforce is refused; Docker forgets it. Without SELinux it is one system call.
func (e *Engine) chooseLabels(d *Definition) error {
	asked := labelOptions(d.Options.Security.SecurityOpt)
	wrong := func(err error) error {
		if len(asked) == 0 {
			return fmt.Errorf("SELinux label of the container: %w", err)
		}
		return fmt.Errorf("--security-opt label=%s: %w", strings.Join(asked, " label="), err)
	}
	confined := len(asked) > 0 && !slices.Contains(asked, labelDisable)
	if !container.HasSELinux() {
		if confined {
			return wrong(fmt.Errorf("this host has no SELinux, or no policy is loaded: leave it out, or say label=disable: %w", errors.ErrUnsupported))
		}
		return nil
	}
	list := asked
	if len(asked) == 0 {
		var err error
		if list, err = e.sharedLabel(&d.Options); err != nil {
			return err
		}
	}
	if err := e.reserveLevels(); err != nil {
		return err
	}
	process, files, err := label.InitLabels(list)
	if err != nil {
		return wrong(err)
	}
	if confined && process == "" {
		return wrong(fmt.Errorf("this host's SELinux policy does not say which label containers have (the package container-selinux does): %w", errors.ErrUnsupported))
	}
	for _, l := range []string{process, files} {
		if err := container.CheckLabel(l); err != nil {
			return wrong(err)
		}
	}
	d.ProcessLabel, d.MountLabel = process, files
	return nil
}

// sharedLabel: who may see processes or memory of the host's could do nothing with them under a label of its own, and so has none;
// who sees those of another container has that container's.
func (e *Engine) sharedLabel(o *CreateOptions) (options []string, err error) {
	if o.Security.Privileged || o.PidMode == modeHost || o.IpcMode == modeHost {
		return []string{labelDisable}, nil
	}
	for _, mode := range []string{o.IpcMode, o.PidMode} {
		ref, ok := strings.CutPrefix(mode, modeContainer)
		if !ok {
			continue
		}
		other, err := e.Find(ref)
		if err != nil {
			return nil, err
		}
		theirs, err := selinux.DupSecOpt(other.ProcessLabel)
		if err != nil {
			return nil, fmt.Errorf("SELinux label of container %s: %w", other.Name, err)
		}
		if options != nil && theirs != nil && !slices.Equal(options, theirs) {
			return nil, errors.New("--ipc and --pid: the two containers have different SELinux labels (--security-opt label=disable goes without)")
		}
		if theirs != nil {
			options = theirs
		}
	}
	return options, nil
}

// reserveLevels tells the library, which remembers nothing from one process to the next, which levels there are.
func (e *Engine) reserveLevels() error {
	all, err := e.definitions()
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.MountLabel == "" {
			continue
		}
		if err := selinux.ReserveLabelV2(d.MountLabel); err != nil && !errors.Is(err, selinux.ErrMCSAlreadyExists) {
			return fmt.Errorf("SELinux label %s of container %s: %w", d.MountLabel, d.Name, err)
		}
	}
	return nil
}

// checkLabelled refuses to start a container with a label on a host that has lost SELinux since.
func checkLabelled(d *Definition) error {
	if d.MountLabel == "" || container.HasSELinux() {
		return nil
	}
	return fmt.Errorf("container %s has the SELinux label %s, and this host has no SELinux any more: make the container anew: %w", d.Name, or(d.ProcessLabel, d.MountLabel), errors.ErrUnsupported)
}

// relabel gives a directory or file of the host the label of the container's files; shared is without its categories, so that every
// container may use it. What cannot have a label has that of its mount. Equals: chcon -R LABEL PATH
func (e *Engine) relabel(d *Definition, path string, shared bool) error {
	if d.MountLabel == "" {
		return nil
	}
	op := plan.Step{Cmd: "chcon -R " + d.MountLabel + " " + path, Reason: "the files are the container's, as SELinux sees it"}
	err := plan.Do(e.Watch, op, func() error { return label.Relabel(path, d.MountLabel, shared) })
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("label %s for the container: %w", path, err)
	}
	return nil
}

// labelVolume gives a new volume a label that every container may write to: policies know of the volumes below Docker's directory only.
func (e *Engine) labelVolume(name string) error {
	files := sharedFileLabel()
	if files == "" {
		return nil
	}
	if err := label.Relabel(e.volumeData(name), files, true); err != nil && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("label volume %s for containers: %w", name, err)
	}
	return nil
}

// LabelsContainers says whether containers get SELinux labels on this host.
func LabelsContainers() bool { return sharedFileLabel() != "" }

// sharedFileLabel is the label that the policy has for containers' files, with categories that mean nothing; "" if it has none.
func sharedFileLabel() string {
	if !container.HasSELinux() {
		return ""
	}
	_, files, err := label.InitLabels(nil)
	if err != nil {
		return ""
	}
	selinux.ReleaseLabel(files)
	return files
}
