package explain

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mydocker/mydocker/cgroups"
)

// mountCount equals: wc -l /proc/self/mountinfo.
func mountCount(*Machine) ([]string, error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	return []string{strconv.Itoa(bytes.Count(data, []byte("\n")))}, err
}

// rootLine is the line of / in /proc/self/mountinfo, cut at the dash: proc_pid_mountinfo(5). The last one counts: it lies on top.
func rootLine() (mount, filesystem []string, err error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	for line := range strings.Lines(string(data)) {
		left, right, ok := strings.Cut(line, " - ")
		if words := strings.Fields(left); ok && len(words) >= 6 && words[4] == "/" {
			mount, filesystem = words, strings.Fields(right)
		}
	}
	if mount == nil {
		return nil, nil, fmt.Errorf("/proc/self/mountinfo has no line for /: %w", fs.ErrNotExist)
	}
	return mount, filesystem, nil
}

// rootPropagation equals: findmnt -no PROPAGATION /.
func rootPropagation(*Machine) ([]string, error) {
	mount, _, err := rootLine()
	if err != nil {
		return nil, err
	}
	if len(mount) == 6 {
		return []string{"private"}, nil
	}
	return mount[6:], nil
}

// rootMount equals: findmnt -no SOURCE,FSTYPE /.
func rootMount(*Machine) ([]string, error) {
	mount, filesystem, err := rootLine()
	if err != nil || len(filesystem) < 2 {
		return nil, err
	}
	return []string{fmt.Sprintf("%s, %s, mount %s", filesystem[0], filesystem[1], mount[0])}, nil
}

// overlayKnown equals: grep overlay /proc/filesystems.
func overlayKnown(*Machine) ([]string, error) {
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if words := strings.Fields(line); len(words) > 0 && words[len(words)-1] == "overlay" {
			return []string{"overlay"}, nil
		}
	}
	return nil, nil
}

func cgroupVersion(*Machine) ([]string, error) {
	v2, err := cgroups.IsV2()
	if err != nil || v2 {
		return []string{"2"}, err
	}
	return []string{"1"}, nil
}

// cgroupControllers are what can be limited: cgroup.controllers of version 2, /proc/cgroups of version 1.
func cgroupControllers(*Machine) (list []string, err error) {
	v2, err := cgroups.IsV2()
	if err != nil {
		return nil, err
	}
	if v2 {
		data, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		return []string{strings.TrimSpace(string(data))}, err
	}
	data, err := os.ReadFile("/proc/cgroups")
	for line := range strings.Lines(string(data)) {
		if words := strings.Fields(line); len(words) == 4 && words[3] == "1" && !strings.HasPrefix(line, "#") {
			list = append(list, words[0])
		}
	}
	return []string{strings.Join(list, " ")}, err
}

// containerGroups are the running containers' groups, with what they use.
func containerGroups(m *Machine) (list []string, err error) {
	states, err := m.running()
	if err != nil {
		return nil, err
	}
	for _, c := range states {
		group := filepath.Base(c.Cgroup)
		text := c.Cgroup[:len(c.Cgroup)-len(group)] + group[:min(12, len(group))]
		for _, path := range []string{
			filepath.Join("/sys/fs/cgroup", c.Cgroup, "memory.current"),
			filepath.Join("/sys/fs/cgroup/memory", c.Cgroup, "memory.usage_in_bytes"),
		} {
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			text += " " + strings.TrimSpace(string(data)) + " bytes"
		}
		list = append(list, text)
	}
	return list, nil
}
