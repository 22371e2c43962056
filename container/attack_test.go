package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Each test here is an attack that has worked against a runtime. It is named after what it tries.

// TestAttackOwnBinary (CVE-2019-5736): the command, or its interpreter, is /proc/self/exe. A runtime that executes it in
// its own process hands the container a door to its own program on the host; here it is a file in memory, and sealed.
func TestAttackOwnBinary(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	must(t, os.Symlink("/proc/self/exe", filepath.Join(bundle, "rootfs", "bin", "evil")))
	must(t, os.WriteFile(filepath.Join(bundle, "rootfs", "bin", "script"), []byte("#!/proc/self/exe\n"), 0o755))
	self, err := os.Stat(r.Executable)
	must(t, err)
	for _, name := range []string{"/bin/script", "/bin/evil", "/proc/self/exe"} {
		// Either it is refused, or what runs is our memory file, which ends at once: its list is empty of sense for anyone else.
		_, err := run(t, r, bundle, defaults(name, "--version"))
		t.Logf("%s: %v", name, err)
		now, statErr := os.Stat(r.Executable)
		must(t, statErr)
		if !os.SameFile(self, now) || now.Size() != self.Size() || !now.ModTime().Equal(self.ModTime()) {
			t.Fatal("the runtime's own program was changed")
		}
	}
	// The same through exec, seen from a process that waits in the container for a look at the newcomer's program.
	c := start(t, shell("sleep 1000"))
	root := fmt.Sprintf("/proc/%d/root/bin/script", c.Pid())
	must(t, os.WriteFile(root, []byte("#!/proc/self/exe\n"), 0o755))
	watcher := "n=0; while [ $n -lt 3000 ]; do for p in /proc/[0-9]*; do e=$(readlink $p/exe 2>/dev/null); case $e in *" +
		filepath.Base(r.Executable) + "*) echo caught $e;; esac; done; n=$((n+100)); done"
	done := make(chan result, 1)
	go func() {
		res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", watcher}})
		if err != nil {
			res.out = err.Error()
		}
		done <- res
	}()
	for range 30 {
		if _, err := execIn(t, c, specs.Process{Args: []string{"/bin/script"}}); err == nil {
			t.Log("the script ran") // the sealed file, which then had nothing to do
		}
	}
	if res := <-done; strings.Contains(res.out, "caught") {
		t.Errorf("a process of the container saw the runtime's program: %s", res.out)
	}
}

// TestAttackLeakedDescriptor (CVE-2024-21626): the working directory is a descriptor that the runtime forgot to close.
func TestAttackLeakedDescriptor(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	leak, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY, 0) // without O_CLOEXEC, on purpose
	must(t, err)
	defer unix.Close(leak)
	c := start(t, shell("sleep 1000"))
	for fd := 3; fd < 20; fd++ {
		o := shell("pwd -P; ls -d ../../../../../../../../../etc/hostname")
		o.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
		if res, err := run(t, r, bundle, o); err == nil && (res.exit.Code == 0 || !strings.HasPrefix(res.out, "/")) {
			t.Errorf("run in %s: %s", o.Cwd, res.out)
		}
		if res, err := execIn(t, c, specs.Process{Args: []string{"ls", "../../../../../../etc/hostname"}, Cwd: o.Cwd}); err == nil && res.exit.Code == 0 {
			t.Errorf("exec in %s: %s", o.Cwd, res.out)
		}
	}
	out := output(t, bundle, "for f in /proc/self/fd/*; do echo $f $(readlink $f); done")
	for line := range strings.Lines(out) {
		name, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		if target != "" && filepath.Base(name) > "2" && !strings.HasPrefix(target, "/proc/") {
			t.Errorf("descriptor %s: %s", name, target)
		}
	}
}

// TestAttackMountThroughSymlink (CVE-2021-30465): a mount point is a symlink to the host's files. (The race for it is in
// TestAttackMakeMountPointRace.)
func TestAttackMountThroughSymlink(t *testing.T) {
	host := t.TempDir()
	must(t, os.WriteFile(filepath.Join(host, "secret"), []byte("untouched"), 0o644))
	bundle, r := newBundle(t), newRuntime(t)
	root := filepath.Join(bundle, "rootfs")
	must(t, os.Symlink(host, filepath.Join(root, "link")))
	must(t, os.Symlink("../../../../../../../../../.."+host, filepath.Join(root, "dots")))
	o := shell("ls /link/ /dots/; cat /link/sub/x /dots/sub/x")
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "x"), []byte("bound "), 0o644))
	for _, name := range []string{"/link/sub", "/dots/sub"} {
		o.Mounts = append(o.Mounts, specs.Mount{Destination: name, Type: "bind", Source: source, Options: []string{"rbind"}})
	}
	res, err := run(t, r, bundle, o)
	must(t, err)
	if strings.Count(res.out, "bound") != 2 || strings.Contains(res.out, "secret") {
		t.Errorf("%s", res.out)
	}
	if entries, err := os.ReadDir(host); err != nil || len(entries) != 1 {
		t.Errorf("something was made on the host: %v %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(root, host, "sub")); err != nil {
		t.Errorf("the link was not resolved inside the root: %v", err)
	}
}

