package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// contestant is one runtime, as the commands that do each work. A nil command means that it cannot do the work.
type contestant struct {
	name string
	// run is a foreground container that runs `true` and is gone afterwards; net is none or the bridge; ports are published.
	run func(net string, ports []int) []string
	// start is a detached container that sleeps; remove takes it away by force.
	start  func(name string, port int) []string
	remove func(names ...string) []string
	exec   func(name string) []string
	// processes are the names of the programs that stand by for a running container.
	processes []string
}

// contestants prepares mydocker and those of the peers that are here. stop must be called in any case.
func contestants(o options, scratch string) (all []*contestant, stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var errs []error
		for _, f := range slices.Backward(stops) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	if err := v1Only(); err != nil {
		return nil, stop, err
	}
	image, err := makeRoot(scratch)
	if err != nil {
		return nil, stop, err
	}
	m, err := mydocker(o.mydocker, image)
	if err != nil {
		return nil, stop, err
	}
	all = append(all, m)
	for _, name := range strings.Split(o.peers, ",") {
		var c *contestant
		var err error
		switch name {
		case "crun", "runc":
			if _, e := exec.LookPath(name); e == nil {
				c, err = bare(name, scratch)
			}
		case "podman":
			if _, e := exec.LookPath(name); e == nil {
				c, err = podman(scratch, image)
			}
		case "docker":
			if _, e := exec.LookPath("dockerd"); e == nil {
				var stopDocker func() error
				c, stopDocker, err = docker(scratch, image)
				if stopDocker != nil {
					stops = append(stops, stopDocker)
				}
			}
		case "":
			continue
		default:
			return nil, stop, fmt.Errorf("unknown peer %q", name)
		}
		switch {
		case err != nil:
			fmt.Printf("left out: %s does not work here: %v\n", name, err)
		case c == nil:
			fmt.Printf("left out: %s is not installed (test/bench/install-peers.sh)\n", name)
		default:
			all = append(all, c)
		}
	}
	return all, stop, nil
}

