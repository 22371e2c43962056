package cli

import (
	"bufio"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
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
	Plugins           struct{ Volume, Network, Authorization, Log []string }
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
	infoMore
}

// infoMore is what scripts ask for and people need not read.
type infoMore struct {
	SystemTime   string
	Debug        bool
	DriverStatus [][2]string
	Labels       []string
	Runtimes     map[string]struct {
		Path string `json:"path"`
	}
	InitBinary string
	Swarm      struct{ LocalNodeState string }
	// RegistryConfig is what /etc/mydocker/registries.json says.
	RegistryConfig  registryConfig
	FirewallBackend struct{ Driver string }
	Isolation       string // of Windows
	ClientInfo      clientInfo
	HTTPProxy       string `json:"HttpProxy"`
	HTTPSProxy      string `json:"HttpsProxy"`
	NoProxy         string
	OSVersion       string
	// IndexServerAddress is where names without a host are looked for.
	IndexServerAddress string
	// LiveRestoreEnabled says that containers outlive the daemon: here they need none.
	LiveRestoreEnabled, ExperimentalBuild             bool
	MemoryLimit, SwapLimit, OomKillDisable, PidsLimit bool
	CPUCfsPeriod                                      bool `json:"CpuCfsPeriod"`
	CPUCfsQuota                                       bool `json:"CpuCfsQuota"`
	CPUShares, CPUSet, IPv4Forwarding                 bool
}

// clientInfo is the program, as a client.
type clientInfo struct {
	versionClient
	Debug    bool
	Plugins  []struct{}
	Warnings []string
}

// more fills in infoMore. Which limits there are is asked of the files of the kernel's root group, or, on v2, which has none there, of
// the controllers.
func (s *session) more(v2 bool) infoMore {
	m := infoMore{
		SystemTime: time.Now().Format(time.RFC3339Nano), DriverStatus: [][2]string{}, Labels: []string{}, InitBinary: "mydocker",
		Runtimes: map[string]struct {
			Path string `json:"path"`
		}{"mydocker": {"mydocker"}}, ClientInfo: clientInfo{versionClient: s.versions().Client, Plugins: []struct{}{}},
		HTTPProxy: os.Getenv("HTTP_PROXY"), HTTPSProxy: os.Getenv("HTTPS_PROXY"), NoProxy: os.Getenv("NO_PROXY"),
		OSVersion: osRelease("VERSION_ID"), IndexServerAddress: "https://index.docker.io/v1/", LiveRestoreEnabled: true,
	}
	m.Debug = logrus.IsLevelEnabled(logrus.DebugLevel)
	m.ClientInfo.Debug = m.Debug
	m.Swarm.LocalNodeState = "inactive"
	there := func(file string) bool { _, err := os.Stat(filepath.Join(cgroups.Mount, file)); return err == nil }
	if v2 {
		controllers, _ := os.ReadFile(filepath.Join(cgroups.Mount, "cgroup.controllers")) // none, if it cannot be read
		has := func(name string) bool { return slices.Contains(strings.Fields(string(controllers)), name) }
		m.MemoryLimit, m.SwapLimit, m.PidsLimit, m.CPUSet = has("memory"), has("memory"), has("pids"), has("cpuset")
		m.CPUShares, m.CPUCfsPeriod, m.CPUCfsQuota = has("cpu"), has("cpu"), has("cpu")
	} else {
		m.MemoryLimit, m.SwapLimit = there("memory/memory.limit_in_bytes"), there("memory/memory.memsw.limit_in_bytes")
		m.OomKillDisable, m.PidsLimit, m.CPUSet = there("memory/memory.oom_control"), there("pids"), there("cpuset/cpuset.cpus")
		m.CPUShares, m.CPUCfsPeriod, m.CPUCfsQuota = there("cpu/cpu.shares"), there("cpu/cpu.cfs_period_us"), there("cpu/cpu.cfs_quota_us")
	}
	forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	m.IPv4Forwarding = err == nil && strings.TrimSpace(string(forward)) == "1"
	return m
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
		CgroupDriver: "cgroupfs", CgroupVersion: "1", DefaultRuntime: "mydocker", KernelVersion: s.versions().Server.KernelVersion,
		OperatingSystem: cmp.Or(osRelease("PRETTY_NAME"), "Linux"), OSType: runtime.GOOS, Architecture: s.machine(), NCPU: runtime.NumCPU(), MemTotal: hostMemory(),
		Name: name, DockerRootDir: s.root.Lib, RunDir: s.root.Run}
	if v2 {
		i.CgroupVersion = "2"
	}
	i.Plugins.Volume, i.Plugins.Network, i.Plugins.Log = []string{"local"}, []string{"bridge", "host", "ipvlan", "macvlan", "null"}, []string{"journald", "json-file", "none"}
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
	i.infoMore = s.more(v2)
	i.FirewallBackend.Driver = e.Networks().FirewallBackend()
	if i.RegistryConfig, err = readRegistryConfig("/etc/mydocker/registries.json"); err != nil {
		i.Warnings = append(i.Warnings, err.Error())
	}
	if !i.IPv4Forwarding {
		i.Warnings = append(i.Warnings, "IPv4 forwarding is disabled; the first network that needs it switches it on")
	}
	return i, nil
}

// osRelease is a value of os-release(5), or "".
func osRelease(key string) string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return ""
	}
	defer f.Close()
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if name, ok := strings.CutPrefix(scanner.Text(), key+"="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}
