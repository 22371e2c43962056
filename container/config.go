package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// LoadSpec reads a bundle's config.json. Members that the runtime spec does not know are allowed, as it demands; members
// that we know and do not support are refused by Validate.
func LoadSpec(bundle string) (*specs.Spec, error) {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("bundle %s has no readable config.json: %w", bundle, err)
	}
	spec, err := ParseSpec(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

// ParseSpec reads the text of a config.json.
func ParseSpec(data []byte) (*specs.Spec, error) {
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, err
	}
	return &spec, nil
}

// Validate refuses, by the name of the member, what the runtime cannot do: nothing in a config is silently ignored.
func Validate(s *specs.Spec) error {
	switch {
	case s == nil:
		return errors.New("it is empty")
	case s.Version == "":
		return errors.New("ociVersion is missing")
	case !isVersion1(s.Version):
		return fmt.Errorf("ociVersion: %q is not supported, 1.x is", s.Version)
	case s.Linux == nil:
		return errors.New("linux is missing")
	case s.Root == nil || s.Root.Path == "":
		return errors.New("root.path is missing")
	case s.Process == nil:
		return errors.New("process is missing")
	case len(s.Process.Args) == 0 || s.Process.Args[0] == "":
		return errors.New("process.args is empty")
	case !filepath.IsAbs(s.Process.Cwd):
		return fmt.Errorf("process.cwd: %q is not absolute", s.Process.Cwd)
	}
	for _, a := range append(s.Process.Args, s.Process.Env...) {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("process: %q has a zero byte in it", a)
		}
	}
	if err := errors.Join(validateNamespaces(s), validateHooks(s.Hooks)); err != nil {
		return err
	}
	return unsupported(s)
}

// isVersion1 knows "1.0.2-dev" from "1.x": semantic versions, of which the runtime spec makes its own.
func isVersion1(text string) bool {
	numbers, _, _ := strings.Cut(text, "+")
	numbers, _, _ = strings.Cut(numbers, "-")
	parts := strings.Split(numbers, ".")
	return len(parts) == 3 && parts[0] == "1" && !slices.ContainsFunc(parts[1:], func(p string) bool {
		_, err := strconv.ParseUint(p, 10, 32)
		return err != nil
	})
}

func validateNamespaces(s *specs.Spec) error {
	known := namespaceFlags()
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, n := range s.Linux.Namespaces {
		if _, ok := known[n.Type]; !ok {
			return fmt.Errorf("linux.namespaces: unknown type %q", n.Type)
		}
		if seen[n.Type] {
			return fmt.Errorf("linux.namespaces: %q is there twice", n.Type)
		}
		seen[n.Type] = true
		if n.Path != "" && !filepath.IsAbs(n.Path) {
			return fmt.Errorf("linux.namespaces: the path %q is not absolute", n.Path)
		}
		if n.Type == specs.MountNamespace && n.Path != "" && isOurs(n.Path, "mnt") {
			return fmt.Errorf("linux.namespaces: the mount namespace %s is the host's own, whose root would be changed", n.Path)
		}
	}
	if !seen[specs.MountNamespace] && seen[specs.UserNamespace] {
		return errors.New("linux.namespaces: a user namespace may not mount in the host's mount namespace: add {\"type\": \"mount\"}")
	}
	if s.Hostname != "" && !seen[specs.UTSNamespace] {
		return errors.New("hostname: needs a uts namespace, or the host would be renamed")
	}
	if s.Domainname != "" && !seen[specs.UTSNamespace] {
		return errors.New("domainname: needs a uts namespace, or the host's would be changed")
	}
	if err := errors.Join(validateMapping("linux.uidMappings", s.Linux.UIDMappings), validateMapping("linux.gidMappings", s.Linux.GIDMappings)); err != nil {
		return err
	}
	mapped := len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0
	switch {
	case mapped && !seen[specs.UserNamespace]:
		return errors.New("linux.uidMappings, linux.gidMappings: need a user namespace")
	case owns(s, specs.UserNamespace) && (len(s.Linux.UIDMappings) == 0 || len(s.Linux.GIDMappings) == 0):
		return errors.New("linux.namespaces: a new user namespace needs uidMappings and gidMappings")
	case owns(s, specs.UserNamespace) && !(mapsRoot(s.Linux.UIDMappings) && mapsRoot(s.Linux.GIDMappings)):
		return errors.New("linux.uidMappings, linux.gidMappings: the container's id 0 is not mapped, and as that it is made")
	case mapped && !owns(s, specs.UserNamespace):
		return errors.New("linux.uidMappings, linux.gidMappings: a user namespace that is joined by its path has its own")
	}
	return nil
}