// TestAttackProcIsSymlink (CVE-2023-27561, CVE-2019-19921): /proc or /sys of the image is a link, so that what protects the kernel's
// settings would be done to a directory of the image's.
func TestAttackProcIsSymlink(t *testing.T) {
	for _, name := range []string{"proc", "sys"} {
		bundle, r := newBundle(t), newRuntime(t)
		root := filepath.Join(bundle, "rootfs")
		must(t, os.Mkdir(filepath.Join(root, "tmp", "fake"), 0o755))
		must(t, os.Symlink("tmp/fake", filepath.Join(root, name)))
		_, err := run(t, r, bundle, shell("true"))
		if err == nil || !strings.Contains(err.Error(), "symlink") {
			t.Errorf("/%s is a symlink: %v", name, err)
		}
	}
}

// TestAttackDevices (CVE-2025-31133): /dev/null of the image, with which the runtime would mask, is a symlink to a kernel setting, which
// it would hand out writable; /dev/console is one (for a container with a terminal see TestAttackConsole).
func TestAttackDevices(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	dev := filepath.Join(bundle, "rootfs", "dev")
	must(t, os.Mkdir(dev, 0o755))
	for _, name := range []string{"null", "console", "zero", "ptmx", "fd"} {
		must(t, os.Symlink("/proc/sys/kernel/core_pattern", filepath.Join(dev, name)))
	}
	o := shell("ls -l /dev/null /dev/console /dev/zero; echo x > /proc/sys/kernel/core_pattern; cat /proc/keys | wc -c; stat -c %F,%t,%T /dev/null")
	spec, err := NewSpec(o)
	must(t, err)
	// Even without a tmpfs on /dev.
	kept := spec.Mounts[:0]
	for _, m := range spec.Mounts {
		if !strings.HasPrefix(m.Destination, "/dev") {
			kept = append(kept, m)
		}
	}
	spec.Mounts = kept
	before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	res, err := runSpec(t, r, bundle, spec)
	must(t, err)
	after, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	if string(before) != string(after) {
		t.Fatal("the host's core_pattern was written")
	}
	for _, want := range []string{"character special file,1,3", "Read-only file system", "\n0\n"} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in %s", want, res.out)
		}
	}
}

// TestAttackKernelInterfaces (CVE-2022-0492 among them: a release agent of cgroups) tries what would change or tell about the host: all must fail.
func TestAttackKernelInterfaces(t *testing.T) {
	out := output(t, newBundle(t), `
try() { "$@" > /dev/null 2>&1 && echo "worked: $*"; }
try sh -c 'echo x > /proc/sys/kernel/core_pattern'
try sh -c 'echo x > /proc/sys/kernel/hostname'
try sh -c 'echo b > /proc/sysrq-trigger'
try sh -c 'echo 1 > /proc/sys/vm/drop_caches'
try sh -c 'for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do echo x > $f && exit 0; done; exit 1'
try sh -c 'for f in /sys/fs/cgroup/*/cgroup.procs; do echo $$ > $f && exit 0; done; exit 1'
try mount -t tmpfs x /tmp
try mount -o remount,rw /sys
try mount -t proc x /tmp
try umount /proc/sys
try unshare -U true
try unshare -m true
try mknod /dev/mem2 c 1 1 && try head -c 1 /dev/mem2
try sh -c 'test -s /proc/keys'
try sh -c 'test -s /proc/timer_list'
try sh -c 'test -s /proc/kcore'
try ls /proc/1/root/../../../../host
try sh -c 'dmesg'
try hostname evil
true`)
	if strings.Contains(strings.ReplaceAll(out, "worked: mknod /dev/mem2 c 1 1", ""), "worked") {
		t.Error(out)
	}
}

