package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A sandbox has a group of its own in every cgroup hierarchy, and a cgroup namespace (cgroup_namespaces(7)) that shows this
// group as if it were the root. So containers in it have limits, and what it does to groups stays below its own.

// hierarchy is one mounted cgroup tree.
type hierarchy struct {
	target string // /sys/fs/cgroup/memory, or /sys/fs/cgroup
	v2     bool
	// options select the same hierarchy in a mount of one's own.
	options string
}

// hierarchies reads them from /proc/self/mountinfo (proc(5)), in the order in which they were mounted, each once.
func hierarchies() (all []hierarchy, err error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, m := range mounts {
		if m.fstype != "cgroup" && m.fstype != "cgroup2" || seen[m.target] || !strings.HasPrefix(m.target, "/sys/fs/cgroup") {
			continue
		}
		seen[m.target] = true
		h := hierarchy{target: m.target, v2: m.fstype == "cgroup2"}
		if !h.v2 {
			h.options = selecting(m.options)
		}
		all = append(all, h)
	}
	return all, nil
}

// selecting keeps of a hierarchy's options those that say which one it is: controllers, and a name.
func selecting(options string) string {
	var keep []string
	named := false
	for _, o := range strings.Split(options, ",") {
		switch {
		case o == "rw" || o == "ro" || o == "seclabel" || o == "clone_children" || o == "xattr" || strings.HasPrefix(o, "release_agent="):
		case strings.HasPrefix(o, "name="):
			named = true
			keep = append(keep, o)
		default:
			keep = append(keep, o)
		}
	}
	if named && len(keep) == 1 {
		keep = append([]string{"none"}, keep...) // a hierarchy without controllers, such as systemd's own
	}
	return strings.Join(keep, ",")
}

// chooseGroups names a sandbox's groups. Without root there are some only where the system has given the user a branch of the
// tree; the note then says what does not work.
func chooseGroups(name string, rootless bool) (groups []string, note string) {
	all, err := hierarchies()
	if err != nil || len(all) == 0 {
		return nil, "note-no-cgroups"
	}
	for _, h := range all {
		base := h.target
		if rootless {
			if base = delegated(h); base == "" {
				continue
			}
		}
		groups = append(groups, filepath.Join(base, name))
	}
	if rootless && len(groups) == 0 {
		note = "note-no-branch"
	}
	return groups, note
}

// delegated is the directory in the unified hierarchy in which we may make groups: that of the group above our own, if it is ours
// and no process is in it. Below our own group there is no place: it has processes, ours at least, and so cannot hand
// controllers on (cgroups(7), "no internal processes").
func delegated(h hierarchy) string {
	if !h.v2 || h.target != "/sys/fs/cgroup" {
		return ""
	}
	data, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok || path == "/" {
			continue
		}
		dir := filepath.Dir(filepath.Join(h.target, path))
		for _, file := range []string{dir, dir + "/cgroup.procs", dir + "/cgroup.subtree_control"} {
			if unix.Access(file, unix.W_OK) != nil {
				return ""
			}
		}
		if members, err := os.ReadFile(dir + "/cgroup.procs"); err != nil || len(members) > 0 {
			return ""
		}
		return dir
	}
	return ""
}

// makeGroups makes the groups, each as large as the one above it.
func makeGroups(groups []string) error {
	for _, group := range groups {
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the sandbox's cgroup: %w", err)
		}
		above := filepath.Dir(group)
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // v1: a new cpuset takes no process before it has both
			data, err := os.ReadFile(filepath.Join(above, file))
			if err != nil || isV2(above) {
				continue
			}
			if err := os.WriteFile(filepath.Join(group, file), data, 0); err != nil {
				return fmt.Errorf("give the sandbox's cgroup its processors: %w", err)
			}
		}
		if isV2(above) {
			enableControllers(above)
		}
	}
	return nil
}

func isV2(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.controllers"))
	return err == nil
}

// enableControllers hands the controllers of a group of version 2 to the groups below. One that cannot be handed on is then
// missing below, and who sets a limit with it is told so.
func enableControllers(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, c := range strings.Fields(string(data)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

// removeGroups removes the groups and what is below them. The kernel empties a group a moment after its last process has
// died, so it has some patience. Absent is success.
func removeGroups(groups []string) error {
	var errs []error
	for _, group := range groups {
		var err error
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			if err = removeTree(group); err == nil || time.Now().After(deadline) {
				break
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeTree is find GROUP -depth -type d -exec rmdir {} +
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}

// mount is a line of mountinfo.
type mount struct{ target, fstype, options string }

func readMounts() (all []mount, err error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(f)
	for lines.Scan() { // 36 35 98:0 /root /target options optional... - type source superblock-options
		before, after, _ := strings.Cut(lines.Text(), " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if len(b) < 6 || len(a) < 3 {
			continue
		}
		all = append(all, mount{unescape.Replace(b[4]), a[0], a[2]})
	}
	return all, lines.Err()
}
