package container

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sysctl writes a kernel setting through the proc file system that we mounted ourselves, not through a name that the
// image could have put something over (CVE-2025-52881).
func (in *initializer) sysctl(s step) error {
	if in.proc < 0 {
		fs, err := newFilesystem("proc", "proc", nil, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return err
		}
		in.proc = fs
	}
	how := unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(in.proc, "sys/"+s.Target, &how)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(s.Source))
	return err
}

func (b *builder) sysctl(name, value string) error {
	kind := sysctlNamespace(name)
	if kind == "" {
		return fmt.Errorf("linux.sysctl: %q is not in a separate kernel namespace: it would change the host", name)
	}
	shares := !slices.ContainsFunc(b.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	if shares {
		return fmt.Errorf("linux.sysctl: %q would change the host, whose %s namespace the container shares", name, kind)
	}
	if name == "kernel.hostname" && b.spec.Hostname != "" || name == "kernel.domainname" && b.spec.Domainname != "" {
		return fmt.Errorf("linux.sysctl: %q: the config gives the name by its member %s already", name, strings.TrimPrefix(name, "kernel."))
	}
	path := strings.ReplaceAll(name, ".", "/")
	if strings.Contains(name, "/") {
		path = name // "net/ipv4/conf/eth0.1/forwarding": slashes, because an interface's name may hold dots
	}
	if !filepath.IsLocal(path) {
		return fmt.Errorf("linux.sysctl: %q is not the name of a setting", name)
	}
	b.add(step{Kind: stepSysctl, Target: path, Source: value, Reason: "a kernel setting of the container's own namespaces"})
	return nil
}
