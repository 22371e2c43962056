package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// setSysctl writes a file under /proc/sys, which shows the settings of the writer's own network namespace. Writing a value
// that is there already is success.
type setSysctl struct {
	Key, Value, Reason string
	Optional           bool // absent is success: a kernel without IPv6
}

func (o setSysctl) Command() string { return sysctlCommand(o.Key, o.Value) }
func (o setSysctl) Why() string     { return o.Reason }

func (o setSysctl) apply(context.Context, *kernel) error {
	err := writeSysctl(o.Key, o.Value)
	if o.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sandboxSysctl is setSysctl inside a sandbox.
type sandboxSysctl struct {
	Sandbox            *Sandbox
	Key, Value, Reason string
}

func (o sandboxSysctl) Command() string {
	return "ip netns exec " + o.Sandbox.Name + " " + sysctlCommand(o.Key, o.Value)
}
func (o sandboxSysctl) Why() string { return o.Reason }

func (o sandboxSysctl) apply(context.Context, *kernel) error {
	return o.Sandbox.Do(func() error { return writeSysctl(o.Key, o.Value) })
}

// forwarding lets the host pass packets on from one link to another. What was there before is remembered, and put back
// when the last network goes.
type forwarding struct{ Key string }

func (o forwarding) Command() string {
	if !strings.HasPrefix(o.Key, "net/ipv6/") {
		return sysctlCommand(o.Key, "1")
	}
	return "for link in /proc/sys/net/ipv6/conf/*; do case $link in */all | */default | */lo) ;; *) if grep -qx 1 $link/accept_ra; then echo 2 >$link/accept_ra; fi ;; esac; done\n" + sysctlCommand(o.Key, "1")
}
func (o forwarding) Why() string {
	return "the host becomes a router: packets may pass from one link to another"
}

func (o forwarding) apply(_ context.Context, k *kernel) error {
	old, err := readSysctl(o.Key)
	if err != nil || old == "1" {
		return err
	}
	note := forwardingNote(k.root, o.Key)
	if _, err := os.Stat(note); errors.Is(err, fs.ErrNotExist) {
		if err := state.Replace(note, []byte(old), state.Volatile); err != nil {
			return err
		}
	}
	if strings.HasPrefix(o.Key, "net/ipv6/") {
		if err := keepRouterAdvertisements(); err != nil {
			return err
		}
	}
	return writeSysctl(o.Key, "1")
}

// keepRouterAdvertisements: a host that forwards IPv6 no longer listens to routers, and would lose its own way out, unless
// accept_ra is 2 (Documentation/networking/ip-sysctl.rst). It stays 2 afterwards, which is the same as 1 then.
func keepRouterAdvertisements() error {
	links, err := readDirNames("/proc/sys/net/ipv6/conf")
	errs := []error{err}
	for _, l := range links {
		key := "net/ipv6/conf/" + l + "/accept_ra"
		if v, err := readSysctl(key); err == nil && v == "1" && l != "lo" && l != "all" && l != "default" {
			errs = append(errs, ignoreAbsent(writeSysctl(key, "2")))
		}
	}
	return errors.Join(errs...)
}

// restoreForwarding puts back what forwarding changed.
type restoreForwarding struct{ Key, Value string }

// forwardingUndo is nothing where forwarding has changed nothing: then nothing is shown, either.
func forwardingUndo(root state.Root, key string) ([]operation, error) {
	old, err := state.ReadFile(forwardingNote(root, key))
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	return []operation{restoreForwarding{key, string(old)}}, nil
}

func (o restoreForwarding) Command() string { return sysctlCommand(o.Key, o.Value) }
func (o restoreForwarding) Why() string     { return "no network is left: put back what was there before" }

func (o restoreForwarding) apply(_ context.Context, k *kernel) error {
	if err := writeSysctl(o.Key, o.Value); err != nil {
		return err
	}
	return ignoreAbsent(os.Remove(forwardingNote(k.root, o.Key)))
}

func forwardingNote(root state.Root, key string) string {
	return filepath.Join(root.Run, "sysctl", strings.ReplaceAll(key, "/", "."))
}

func sysctlCommand(key, value string) string {
	return fmt.Sprintf("sysctl -w %s=%s", key, value)
}

func readSysctl(key string) (string, error) {
	data, err := state.ReadFile("/proc/sys/" + key)
	return strings.TrimSpace(string(data)), err
}

func writeSysctl(key, value string) error {
	f, err := os.OpenFile("/proc/sys/"+key, os.O_WRONLY, 0)
	if err != nil {
		return wrap(err, "set %s to %s", key, value)
	}
	_, err = f.WriteString(value)
	if e := f.Close(); err == nil {
		err = e
	}
	return wrap(err, "set %s to %s", key, value)
}
