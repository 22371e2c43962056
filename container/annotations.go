package container

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Annotations are an engine's notes for itself, and a runtime leaves alone those that it does not know (runtime-spec, config.md,
// "Annotations"). Some are orders to the runtime all the same: runc's begin with org.systemd.property. (cgroups), crun's
// with run.oci. (crun(1), "Extensions to OCI").
const (
	annotationGroups   = "run.oci.keep_original_groups" // podman run --group-add keep-groups
	annotationContext  = "run.oci.mount_context_type"   // podman, for containers with systemd in them
	annotationSubgroup = "run.oci.systemd.subgroup"     // CRI-O's configuration may say "": no group below the container's
)

// validateAnnotations refuses crun's orders that are not followed here: nothing in a config is silently ignored.
func validateAnnotations(annotations map[string]string) error {
	refused := []string{"delegate-cgroup", "handler", "hooks.stderr", "hooks.stdout", "pidfd_receiver", "seccomp.plugins", "seccomp.receiver",
		"seccomp_bpf_data", "seccomp_fail_unknown_syscall", "systemd.force_cgroup_v1", "systemd.subgroup", "timens_offset"}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		value := annotations[key]
		name, ours := strings.CutPrefix(key, "run.oci.")
		switch {
		case !ours:
		case key == annotationGroups && value != "0" && value != "1":
			return fmt.Errorf("annotations: %s is %q: it is 1 or 0", key, value)
		case key == annotationContext && !slices.Contains([]string{"context", "fscontext", "defcontext", "rootcontext"}, value):
			return fmt.Errorf("annotations: %s is %q: it is context, fscontext, defcontext or rootcontext (mount(8))", key, value)
		case key == annotationSubgroup && value == "": // there is none
		case slices.Contains(refused, name):
			return fmt.Errorf("annotations: %s is not supported: %w", key, errors.ErrUnsupported)
		}
	}
	return nil
}

// keepGroups leaves the process the groups that the caller has, if the config wants that.
func keepGroups(list []step, annotations map[string]string) {
	if annotations[annotationGroups] != "1" {
		return
	}
	for i := range list {
		if old := list[i]; old.Kind == stepUser {
			list[i] = step{Kind: stepUser, Num: [6]uint64{old.Num[0], old.Num[1], groupsStay}, Reason: "the user; the caller's groups stay, as the config wants"}
		}
	}
}

// mountContext is the mount option by which a file system's files get their SELinux label.
func mountContext(annotations map[string]string, label string) string {
	kind := annotations[annotationContext]
	if kind == "" {
		kind = "context"
	}
	return kind + "=" + label
}
