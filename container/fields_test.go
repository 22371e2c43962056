package container

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// fieldsShown says for every member of a config, or for all below it, which test shows its effect; "refused" is an error
// that names it (TestRefusedByName). The longest name counts.
var fieldsShown = map[string]string{
	"ociVersion": "TestRefused", "annotations": "TestAnnotations", "hostname": "TestSameUnderRunc", "domainname": "TestNames",
	"process.terminal": "TestTerminal", "process.consoleSize": "TestTerminal", "process.user": "TestSameUnderRunc", "process.user.umask": "TestNames",
	"process.args": "TestExitCodes", "process.env": "TestSameUnderRunc", "process.cwd": "TestAttackLeakedDescriptor",
	"process.capabilities": "TestSameUnderRunc", "process.capabilities.inheritable": "TestNames", "process.capabilities.ambient": "TestNames",
	"process.rlimits": "TestSameUnderRunc", "process.noNewPrivileges": "TestSeccomp", "process.apparmorProfile": "TestAppArmor",
	"process.oomScoreAdj": "TestNames", "process.scheduler": "TestSchedulerAndIOPriority", "process.ioPriority": "TestSchedulerAndIOPriority",
	"process.execCPUAffinity": "TestExecCPUAffinity", "process.selinuxLabel": "TestSELinux", "process.commandLine": "refused", "process.user.username": "refused",
	"root.path": "TestRefused", "root.readonly": "TestNames",
	"mounts": "TestSameUnderRunc", "mounts.uidMappings": "TestIDMappedMounts", "mounts.gidMappings": "TestIDMappedMounts",
	"hooks":             "TestHooks",
	"linux.uidMappings": "TestUserNamespace", "linux.gidMappings": "TestUserNamespace", "linux.sysctl": "TestNames",
	"linux.resources.devices": "TestDevices", "linux.resources.memory": "TestMemoryLimit", "linux.resources.cpu": "TestCPULimit", "linux.resources.pids": "TestPidsLimit",
	"linux.resources.memory.reservation": "TestValues", "linux.resources.memory.kernel": "TestNothingIsIgnored", "linux.resources.memory.kernelTCP": "TestNothingIsIgnored",
	"linux.resources.memory.swappiness": "TestNothingIsIgnored", "linux.resources.memory.disableOOMKiller": "TestValues", "linux.resources.memory.useHierarchy": "TestNothingIsIgnored",
	"linux.resources.memory.checkBeforeUpdate": "TestCheckBeforeUpdate", "linux.resources.cpu.realtimeRuntime": "TestNothingIsIgnored", "linux.resources.cpu.realtimePeriod": "TestNothingIsIgnored",
	"linux.resources.blockIO": "TestValues", "linux.resources.blockIO.leafWeight": "TestNothingIsIgnored", "linux.resources.blockIO.weightDevice": "TestNothingIsIgnored",
	"linux.resources.hugepageLimits": "TestHugePages", "linux.resources.network": "TestNothingIsIgnored", "linux.resources.rdma": "TestRDMA", "linux.resources.unified": "TestNothingIsIgnored",
	"linux.cgroupsPath": "TestNames", "linux.namespaces": "TestExecIsInside", "linux.namespaces.path": "TestJoinUserNamespace", "linux.devices": "TestNames",
	"linux.netDevices": "TestNetDevices", "linux.seccomp": "TestRandomProfiles", "linux.seccomp.listenerPath": "TestSeccompListener", "linux.seccomp.listenerMetadata": "TestSeccompListener",
	"linux.rootfsPropagation": "TestNames", "linux.maskedPaths": "TestSameUnderRunc", "linux.readonlyPaths": "TestSameUnderRunc", "linux.mountLabel": "TestSELinux",
	"linux.intelRdt": "refused", "linux.memoryPolicy": "TestMemoryPolicy", "linux.personality": "TestPersonality", "linux.timeOffsets": "TestTimeNamespace",
	"windows": "refused", "solaris": "refused", "vm": "refused", "zos": "refused", "freebsd": "refused",
}

