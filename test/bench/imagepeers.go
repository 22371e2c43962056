package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// puller is a program that gets images. pull and load prepare a directory and return the command that is measured.
type puller struct {
	name string
	pull func(*imageSite) ([]string, error)
	load func(*imageSite) ([]string, error)
	// start starts a daemon that does the work; nil where there is none. It is asked for its usage so far.
	start func(*imageSite) (usage func() imageUsage, stop func() error, err error)
}

const mydockerLib = "/var/lib/mydocker"

// pullers are mydocker and those of the peers that are here. On a disk there is a second mydocker, which waits until all is on it:
// nobody else does.
func pullers(o options, memory bool) []*puller {
	all := []*puller{mydockerPuller(o.mydocker)}
	if !memory {
		all = append(all, waiting(mydockerPuller(o.mydocker), o.mydocker))
	}
	peers := map[string]struct {
		program string
		make    func() *puller
	}{"podman": {"podman", podmanPuller}, "docker": {"dockerd", dockerPuller}}
	for _, name := range strings.Split(o.peers, ",") {
		if p, ok := peers[name]; ok {
			if _, err := exec.LookPath(p.program); err == nil {
				all = append(all, p.make())
			}
		}
	}
	return append(all, skopeoPuller())
}

// mydockerPuller has an empty directory in the place of its own before each run.
func mydockerPuller(binary string) *puller {
	p := &puller{name: "mydocker"}
	p.pull = func(*imageSite) ([]string, error) { return []string{binary, "pull", "-q", bigImage}, nil }
	p.load = func(s *imageSite) ([]string, error) { return []string{binary, "load", "-q", "-i", s.archive}, nil }
	p.start = func(s *imageSite) (func() imageUsage, func() error, error) {
		err := syscall.Mount(s.dir, mydockerLib, "", syscall.MS_BIND, "")
		// The last thing before it goes: the image can be started, with all that it has.
		stop := func() error {
			said, err := output(binary, "run", "--rm", "--net", "none", bigImage, "git", "--version")
			if err == nil && !strings.HasPrefix(said, "git version") {
				err = fmt.Errorf("the image does not work: %s", said)
			}
			return errors.Join(err, syscall.Unmount(mydockerLib, syscall.MNT_DETACH))
		}
		return func() imageUsage { return imageUsage{} }, stop, err
	}
	return p
}

// waiting is a puller whose images are on the disk at its end.
func waiting(p *puller, binary string) *puller {
	then := func(command func(*imageSite) ([]string, error)) func(*imageSite) ([]string, error) {
		return func(s *imageSite) ([]string, error) {
			argv, err := command(s)
			return append([]string{"bash", "-ec", `"$@"; "$0" image settle`, binary}, argv...), err
		}
	}
	twin := *p
	twin.name, twin.pull, twin.load = "mydocker, and on the disk", then(p.pull), then(p.load)
	return &twin
}

func podmanPuller() *puller {
	command := func(s *imageSite, args ...string) []string {
		return append([]string{"podman", "--root", filepath.Join(s.dir, "root"), "--runroot", filepath.Join("/run/bench-podman", filepath.Base(s.dir)),
			"--tmpdir", filepath.Join("/run/bench-podman", filepath.Base(s.dir)+"-tmp"), "--cgroup-manager", "cgroupfs", "--events-backend", "file"}, args...)
	}
	return &puller{name: "podman",
		pull: func(s *imageSite) ([]string, error) {
			return command(s, "pull", "-q", "--tls-verify=false", bigImage), nil
		},
		load: func(s *imageSite) ([]string, error) { return command(s, "load", "-q", "-i", s.archive), nil }}
}

// skopeoPuller only fetches and unpacks: what there is to do at least.
func skopeoPuller() *puller {
	command := func(s *imageSite, from string) ([]string, error) {
		script := `skopeo --insecure-policy copy -q --src-tls-verify=false "$1" "dir:$2/image"; mkdir "$2/rootfs"
for l in $(jq -r '.layers[].digest' "$2/image/manifest.json"); do tar -C "$2/rootfs" -xf "$2/image/${l#sha256:}"; done`
		return []string{"bash", "-ec", script, "skopeo", from, s.dir}, nil
	}
	return &puller{name: "skopeo and tar",
		pull: func(s *imageSite) ([]string, error) { return command(s, "docker://"+bigImage) },
		load: func(s *imageSite) ([]string, error) { return command(s, "docker-archive:"+s.archive+":"+bigImage) }}
}

// dockerPuller has a daemon with an empty directory for each run: it can forget an image only by removing it.
func dockerPuller() *puller {
	const socket = "unix:///run/bench-images-docker.sock"
	return &puller{name: "docker",
		pull: func(*imageSite) ([]string, error) {
			return []string{"docker", "-H", socket, "pull", "-q", bigImage}, nil
		},
		load: func(s *imageSite) ([]string, error) {
			return []string{"docker", "-H", socket, "load", "-q", "-i", s.archive}, nil
		},
		start: func(s *imageSite) (func() imageUsage, func() error, error) { return startDocker(s, socket) }}
}

func startDocker(s *imageSite, socket string) (func() imageUsage, func() error, error) {
	daemon := exec.Command("dockerd", "-H", socket, "--data-root", s.dir, "--exec-root", "/run/bench-images-docker", "--pidfile", "/run/bench-images-docker.pid",
		"--iptables=false", "--bridge=none", "--exec-opt", "native.cgroupdriver=cgroupfs")
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := daemon.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() error {
		err := daemon.Process.Signal(syscall.SIGTERM)
		daemon.Wait() // its exit status tells nothing about the measurement
		return err
	}
	for range 150 {
		if _, err := output("docker", "-H", socket, "version"); err == nil {
			return func() imageUsage { return usageOf(daemon.Process.Pid) }, stop, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, nil, errors.Join(errors.New("the Docker daemon does not answer"), stop())
}

// usageOf is what a running process, with those that it has waited for, has used so far: proc_pid_stat(5), fields 14 to 17.
// Docker unpacks in processes of its own, and waits for them.
func usageOf(pid int) (u imageUsage) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(rest); len(fields) > 15 {
		const tick = 10 * time.Millisecond // sysconf(_SC_CLK_TCK) is 100 on every Linux that Go knows
		var sum time.Duration
		for _, f := range fields[11:15] {
			n, _ := strconv.Atoi(f)
			sum += time.Duration(n) * tick
		}
		u.cpu = times{sum}
	}
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "VmHWM:" {
			u.memory, _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return u
}