func mapsRoot(list []specs.LinuxIDMapping) bool {
	return slices.ContainsFunc(list, func(m specs.LinuxIDMapping) bool { return m.ContainerID == 0 })
}

// isOurs says whether a path is the namespace in which this program itself lives.
func isOurs(path, kind string) bool {
	theirs, err := os.Stat(path)
	if err != nil {
		return false // joining it will tell
	}
	ours, err := os.Stat("/proc/self/ns/" + kind)
	return err == nil && os.SameFile(ours, theirs)
}

// unsupported names the first member that asks for something that this runtime does not do.
func unsupported(s *specs.Spec) error {
	if err := errors.Join(validateAnnotations(s.Annotations), unsupportedProcess(s.Process), validateLabels(s.Process, s.Linux.MountLabel), validateNetDevices(s)); err != nil {
		return err
	}
	l := s.Linux
	return refuse([]member{
		{"linux.intelRdt", l.IntelRdt != nil},
		{"windows", s.Windows != nil},
		{"solaris", s.Solaris != nil},
		{"vm", s.VM != nil},
		{"zos", s.ZOS != nil},
		{"freebsd", s.FreeBSD != nil},
	})
}

// noID is -1 for setresuid(2): the id stays as it is.
const noID = 1<<32 - 1

func unsupportedProcess(p *specs.Process) error {
	if profile := p.ApparmorProfile; profile != "" && profile != "unconfined" && !hasAppArmor() {
		return fmt.Errorf("process.apparmorProfile: %q cannot be enforced: this host has no AppArmor: %w", profile, errors.ErrUnsupported)
	}
	for name, ids := range map[string][]uint32{"uid": {p.User.UID}, "gid": {p.User.GID}, "additionalGids": p.User.AdditionalGids} {
		if slices.Contains(ids, noID) {
			return fmt.Errorf("process.user.%s: %d is no id: to the kernel it means that the id stays, which is root's", name, noID)
		}
	}
	if c := p.Capabilities; c != nil {
		for _, name := range c.Effective {
			if !slices.ContainsFunc(c.Permitted, func(p string) bool { return strings.EqualFold(p, name) }) {
				return fmt.Errorf("process.capabilities.effective: %s is not in process.capabilities.permitted", name)
			}
		}
	}
	if adj := p.OOMScoreAdj; adj != nil && (*adj < -1000 || *adj > 1000) {
		return fmt.Errorf("process.oomScoreAdj: %d is not from -1000 to 1000", *adj)
	}
	if a := p.ExecCPUAffinity; a != nil {
		for name, list := range map[string]string{"initial": a.Initial, "final": a.Final} {
			if _, err := parseRanges(list); err != nil {
				return fmt.Errorf("process.execCPUAffinity.%s: %w", name, err)
			}
		}
	}
	return refuse([]member{
		{"process.commandLine", p.CommandLine != ""},
		{"process.user.username", p.User.Username != ""},
	})
}

type member struct {
	name string
	used bool
}

func refuse(members []member) error {
	for _, m := range members {
		if m.used {
			return fmt.Errorf("%s is not supported: %w", m.name, errors.ErrUnsupported)
		}
	}
	return nil
}