// TestEveryField compares that table with the types of the runtime spec: a member that a new version brings fails here until
// somebody has decided about it. And the tests that it names must exist.
func TestEveryField(t *testing.T) {
	var leaves []string
	var walk func(path string, kind reflect.Type)
	walk = func(path string, kind reflect.Type) {
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice || kind.Kind() == reflect.Map {
			kind = kind.Elem()
		}
		if kind.Kind() != reflect.Struct {
			leaves = append(leaves, path)
			return
		}
		for i := range kind.NumField() {
			f := kind.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if platform := f.Tag.Get("platform"); platform != "" && !strings.Contains(platform, "linux") {
				leaves = append(leaves, strings.TrimPrefix(path+"."+name, ".")) // another system's: as a whole
			} else if f.Anonymous {
				walk(path, f.Type)
			} else if f.IsExported() {
				walk(strings.TrimPrefix(path+"."+name, "."), f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[specs.Spec]())
	used := map[string]bool{}
	for _, leaf := range leaves {
		entry := leaf
		for entry != "" && fieldsShown[entry] == "" {
			entry = entry[:max(strings.LastIndexByte(entry, '.'), 0)]
		}
		if entry == "" {
			t.Errorf("%s: neither implemented nor refused", leaf)
		}
		used[entry] = true
	}
	var tests []string
	for _, pattern := range []string{"*_test.go", "seccomp/*_test.go", "../cgroups/*_test.go"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(string(text), -1) {
				tests = append(tests, m[1])
			}
		}
	}
	if len(tests) == 0 {
		t.Skip("the sources are not here: a test binary that was carried elsewhere")
	}
	for field, test := range fieldsShown {
		if !used[field] {
			t.Errorf("%s is in the table and not in the spec", field)
		}
		if test != "refused" && !slices.Contains(tests, test) {
			t.Errorf("%s: there is no %s", field, test)
		}
	}
}

// TestRefusedByName: every member that the table calls refused is an error that names it.
func TestRefusedByName(t *testing.T) {
	set := map[string]func(*specs.Spec){
		"process.commandLine":   func(s *specs.Spec) { s.Process.CommandLine = "x" },
		"process.user.username": func(s *specs.Spec) { s.Process.User.Username = "x" },
		"linux.intelRdt":        func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
		"windows":               func(s *specs.Spec) { s.Windows = &specs.Windows{} },
		"solaris":               func(s *specs.Spec) { s.Solaris = &specs.Solaris{} },
		"vm":                    func(s *specs.Spec) { s.VM = &specs.VM{} },
		"zos":                   func(s *specs.Spec) { s.ZOS = &specs.ZOS{} },
		"freebsd":               func(s *specs.Spec) { s.FreeBSD = &specs.FreeBSD{} },
	}
	for field, how := range fieldsShown {
		if how != "refused" {
			continue
		}
		spec, err := NewSpec(shell("true"))
		must(t, err)
		if set[field] == nil {
			t.Errorf("%s: no value to be refused", field)
			continue
		}
		set[field](spec)
		if err := Validate(spec); err == nil || !strings.HasPrefix(err.Error(), field+" ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestNames is a container with one of everything that the other tests do not look at.
func TestNames(t *testing.T) {
	o := shell(`cat /proc/sys/kernel/domainname; umask; cat /proc/self/oom_score_adj; grep -E '^Cap(Inh|Amb)' /proc/self/status
touch /x; cat /proc/sys/net/ipv4/ip_default_ttl; stat -c '%a %u:%g %t,%T' /dev/own; cat /proc/self/cgroup | grep -c -v ':/$'`)
	o.Domainname, o.ReadonlyRootfs = "example.org", true
	spec, err := NewSpec(o)
	must(t, err)
	umask, adj, mode, id := uint32(0o027), 321, os.FileMode(0o640), uint32(7)
	spec.Process.User.Umask, spec.Process.OOMScoreAdj = &umask, &adj
	spec.Process.Capabilities.Inheritable, spec.Process.Capabilities.Ambient = []string{"CAP_CHOWN"}, []string{"CAP_CHOWN"}
	spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "42"}
	spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/own", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &id, GID: &id}}
	spec.Linux.CgroupsPath = fmt.Sprintf("mydocker-test-%d/nested/deep", os.Getpid()) // relative: below the root all the same
	spec.Linux.RootfsPropagation = "rshared"
	spec.Linux.MountLabel = "" // see below
	res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
	must(t, err)
	want := "example.org\n0027\n321\nCapInh:\t0000000000000001\nCapAmb:\t0000000000000001\ntouch: /x: Read-only file system\n42\n640 7:7 1,3\n0\n"
	if res.out != want {
		t.Errorf("%s\nwant\n%s", res.out, want)
	}
	for _, dir := range []string{"nested", ""} { // the groups above it are nobody's, and empty
		for _, base := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			found, _ := filepath.Glob(filepath.Join(base, fmt.Sprintf("mydocker-test-%d", os.Getpid()), dir))
			for _, group := range found {
				os.Remove(group)
			}
		}
	}
	// Without SELinux a label of the mounts means nothing, and that is said.
	if !HasSELinux() {
		var warned string
		r := newRuntime(t)
		r.Warn = func(err error) { warned += err.Error() }
		spec, err := NewSpec(shell("true"))
		must(t, err)
		spec.Linux.MountLabel = "system_u:object_r:x"
		if _, err := runSpec(t, r, newBundle(t), spec); err != nil || !strings.Contains(warned, "linux.mountLabel") {
			t.Errorf("%v, warned %q", err, warned)
		}
	}
}

// TestTerminal: a first process with a terminal of the size that the config says.
func TestTerminal(t *testing.T) {
	o := shell("tty; stty size; test -c /dev/console && echo console")
	o.TTY, o.Console = true, &specs.Box{Height: 11, Width: 22}
	spec, err := NewSpec(o)
	must(t, err)
	text := consoleOutput(t, newRuntime(t), newBundle(t), spec)
	if want := "/dev/pts/0\r\n11 22\r\nconsole\r\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}
