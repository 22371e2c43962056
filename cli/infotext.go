package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/docker/go-units"
)

// registryConfig is how registries are reached, with Docker's keys.
type registryConfig struct {
	InsecureRegistryCIDRs []string
	IndexConfigs          map[string]registryIndex
	Mirrors               []string
}

type registryIndex struct {
	Name             string
	Mirrors          []string
	Secure, Official bool
}

// readRegistryConfig reads the file that package registry obeys, which is not linked into this program: it brings HTTP and TLS along.
func readRegistryConfig(file string) (registryConfig, error) {
	var said struct {
		Mirrors  []string `json:"registry-mirrors"`
		Insecure []string `json:"insecure-registries"`
	}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &said)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("read the registries' configuration %s: %w", file, err)
	}
	mirrors := append([]string{}, said.Mirrors...)
	c := registryConfig{Mirrors: mirrors, InsecureRegistryCIDRs: []string{},
		IndexConfigs: map[string]registryIndex{"docker.io": {Name: "docker.io", Mirrors: mirrors, Secure: true, Official: true}}}
	for _, name := range said.Insecure {
		if strings.Contains(name, "/") { // a network
			c.InsecureRegistryCIDRs = append(c.InsecureRegistryCIDRs, name)
			continue
		}
		c.IndexConfigs[name] = registryIndex{Name: name, Mirrors: []string{}}
	}
	c.InsecureRegistryCIDRs = append(c.InsecureRegistryCIDRs, "::1/128", "127.0.0.0/8") // what runs on the same machine
	return c, err
}

// insecure are the registries that may be spoken to without TLS.
func (c registryConfig) insecure() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(c.IndexConfigs)) {
		if !c.IndexConfigs[name].Secure {
			names = append(names, name)
		}
	}
	return append(names, c.InsecureRegistryCIDRs...)
}

// printInfo has the layout of Docker's `info`, with the lines that mean something here.
func (s *session) printInfo(i *infoJSON) error {
	w := bufio.NewWriter(s.streams.Out)
	fmt.Fprintf(w, "Client: %s\n Version:    %s\n Context:    %s\n Debug Mode: %t\n\nServer:\n",
		i.ClientInfo.Platform.Name, i.ClientInfo.Version, i.ClientInfo.Context, i.ClientInfo.Debug)
	facts(w, "Containers", i.Containers, " Running", i.ContainersRunning, " Paused", i.ContainersPaused, " Stopped", i.ContainersStopped,
		"Images", i.Images, "Server Version", i.ServerVersion, "Storage Driver", i.Driver, "Logging Driver", i.LoggingDriver,
		"Cgroup Driver", i.CgroupDriver, "Cgroup Version", i.CgroupVersion, "Plugins", nil, " Volume", strings.Join(i.Plugins.Volume, " "),
		" Network", strings.Join(i.Plugins.Network, " "), " Log", strings.Join(i.Plugins.Log, " "), "Swarm", i.Swarm.LocalNodeState,
		"Runtimes", strings.Join(slices.Sorted(maps.Keys(i.Runtimes)), " "), "Default Runtime", i.DefaultRuntime, "Init Binary", i.InitBinary)
	printSecurity(w, i.SecurityOptions)
	facts(w, "Kernel Version", i.KernelVersion, "Operating System", i.OperatingSystem, "OSType", i.OSType, "Architecture", i.Architecture,
		"CPUs", i.NCPU, "Total Memory", units.BytesSize(float64(i.MemTotal)), "Name", i.Name, "Docker Root Dir", i.DockerRootDir, "Run Dir", i.RunDir,
		"Debug Mode", i.Debug)
	for _, proxy := range [][2]string{{"HTTP Proxy", i.HTTPProxy}, {"HTTPS Proxy", i.HTTPSProxy}, {"No Proxy", i.NoProxy}} {
		if proxy[1] != "" {
			facts(w, proxy[0], proxy[1])
		}
	}
	facts(w, "Experimental", i.ExperimentalBuild)
	printList(w, "Insecure Registries", i.RegistryConfig.insecure())
	printList(w, "Registry Mirrors", i.RegistryConfig.Mirrors)
	facts(w, "Live Restore Enabled", i.LiveRestoreEnabled, "Firewall Backend", i.FirewallBackend.Driver)
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	s.warn(i.Warnings)
	return nil
}

// facts are lines of the server's part, a name and a value in turns; nil is for a heading.
func facts(w io.Writer, namesAndValues ...any) {
	for k := 0; k < len(namesAndValues); k += 2 {
		if namesAndValues[k+1] == nil {
			fmt.Fprintf(w, " %s:\n", namesAndValues[k])
			continue
		}
		fmt.Fprintf(w, " %s: %v\n", namesAndValues[k], namesAndValues[k+1])
	}
}

func printList(w io.Writer, name string, values []string) {
	if len(values) > 0 {
		fmt.Fprintf(w, " %s:\n  %s\n", name, strings.Join(values, "\n  "))
	}
}

// printSecurity shows "name=seccomp,profile=builtin" as Docker does: the name, and below it what belongs to it.
func printSecurity(w io.Writer, options []string) {
	fmt.Fprintln(w, " Security Options:")
	for _, option := range options {
		for _, pair := range strings.Split(option, ",") {
			if key, value, _ := strings.Cut(pair, "="); key == "name" {
				fmt.Fprintf(w, "  %s\n", value)
			} else {
				fmt.Fprintf(w, "   %s: %s\n", strings.ToUpper(key[:1])+key[1:], value)
			}
		}
	}
}
