package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
)

// infoJSON is what `info` shows, with Docker's keys.
type infoJSON struct {
	ServerVersion     string
	Containers        int
	ContainersRunning int
	ContainersPaused  int
	ContainersStopped int
	Images            int
	Driver            string
	LoggingDriver     string
	CgroupDriver      string
	CgroupVersion     string
	Plugins           struct{ Volume, Network, Log []string }
	DefaultRuntime    string
	KernelVersion     string
	OperatingSystem   string
	OSType            string
	Architecture      string
	NCPU              int
	MemTotal          uint64
	Name              string
	DockerRootDir     string
	RunDir            string
	SecurityOptions   []string
	Warnings          []string
}

func infoVerb() *verb {
	return &verb{
		name: "info", summary: "Display system-wide information", usage: "[OPTIONS]",
		about: `Examples:
  $ mydocker info
  $ mydocker info -f '{{.ContainersRunning}} of {{.Containers}}'`,
		flags: inspectFlags,
		run: func(s *session, c *urfave.Context) error {
			show, err := inspectPrinter(c.String("format"))
			if err != nil {
				return &usageError{s.verb, err.Error(), 64}
			}
			info, err := s.info()
			if err != nil {
				return err
			}
			if show != nil {
				return show(s.streams.Out, info)
			}
			return s.printInfo(info)
		},
	}
}

func (s *session) info() (*infoJSON, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	store, err := e.Images()
	if err != nil {
		return nil, err
	}
	containers, err := e.Containers(context.Background())
	if err != nil {
		return nil, err
	}
	images, err := store.List()
	if err != nil {
		return nil, err
	}
	v2, err := cgroups.IsV2()
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	driver, _, err := store.Driver()
	if err != nil {
		return nil, err
	}
	i := &infoJSON{ServerVersion: s.version, Containers: len(containers), Images: len(images), Driver: driver, LoggingDriver: "json-file",
		CgroupDriver: "cgroupfs", CgroupVersion: "1", DefaultRuntime: "mydocker", KernelVersion: s.versions().Client.KernelVersion,
		OperatingSystem: operatingSystem(), OSType: runtime.GOOS, Architecture: s.machine(), NCPU: runtime.NumCPU(), MemTotal: hostMemory(),
		Name: name, DockerRootDir: s.root.Lib, RunDir: s.root.Run}
	if v2 {
		i.CgroupVersion = "2"
	}
	i.Plugins.Volume, i.Plugins.Network, i.Plugins.Log = []string{"local"}, []string{"bridge", "host", "null"}, []string{"json-file", "none"}
	for _, sum := range containers {
		switch sum.State {
		case "running", "restarting":
			i.ContainersRunning++
		case "paused":
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
	i.SecurityOptions = []string{"name=seccomp,profile=builtin", "name=cgroupns"}
	if container.LoadsAppArmor() {
		i.SecurityOptions = append([]string{"name=apparmor"}, i.SecurityOptions...)
	}
	if engine.LabelsContainers() {
		i.SecurityOptions = slices.Insert(i.SecurityOptions, len(i.SecurityOptions)-1, "name=selinux") // before cgroupns, as Docker has it
	}
	if forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil && strings.TrimSpace(string(forward)) == "0" {
		i.Warnings = append(i.Warnings, "IPv4 forwarding is disabled; the first network that needs it switches it on")
	}
	return i, nil
}

// operatingSystem is PRETTY_NAME of os-release(5).
func operatingSystem() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	defer f.Close()
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if name, ok := strings.CutPrefix(scanner.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return "Linux"
}

func (s *session) printInfo(i *infoJSON) error {
	w := bufio.NewWriter(s.streams.Out)
	for _, line := range []struct {
		name  string
		value any
	}{
		{"Containers", i.Containers}, {" Running", i.ContainersRunning}, {" Paused", i.ContainersPaused}, {" Stopped", i.ContainersStopped},
		{"Images", i.Images}, {"Server Version", i.ServerVersion}, {"Storage Driver", i.Driver}, {"Logging Driver", i.LoggingDriver},
		{"Cgroup Driver", i.CgroupDriver}, {"Cgroup Version", i.CgroupVersion}, {"Networks", strings.Join(i.Plugins.Network, " ")},
		{"Security Options", strings.ReplaceAll(strings.Join(i.SecurityOptions, " "), "name=", "")},
		{"Default Runtime", i.DefaultRuntime}, {"Kernel Version", i.KernelVersion}, {"Operating System", i.OperatingSystem},
		{"OSType", i.OSType}, {"Architecture", i.Architecture}, {"CPUs", i.NCPU}, {"Total Memory", units.BytesSize(float64(i.MemTotal))},
		{"Name", i.Name}, {"Root Dir", i.DockerRootDir}, {"Run Dir", i.RunDir},
	} {
		fmt.Fprintf(w, "%s: %v\n", line.name, line.value)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.warn(i.Warnings)
	return nil
}
