package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// newerFlags are those that runc has got since the version that Debian 12 has: runc 1.2 to 1.4.
var newerFlags = map[string][]string{
	"create": {"pidfd-socket"}, "run": {"pidfd-socket"}, "exec": {"pidfd-socket"}, "update": {"cpu-burst", "cpu-idle"},
}

// Every command and flag of runc is there, or is refused by a sentence that names it.
func TestOCIFlagsOfRunc(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	names := func(o *oci, section string, args ...string) (list []string) {
		_, text, _ := strings.Cut(o.must(args...), section)
		for _, m := range regexp.MustCompile(`(?m)^ {3}(?:--)?([a-z][a-z0-9-]+)`).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	lacks := func(what string, have, want []string) {
		for _, name := range want {
			if !slices.Contains(have, name) {
				t.Errorf("%s: %s of runc is not there", what, name)
			}
		}
	}
	refused := []string{"checkpoint", "restore", "init"} // init is runc's way to call itself
	commands := names(runc, "COMMANDS:", "--help")
	commands = slices.DeleteFunc(commands[:slices.Index(commands, "debug")], func(c string) bool { return slices.Contains(refused, c) })
	if len(commands) < 16 {
		t.Fatalf("runc has the commands %q only", commands)
	}
	lacks("mydocker-runtime", names(ours, "COMMANDS:", "--help"), commands)
	lacks("mydocker-runtime", append(names(ours, "GLOBAL OPTIONS:", "--help"), "criu"), names(runc, "GLOBAL OPTIONS:", "--help"))
	ours.must("--criu", "/usr/sbin/criu", "--rootless", "false", "list")
	for _, command := range commands {
		if command != "help" {
			lacks(command, names(ours, "OPTIONS:", command, "--help"), append(names(runc, "OPTIONS:", command, "--help"), newerFlags[command]...))
		}
	}
	ours.must("run", "-d", "flags")
	for _, wrong := range []struct {
		args []string
		says string
	}{
		{[]string{"checkpoint", "--help"}, "checkpoint: the state of processes"}, {[]string{"restore", "--image-path", "x", "flags"}, "restore: the state of processes"},
		{[]string{"update", "--l3-cache-schema", "L3:0=f", "flags"}, "--l3-cache-schema: linux.intelRdt"}, {[]string{"update", "--mem-bw-schema", "MB:0=7", "flags"}, "--mem-bw-schema: linux.intelRdt"},
		{[]string{"update", "--cpu-idle", "2", "flags"}, "--cpu-idle: it is 0 or 1"}, {[]string{"update", "--cpu-period", "-1", "flags"}, `invalid value "-1" for --cpu-period`},
		{[]string{"update", "--memory", "much", "flags"}, `invalid value "much" for --memory`}, {[]string{"update", "--blkio-weight", "5", "flags"}, "--blkio-weight: it is between"},
		{[]string{"--rootless", "perhaps", "list"}, "--rootless perhaps"},
	} {
		if r := ours.run(wrong.args...); r.code == 0 || !strings.Contains(r.err, wrong.says) {
			t.Errorf("%q: exit status %d, %q", wrong.args, r.code, r.err)
		}
	}
	if r := ours.run("update", "--kernel-memory", "5m", "flags"); r.code != 0 || !strings.Contains(r.err, "--kernel-memory means nothing") {
		t.Errorf("%+v", r)
	}
}

// The flags of update reach the group, each by itself and as under runc.
func TestOCIUpdateFlags(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	said := map[*oci]string{}
	for _, o := range []*oci{ours, runc} {
		o.must("run", "-d", "limited")
		for _, flags := range []string{
			"--cpu-period 50000 --cpu-quota 20000", "--cpu-quota 30000", "--cpu-share 512", "--cpu-rt-period 900000", "--cpu-rt-runtime 0",
			"--memory 64m --memory-swap 96m", "--memory-swap 128m", "--memory-reservation 32m", "--memory -1", "--pids-limit 33", "--pids-limit -1", "--cpuset-cpus 0 --cpuset-mems 0",
		} {
			o.must(append(append([]string{"update"}, strings.Fields(flags)...), "limited")...)
			said[o] += flags + ": " + sh(t, fmt.Sprintf(`cd /sys/fs/cgroup; for c in cpu:cpu.cfs_quota_us cpu:cpu.cfs_period_us cpu:cpu.shares cpu:cpu.rt_period_us memory:memory.limit_in_bytes \
				memory:memory.memsw.limit_in_bytes memory:memory.soft_limit_in_bytes pids:pids.max cpuset:cpuset.cpus; do cat ${c%%:*}%s/${c#*:}; done | xargs`, o.groupOf("limited", "memory"))) + "\n"
		}
	}
	if said[ours] != said[runc] || !strings.Contains(said[ours], "30000 50000 512 900000 67108864") {
		t.Errorf("ours\n%srunc\n%s", said[ours], said[runc])
	}
	for _, c := range [][2]string{{"--cpu-idle 1", "1 0"}, {"--cpu-idle 0 --cpu-burst 4000", "0 4000"}} { // in this order
		flags, want := c[0], c[1]
		ours.must(append(append([]string{"update"}, strings.Fields(flags)...), "limited")...)
		if got := sh(t, fmt.Sprintf("cd /sys/fs/cgroup/cpu%s && cat cpu.idle cpu.cfs_burst_us | xargs", ours.groupOf("limited", "cpu"))); strings.TrimSpace(got) != want {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
}

// --pidfd-socket sends a descriptor of the very process, and says of which kind it is, as runc does from 1.2 on.
func TestOCIPidfdSocket(t *testing.T) {
	cleanHost(t)
	ours, _ := runtimes(t)
	path := filepath.Join(ours.bundle, "pidfd")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, one := range []struct {
		message string
		args    []string
	}{{"standard", []string{"create", "--pidfd-socket", path, "--pid-file", "pid", "made"}}, {"standard", []string{"run", "-d", "--pidfd-socket", path, "--pid-file", "pid", "held"}},
		{"setns", []string{"exec", "-d", "--pidfd-socket", path, "--pid-file", "pid", "held", "sleep", "1000"}}} {
		ours.must(one.args...)
		conn, err := listener.AcceptUnix() // what was sent waits for whoever accepts
		if err != nil {
			t.Fatal(err)
		}
		message, rights := make([]byte, 100), make([]byte, 100)
		n, r, _, _, err := conn.ReadMsgUnix(message, rights)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := unix.ParseSocketControlMessage(rights[:r])
		if err != nil || len(parsed) != 1 {
			t.Fatalf("%v %v", parsed, err)
		}
		fds, err := unix.ParseUnixRights(&parsed[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("%v %v", fds, err)
		}
		info := read(t, fmt.Sprintf("/proc/self/fdinfo/%d", fds[0]))
		if want := "\nPid:\t" + strings.TrimSpace(read(t, filepath.Join(ours.bundle, "pid"))) + "\n"; !strings.Contains(info, want) || string(message[:n]) != one.message {
			t.Errorf("%q: %q %s", one.args, message[:n], info)
		}
		if err := unix.PidfdSendSignal(fds[0], unix.SIGKILL, nil, 0); err != nil {
			t.Error(err)
		}
		unix.Close(fds[0])
		conn.Close()
		if one.args[0] == "run" {
			ours.must("delete", "--force", "held")
			ours.must("run", "-d", "held")
		}
	}
	if r := ours.run("run", "--pidfd-socket", path+"x", "none"); r.code == 0 || !strings.Contains(r.err, "pidfd socket:") || ours.run("state", "none").code == 0 {
		t.Errorf("nobody listens: %+v", r)
	}
}

// spec --rootless says of namespaces, ids and limits what runc's does, and of mounts that none needs root of the host.
func TestOCISpecRootless(t *testing.T) {
	ours, runc := runtimes(t)
	var said [2]string
	for i, o := range []*oci{ours, runc} {
		dir := t.TempDir()
		o.must("spec", "--rootless", "--bundle", dir)
		var s specs.Spec
		if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "config.json"))), &s); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, n := range s.Linux.Namespaces {
			if n.Type != specs.CgroupNamespace { // runc's only where the host has version 2
				kinds = append(kinds, string(n.Type))
			}
		}
		slices.Sort(kinds)
		said[i] = fmt.Sprintln(kinds, s.Linux.UIDMappings, s.Linux.GIDMappings, s.Linux.Resources)
		for _, m := range s.Mounts {
			if m.Type == "sysfs" || slices.ContainsFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "gid=") }) {
				t.Errorf("%s: %+v", o.program, m)
			}
		}
		if r := o.run("spec", "--rootless", "--bundle", dir); r.code == 0 {
			t.Errorf("%s overwrites config.json", o.program)
		}
	}
	if said[0] != said[1] {
		t.Errorf("ours %srunc %s", said[0], said[1])
	}
}