// TestAttackLeftoverPowers (CVE-2022-24769) and groups (CVE-2022-29162): no capability may be inheritable, and no group but
// those of the config may stay.
func TestAttackLeftoverPowers(t *testing.T) {
	must(t, unix.Setgroups([]int{4, 20}))
	defer func() { must(t, unix.Setgroups([]int{0})) }()
	bundle := newBundle(t)
	o := shell("grep -E '^(Groups|CapInh|CapAmb|CapPrm|CapEff)' /proc/self/status")
	o.User = specs.User{UID: 1000, GID: 1000}
	want := "Groups:\t \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"
	res, err := run(t, newRuntime(t), bundle, o)
	must(t, err)
	if res.out != want {
		t.Errorf("run: %q, want %q", res.out, want)
	}
	c := start(t, shell("sleep 1000"))
	res, err = execIn(t, c, specs.Process{Args: []string{"sh", "-c", o.Args[2]}, User: o.User})
	must(t, err)
	if res.out != want {
		t.Errorf("exec: %q, want %q", res.out, want)
	}
}

// TestAttackExecThroughRoot (CVE-2018-15664, CVE-2019-14271): what exec reads in the container is read inside its root, by
// descriptors, and nothing of it is executed by the host.
func TestAttackExecThroughRoot(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	root := fmt.Sprintf("/proc/%d/root", c.Pid())
	must(t, os.Remove(filepath.Join(root, "etc", "passwd")))
	must(t, os.Symlink("/../../../../../../../../etc/passwd", filepath.Join(root, "etc", "passwd")))
	must(t, os.Symlink("/proc/1/root/../../../../../../../bin/busybox", filepath.Join(root, "bin", "hostfile")))
	res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "echo $HOME"}})
	must(t, err)
	if res.out != "/root\n" {
		t.Errorf("%q", res.out)
	}
	// A fifo as /etc/passwd, or as the command, must not hold us up.
	must(t, os.Remove(filepath.Join(root, "etc", "passwd")))
	must(t, unix.Mkfifo(filepath.Join(root, "etc", "passwd"), 0o666))
	must(t, unix.Mkfifo(filepath.Join(root, "bin", "fifo"), 0o777))
	_, err = execIn(t, c, specs.Process{Args: []string{"fifo"}})
	var command *CommandError
	if !errors.As(err, &command) || command.Code != 126 {
		t.Errorf("a fifo as the command: %v", err)
	}
}

// TestUserNamespace: root of the container is nobody outside, in the first process and in exec.
func TestUserNamespace(t *testing.T) {
	o := shell("sleep 1000")
	o.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	o.GIDMappings = o.UIDMappings
	bundle, r := newBundle(t), newRuntime(t)
	// The bundle must be reachable for a user who owns nothing.
	for dir := bundle; dir != "/tmp"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	hostOutput(t, "chown", "-hR", "100000:100000", filepath.Join(bundle, "rootfs")) // the engine's work: its root owns its root
	spec, err := NewSpec(o)
	must(t, err)
	c, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("test-%d-userns", os.Getpid()), Bundle: bundle, Spec: spec})
	must(t, err)
	defer func() {
		c.Kill(unix.SIGKILL)
		c.Wait()
		must(t, c.Release())
	}()
	must(t, c.Start())
	var st unix.Stat_t
	must(t, unix.Stat(fmt.Sprintf("/proc/%d", c.Pid()), &st))
	if st.Uid != 100000 {
		t.Errorf("outside it is user %d", st.Uid)
	}
	res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status; hostname other && hostname"}})
	must(t, err)
	for _, want := range []string{"0\n", "100000", "CapEff:\t00000000a80425fb"} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in %s", want, res.out)
		}
	}
}

// TestAttackSysctl: a setting of the host's behind a name that begins like one of the container's. The value is the
// present one, in case it is written.
func TestAttackSysctl(t *testing.T) {
	now, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	for _, name := range []string{
		"kernel.core_pattern", "net/../kernel/core_pattern", "net/./../kernel/core_pattern", "net/ipv4/../../kernel/core_pattern",
		"/kernel/core_pattern", "net//../kernel/core_pattern", "kernel/msg/../core_pattern", "../sys/kernel/core_pattern", "fs.mqueue./../../../kernel/core_pattern",
	} {
		o := shell("true")
		o.Sysctls = map[string]string{name: strings.TrimSpace(string(now))}
		if _, err := NewSpec(o); err == nil || !strings.Contains(err.Error(), "sysctl") {
			t.Errorf("run --sysctl %s: %v", name, err)
		}
		spec, err := NewSpec(shell("true"))
		must(t, err)
		spec.Linux.Sysctl = o.Sysctls
		if _, err := runSpec(t, newRuntime(t), newBundle(t), spec); err == nil || !strings.Contains(err.Error(), "linux.sysctl") {
			t.Errorf("linux.sysctl %s: %v", name, err)
		}
	}
}

