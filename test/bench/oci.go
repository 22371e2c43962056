package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What an engine waits for: the runtime alone, driven by its own command line, with the very bundle that runc and crun get.

func ociWorks() []work {
	run := func(c *contestant) []string { return c.run("none", nil) }
	return slices.DeleteFunc([]work{
		{"OCI runtime: run of a bundle", func(o options, _ []*contestant) (*row, error) {
			return ociRow(o, "OCI runtime: run of a bundle", false, func(c *contestant) (time.Duration, error) { return spawn(run(c)) })
		}},
		{"OCI runtime: run of a bundle with Docker's seccomp profile", func(o options, _ []*contestant) (*row, error) {
			return ociRow(o, "OCI runtime: run of a bundle with Docker's seccomp profile", true, func(c *contestant) (time.Duration, error) { return spawn(run(c)) })
		}},
		{"OCI runtime: create, start and delete", func(o options, _ []*contestant) (*row, error) {
			return ociRow(o, "OCI runtime: create, start and delete -f of a bundle", false, lifecycle)
		}},
		{"OCI runtime: exec", func(o options, _ []*contestant) (*row, error) {
			return ociRow(o, "OCI runtime: exec in a container", false, func(c *contestant) (time.Duration, error) { return spawn(c.exec("oci-exec")) })
		}},
	}, func(w work) bool {
		_, err := os.Stat(profile)
		return err != nil && strings.Contains(w.name, "seccomp")
	})
}

// ociRow measures the runtimes by turns. Beside the times stands the most memory that a process of the runtime took.
func ociRow(o options, name string, seccomp bool, measure func(*contestant) (time.Duration, error)) (r *row, err error) {
	scratch, err := os.MkdirTemp(os.Getenv("FAKE_HOST_SCRATCH"), "oci")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	all, err := runtimes(o, scratch, seccomp)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		defer func() {
			if _, e := output(c.remove("oci-exec")...); e != nil {
				err = errors.Join(err, e)
			}
		}()
		if _, err := spawn(c.start("oci-exec", 0)); err != nil {
			return nil, err
		}
	}
	r = newRow(name)
	for i := range o.rounds + 1 {
		for _, c := range all {
			took, err := measure(c)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				r.add(c.name, took)
			}
			time.Sleep(o.pause)
		}
	}
	for _, c := range all {
		peak, err := peakMemory(c.run("none", nil))
		if err != nil {
			return nil, err
		}
		r.notes = append(r.notes, fmt.Sprintf("%s: the runtime's own process takes %.1f MB at most", c.name, float64(peak)/1024))
	}
	r.against = "crun"
	return r, nil
}

// runtimes are ours, crun and runc, each with its own copy of the bundle.
func runtimes(o options, scratch string, seccomp bool) (all []*contestant, err error) {
	if _, err := makeRoot(scratch); err != nil {
		return nil, err
	}
	if err := v1Only(); err != nil {
		return nil, err
	}
	bin := filepath.Join(scratch, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(o.mydocker, filepath.Join(bin, "mydocker-runtime"))); err != nil {
		return nil, err
	}
	if err := os.Setenv("PATH", bin+":"+os.Getenv("PATH")); err != nil {
		return nil, err
	}
	for _, name := range []string{"mydocker-runtime", "crun", "runc"} {
		if _, err := exec.LookPath(name); err != nil && name != "mydocker-runtime" {
			continue
		}
		c, err := bare(name, scratch)
		if err != nil {
			return nil, err
		}
		if seccomp {
			if err := addSeccomp(filepath.Join(scratch, name, "config.json")); err != nil {
				return nil, err
			}
			if _, err := spawn(c.run("none", nil)); err != nil { // what is cached is cached now
				return nil, err
			}
		}
		all = append(all, c)
	}
	return all, nil
}

const profile = "/usr/share/containers/seccomp.json"

// addSeccomp gives a bundle the profile that podman, and Docker in the same words, give theirs: it is in Debian's package
// golang-github-containers-common.
func addSeccomp(config string) error {
	var spec, from map[string]any
	for path, to := range map[string]*map[string]any{config: &spec, profile: &from} {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, to); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	var calls []any
	for _, c := range from["syscalls"].([]any) {
		call := c.(map[string]any)
		includes, _ := call["includes"].(map[string]any)
		arches, _ := includes["arches"].([]any)
		if includes["caps"] != nil || len(arches) > 0 && !slices.Contains(arches, any("amd64")) {
			continue // for other capabilities and architectures
		}
		calls = append(calls, map[string]any{"names": call["names"], "action": call["action"], "args": call["args"]})
	}
	spec["linux"].(map[string]any)["seccomp"] = map[string]any{
		"defaultAction": "SCMP_ACT_ERRNO", "architectures": []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}, "syscalls": calls,
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(config, text, 0o644)
}

// lifecycle is what an engine does: three calls, whose times are added up.
func lifecycle(c *contestant) (sum time.Duration, err error) {
	create := slices.Clone(c.run("none", nil))
	create[slices.Index(create, "run")] = "create"
	id := create[len(create)-1]
	head := create[:slices.Index(create, "create")]
	for _, argv := range [][]string{create, append(slices.Clone(head), "start", id), append(slices.Clone(head), "delete", "-f", id)} {
		took, err := spawn(argv)
		if err != nil {
			return 0, err
		}
		sum += took
	}
	return sum, nil
}

// peakMemory runs a command and says how many KiB it had in memory at most.
func peakMemory(argv []string) (int64, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%v: %w", argv, err)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss, nil
}
