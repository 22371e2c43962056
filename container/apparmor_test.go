package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestAppArmor: where the host has it, a profile holds for the first process and for exec, with and without
// no_new_privs, and one that is not loaded is an error. Where it has not, a profile is refused by name. The virtual machine
// of continuous integration has it.
func TestAppArmor(t *testing.T) {
	bundle := newBundle(t)
	must(t, os.WriteFile(filepath.Join(bundle, "rootfs", "etc", "secret"), []byte("secret\n"), 0o644))
	o := shell("cat /etc/secret; cat /proc/self/attr/current")
	o.AppArmorProfile = "mydocker-test"
	if !hasAppArmor() {
		if _, err := run(t, newRuntime(t), bundle, o); err == nil || !strings.Contains(err.Error(), "process.apparmorProfile") {
			t.Errorf("without AppArmor: %v", err)
		}
		if os.Getenv("MYDOCKER_TEST_SYSTEMD") != "" {
			t.Error("this host should have AppArmor")
		}
		o.AppArmorProfile = "unconfined"
		if _, err := run(t, newRuntime(t), bundle, o); err != nil {
			t.Errorf("unconfined: %v", err)
		}
		return
	}
	loadProfile(t)
	for _, noNewPrivs := range []bool{false, true} {
		o.NoNewPrivileges = noNewPrivs
		res, err := run(t, newRuntime(t), bundle, o)
		must(t, err)
		if !strings.Contains(res.out, "Permission denied") || !strings.Contains(res.out, "mydocker-test (enforce)") || strings.Contains(res.out, "secret\n") {
			t.Errorf("no_new_privs=%v: %s", noNewPrivs, res.out)
		}
	}
	// The image cannot make up the file through which the profile is written (CVE-2019-16884).
	o.NoNewPrivileges, o.Mounts = false, []specs.Mount{{Destination: "/proc/self/attr", Type: "tmpfs", Source: "tmpfs"}}
	if res, err := run(t, newRuntime(t), bundle, o); err == nil || !strings.Contains(err.Error(), "/proc/self/attr") {
		t.Errorf("a made-up /proc/self/attr: %s %v", res.out, err)
	}
	o.Mounts, o.AppArmorProfile = nil, "not-loaded"
	if _, err := run(t, newRuntime(t), bundle, o); err == nil || !strings.Contains(err.Error(), "AppArmor profile not-loaded") {
		t.Errorf("a profile that is not loaded: %v", err)
	}
	c := start(t, shell("sleep 1000"))
	p := specs.Process{Args: []string{"cat", "/proc/self/attr/current"}, ApparmorProfile: "mydocker-test"}
	if res, err := execIn(t, c, p); err != nil || !strings.Contains(res.out, "mydocker-test (enforce)") {
		t.Errorf("exec: %q %v", res.out, err)
	}
	p.ApparmorProfile = "not-loaded"
	if _, err := execIn(t, c, p); err == nil || !strings.Contains(err.Error(), "AppArmor profile not-loaded") {
		t.Errorf("exec with a profile that is not loaded: %v", err)
	}
}

// loadProfile is `apparmor_parser --replace`, without the parser.
func loadProfile(t *testing.T) {
	t.Helper()
	const security = "/sys/kernel/security"
	if _, err := os.Stat(security + "/apparmor"); err != nil {
		must(t, unix.Mount("securityfs", security, "securityfs", 0, ""))
	}
	data, err := os.ReadFile(os.Getenv("MYDOCKER_TESTDATA") + "testdata/apparmor.bin")
	must(t, err)
	must(t, os.WriteFile(security+"/apparmor/.replace", data, 0))
}