// TestAttackProcWrites (CVE-2025-52881, CVE-2019-16884): something of the image's lies over the files through which the
// runtime sets the kernel. It writes through a proc file system of its own, so that the made-up file stays as it was.
func TestAttackProcWrites(t *testing.T) {
	fake := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(fake, "ipv4"), 0o755))
	must(t, os.WriteFile(filepath.Join(fake, "ipv4", "ip_default_ttl"), []byte("untouched"), 0o644))
	o := shell("cat /proc/sys/net/ipv4/ip_default_ttl")
	o.Sysctls = map[string]string{"net.ipv4.ip_default_ttl": "42"}
	for _, target := range []string{"/proc/sys/net", "/proc/sys/net/ipv4/ip_default_ttl"} {
		source := fake
		if strings.HasSuffix(target, "ttl") {
			source = filepath.Join(fake, "ipv4", "ip_default_ttl")
		}
		o.Mounts = []specs.Mount{{Destination: target, Type: "bind", Source: source, Options: []string{"rbind"}}}
		_, err := run(t, newRuntime(t), newBundle(t), o)
		text, readErr := os.ReadFile(filepath.Join(fake, "ipv4", "ip_default_ttl"))
		must(t, readErr)
		if string(text) != "untouched" {
			t.Errorf("%s: the made-up file was written: %s (%v)", target, text, err)
		}
	}
}

// TestAttackKeyring: a key of the caller's session is not the container's: even one whose number it knows cannot be read,
// and the list of keys is masked.
func TestAttackKeyring(t *testing.T) {
	if number := os.Getenv("READ_KEY"); number != "" { // in the container
		key, err := strconv.Atoi(number)
		must(t, err)
		buf := make([]byte, 100)
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, key, buf, 0)
		fmt.Printf("read %q: %v\n", buf[:max(n, 0)], err)
		return
	}
	// A session of this thread's own, so that the key dies with it.
	runtime.LockOSThread()
	if _, err := unix.KeyctlJoinSessionKeyring(""); err == unix.ENOSYS {
		t.Log("a kernel without keyrings has no key to give away")
		return
	}
	key, err := unix.AddKey("user", "mydocker-test-secret", []byte("the content"), unix.KEY_SPEC_SESSION_KEYRING)
	must(t, err)
	defer unix.KeyctlInt(unix.KEYCTL_REVOKE, key, 0, 0, 0)
	r := newRuntime(t)
	o := shell("cat /proc/keys; exec /self -test.run TestAttackKeyring")
	o.Env = append(o.Env, fmt.Sprintf("READ_KEY=%d", key))
	o.Mounts = []specs.Mount{{Destination: "/self", Type: "bind", Source: r.Executable, Options: []string{"bind", "ro"}}}
	o.Seccomp = Unconfined() // the filter alone would forbid it
	res, err := run(t, r, newBundle(t), o)
	must(t, err)
	if strings.Contains(res.out, "content") || strings.Contains(res.out, "mydocker-test-secret") || !strings.Contains(res.out, "read \"\": ") {
		t.Errorf("the caller's key is in the container: %s", res.out)
	}
}

// TestAttackPtrace: root of the container looks at everybody who comes in by exec for a door to the host: descriptors,
// roots and working directories outside its own. A newcomer has more capabilities than it, and is not dumpable. (Whoever
// grants CAP_SYS_PTRACE without a user namespace opens this door, under runc as well.)
func TestAttackPtrace(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	looks := "100"
	if os.Getenv("MYDOCKER_TEST_SLOW") != "" {
		looks = "5" // in a virtual machine each of its processes takes 20 ms to start
	}
	watcher := `n=0; while [ $n -lt ` + looks + ` ]; do for p in /proc/[0-9]*; do
ls -l $p/fd $p/cwd $p/root 2>/dev/null | grep -E -- '-> (/sys/fs/cgroup|/work|/var|/run|/proc/[0-9]|.*containers)' && echo caught
ls $p/root/work $p/cwd/../../../../work 2>/dev/null && echo caught
done; n=$((n+1)); done; true`
	done := make(chan result, 1)
	go func() {
		res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", watcher}})
		if err != nil {
			res.out = "caught: " + err.Error()
		}
		done <- res
	}()
	for {
		select {
		case res := <-done:
			if strings.Contains(res.out, "caught") {
				t.Error(res.out)
			}
			return
		default:
			if _, err := execIn(t, c, specs.Process{Args: []string{"true"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