// v1Only unmounts, here alone, the hierarchies without controllers on a host that has both versions of cgroups: crun
// would take such a host for one of cgroup v2 and find no controllers.
func v1Only() error {
	for _, dir := range []string{"systemd", "unified"} {
		dir = "/sys/fs/cgroup/" + dir
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := syscall.Unmount(dir, 0); err != nil && err != syscall.EINVAL {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		if err := os.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot makes scratch/rootfs, and the same as a tar, whose path it returns: one static busybox, the same for all.
func makeRoot(scratch string) (string, error) {
	root, archive := filepath.Join(scratch, "rootfs"), filepath.Join(scratch, "rootfs.tar")
	script := `set -e; mkdir -p "$1"/bin "$1"/proc "$1"/sys "$1"/dev "$1"/etc "$1"/tmp "$1"/root
cp "$(command -v busybox)" "$1/bin/busybox"; for a in sh true sleep; do ln -s busybox "$1/bin/$a"; done
cp /proc/$PPID/exe "$1/bin/bench"
echo root:x:0:0:root:/root:/bin/sh > "$1/etc/passwd"; echo root:x:0: > "$1/etc/group"; tar -C "$1" -cf "$2" .`
	_, err := output("bash", "-c", script, "makeroot", root, archive)
	return archive, err
}

func mydocker(binary, image string) (*contestant, error) {
	if _, err := output(binary, "import", image, "bench"); err != nil {
		return nil, err
	}
	if _, err := output(binary, "network", "create", "br0"); err != nil {
		return nil, err
	}
	return &contestant{
		name:      "mydocker",
		processes: []string{"mydocker"},
		run: func(net string, ports []int) []string {
			return likeDocker([]string{binary, "run", "--rm"}, net, ports, "bench", "true")
		},
		start: func(name string, port int) []string {
			return likeDocker([]string{binary, "run", "-d", "--name", name}, "br0", []int{port}, "bench", "sleep", "1000000")
		},
		remove: func(names ...string) []string { return append([]string{binary, "rm", "-f"}, names...) },
		exec:   func(name string) []string { return []string{binary, "exec", name, "true"} },
	}, nil
}

// likeDocker is a run command as three of the contestants spell it.
func likeDocker(head []string, net string, ports []int, tail ...string) []string {
	argv := append(slices.Clone(head), "--net", net)
	for _, port := range ports {
		argv = append(argv, "-p", fmt.Sprintf("%d:80", port))
	}
	return append(argv, tail...)
}

// bare is an OCI runtime by itself: a bundle on the disk, a network namespace with nothing in it.
func bare(name, scratch string) (*contestant, error) {
	bundle, root := filepath.Join(scratch, name), filepath.Join(scratch, name+"-state")
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return nil, err
	}
	if _, err := output("cp", "-a", filepath.Join(scratch, "rootfs"), bundle); err != nil {
		return nil, err
	}
	if _, err := output("bash", "-c", `cd "$1" && exec runc spec`, "spec", bundle); err != nil {
		return nil, err
	}
	write := func(dir string, args ...string) error {
		text, err := os.ReadFile(filepath.Join(bundle, "config.json"))
		if err != nil {
			return err
		}
		var spec map[string]any
		if err := json.Unmarshal(text, &spec); err != nil {
			return err
		}
		process := spec["process"].(map[string]any)
		process["terminal"], process["args"] = false, args
		spec["root"] = map[string]any{"path": filepath.Join(bundle, "rootfs"), "readonly": false}
		if text, err = json.Marshal(spec); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644)
	}
	sleeper := bundle + "-sleep"
	if err := errors.Join(write(sleeper, "sleep", "1000000"), write(bundle, "true")); err != nil {
		return nil, err
	}
	program := []string{name, "--root", root}
	c := &contestant{
		name: name,
		run: func(net string, ports []int) []string {
			return append(slices.Clone(program), "run", "-b", bundle, "bench-"+name)
		},
		start: func(container string, port int) []string {
			return append(slices.Clone(program), "run", "-d", "-b", sleeper, container)
		},
		remove: func(names ...string) []string {
			return append([]string{"bash", "-c", `for n; do "$0" --root "` + root + `" delete -f "$n" || exit; done`, name}, names...)
		},
		exec: func(container string) []string {
			return append(slices.Clone(program), "exec", container, "true")
		},
	}
	_, err := spawn(c.run("none", nil))
	return c, err
}

func podman(scratch, image string) (*contestant, error) {
	program := []string{"podman", "--root", filepath.Join(scratch, "podman"), "--runroot", "/run/podman-b",
		"--cgroup-manager", "cgroupfs", "--events-backend", "file", "--network-config-dir", filepath.Join(scratch, "podman-networks"),
		"--tmpdir", "/run/podman-t"}
	with := func(args ...string) []string { return append(slices.Clone(program), args...) }
	if _, err := output(with("import", image, "localhost/bench")...); err != nil {
		return nil, err
	}
	if _, err := output(with("network", "create", "br0")...); err != nil {
		return nil, err
	}
	c := &contestant{
		name:      "podman",
		processes: []string{"conmon"},
		run: func(net string, ports []int) []string {
			return likeDocker(with("run", "--rm"), net, ports, "localhost/bench", "true")
		},
		start: func(name string, port int) []string {
			return likeDocker(with("run", "-d", "--name", name), "br0", []int{port}, "localhost/bench", "sleep", "1000000")
		},
		remove: func(names ...string) []string { return with(append([]string{"rm", "-f", "-t", "0"}, names...)...) },
		exec:   func(name string) []string { return with("exec", name, "true") },
	}
	_, err := spawn(c.run("none", nil))
	return c, err
}

func docker(scratch, image string) (*contestant, func() error, error) {
	socket := "unix:///run/bench-docker.sock"
	logFile, err := os.Create(filepath.Join(scratch, "dockerd.log"))
	if err != nil {
		return nil, nil, err
	}
	defer logFile.Close()
	daemon := exec.Command("dockerd", "-H", socket, "--data-root", filepath.Join(scratch, "docker"), "--exec-root", "/run/bench-docker",
		"--pidfile", "/run/bench-docker.pid", "--exec-opt", "native.cgroupdriver=cgroupfs")
	daemon.Stdout, daemon.Stderr = logFile, logFile
	if err := daemon.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() error {
		if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		daemon.Wait() // its exit status tells nothing about the measurement
		return nil
	}
	program := []string{"docker", "-H", socket}
	with := func(args ...string) []string { return append(slices.Clone(program), args...) }
	for try := 0; ; try++ {
		if _, err = output(with("version")...); err == nil {
			break
		}
		if try == 150 {
			text, _ := output("tail", "-n", "5", logFile.Name())
			return nil, stop, fmt.Errorf("the daemon does not answer: %s", text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := output(with("import", image, "bench")...); err != nil {
		return nil, stop, err
	}
	if _, err := output(with("network", "create", "-o", "com.docker.network.bridge.name=docker-br0", "br0")...); err != nil {
		return nil, stop, err
	}
	c := &contestant{
		name:      "docker",
		processes: []string{"containerd-shim", "docker-proxy"},
		run: func(net string, ports []int) []string {
			return likeDocker(with("run", "--rm"), net, ports, "bench", "true")
		},
		start: func(name string, port int) []string {
			return likeDocker(with("run", "-d", "--name", name), "br0", []int{port}, "bench", "sleep", "1000000")
		},
		remove: func(names ...string) []string { return with(append([]string{"rm", "-f"}, names...)...) },
		exec:   func(name string) []string { return with("exec", name, "true") },
	}
	_, err = spawn(c.run("none", nil))
	return c, stop, err
}
