package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// `volume create --opt`: what the volume is made of is mounted with the first container that has it and goes with the last, is
// the same for all of them, and never lost with the volume.
func TestVolumeOptions(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	sh(t, "mkdir "+dir+"/site; echo mine >"+dir+"/site/page")
	const data = "/var/lib/mydocker/volumes/"
	mounted := func(name string) string { return sh(t, "grep -c ' "+data+name+"/_data ' /proc/self/mounts || :") }
	opts := func(kind, device, words string) []string {
		return []string{"--opt", "type=" + kind, "--opt", "device=" + device, "-o", "o=" + words}
	}
	create := func(name string, options []string) {
		must(t, append(append([]string{"volume", "create"}, options...), name)...)
	}
	t.Cleanup(func() { my(t, "volume", "rm", "-f", "opt-fast", "opt-site", "opt-none", "opt-kind", "opt-run") })

	create("opt-fast", opts("tmpfs", "tmpfs", "size=1m,uid=7,mode=0750"))
	equal(t, "inspect", must(t, "volume", "inspect", "-f", "{{json .Options}}", "opt-fast"), `{"device":"tmpfs","o":"size=1m,uid=7,mode=0750","type":"tmpfs"}`)
	equal(t, "mounts without a container", mounted("opt-fast"), "0")
	one := sleeper(t, "opt-one", "-v", "opt-fast:/etc/x")
	equal(t, "what it is", one.sh("stat -c '%u %a' /etc/x; df -k /etc/x | awk 'END { print $2 }'"), "7 750\n1024")
	one.sh("echo hello >/etc/x/f")
	two := sleeper(t, "opt-two", "-v", "opt-fast:/y:ro")
	equal(t, "what the second sees", two.sh("cat /y/f; touch /y/g 2>/dev/null || echo ro"), "hello\nro")
	equal(t, "what the host sees", sh(t, "cat "+data+"opt-fast/_data/f"), "hello")
	must(t, "rm", "-f", one.name)
	equal(t, "mounts with one container left", mounted("opt-fast"), "1")
	must(t, "stop", "-t", "0", two.name)
	equal(t, "mounts after the last has stopped", mounted("opt-fast"), "0")
	must(t, "start", two.name)
	equal(t, "a new tmpfs", two.sh("ls /y"), "")

	// Killed with everything of ours: gc finds the mount. So does it when the running tree is lost.
	for _, lost := range []string{":", "rm -rf /run/mydocker/volumes"} {
		must(t, "start", two.name)
		killAll(t)
		sh(t, lost)
		equal(t, "mounts after a crash", mounted("opt-fast"), "1")
		becomes(t, "mounts after gc", "^0$", func() string { must(t, "gc"); return mounted("opt-fast") }) // once the killed are dead
	}
	must(t, "rm", "-f", two.name)

	// A directory of the host: nothing of it is the volume's to remove, not even after a crash.
	create("opt-site", opts("none", dir+"/site", "bind,ro"))
	equal(t, "a bind", see(t, "-v", "opt-site:/s", "busybox", "sh", "-c", "cat /s/page; touch /s/new 2>/dev/null || echo ro"), "mine\nro")
	must(t, "create", "--name", "opt-cp", "-v", "opt-site:/s", "busybox", "true")
	equal(t, "cp of a stopped container", sh(t, binary+" cp opt-cp:/s/page - | tar t"), "page")
	equal(t, "mounts after cp", mounted("opt-site"), "0")
	must(t, "start", "opt-cp")
	must(t, "wait", "opt-cp")
	must(t, "rm", "opt-cp")
	must(t, "volume", "prune", "-af")
	equal(t, "prune leaves those with options", must(t, "volume", "ls", "-q"), "opt-fast\nopt-site")
	sleeper(t, "opt-dies", "-v", "opt-site:/s")
	killAll(t)
	must(t, "rm", "-f", "opt-dies")
	sh(t, "mount --bind "+dir+"/site "+data+"opt-site/_data") // as if rm, too, had been killed
	must(t, "volume", "rm", "opt-site")
	equal(t, "the host's own files", sh(t, "cat "+dir+"/site/page"), "mine")

	// --mount makes the volume; a second run finds it as it is to be.
	for range 2 {
		equal(t, "--mount volume-opt", see(t, "--mount", `type=volume,src=opt-run,dst=/m,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=64k,mode=0700"`,
			"busybox", "stat", "-c", "%a", "/m"), "700")
	}
	volumeOptionsRefused(t, dir)
}

func volumeOptionsRefused(t *testing.T, dir string) {
	for words, args := range map[string][]string{
		`missing required option: "device"`:  {"--opt", "type=tmpfs", "x1"},
		`missing required option: "type"`:    {"--opt", "device=/x", "x1"},
		`invalid option "colour"`:            {"--opt", "colour=red", "x1"},
		"quota":                              {"--opt", "size=1g", "x1"},
		"key=value":                          {"--opt", "type", "x1"},
		"exists already, with other options": {"--opt", "type=tmpfs", "--opt", "device=tmpfs", "opt-fast"},
	} {
		refused(t, 1, []string{words}, append([]string{"volume", "create"}, args...)...)
	}
	must(t, "volume", "create", "opt-fast") // no options ask for nothing
	must(t, "volume", "create", "--opt", "type=none", "--opt", "device="+dir+"/nowhere", "--opt", "o=bind", "opt-none")
	must(t, "volume", "create", "--opt", "type=newfs", "--opt", "device=/dev/null", "opt-kind")
	for name, words := range map[string][]string{
		"opt-none": {"mount volume opt-none", dir + "/nowhere", "no such file", "volume inspect"},
		"opt-kind": {`no file system "newfs"`, "/proc/filesystems"},
	} {
		my(t, "run", "--rm", "-v", name+":/x", "busybox", "true") // the lock that its first use leaves
		refused(t, 125, words, "run", "--rm", "-v", name+":/x", "busybox", "true")
	}
	// What the administrator has mounted on a plain volume is nobody's to remove.
	must(t, "volume", "create", "opt-plain")
	sh(t, "mkdir "+dir+"/disk; touch "+dir+"/disk/f; mount --bind "+dir+"/disk /var/lib/mydocker/volumes/opt-plain/_data")
	refused(t, 1, []string{"something is mounted on volume opt-plain", "umount"}, "volume", "rm", "opt-plain")
	if err := syscall.Unmount("/var/lib/mydocker/volumes/opt-plain/_data", 0); err != nil {
		t.Fatal(err)
	}
	must(t, "volume", "rm", "opt-plain")
	if _, err := os.Stat(dir + "/disk/f"); err != nil {
		t.Error(err)
	}
}

// An anonymous volume that another container has by --volumes-from goes with the last that has it.
func TestAnonymousVolumeOfTwo(t *testing.T) {
	cleanHost(t)
	must(t, "create", "--name", "anon-first", "-v", "/data", "busybox", "true")
	second := sleeper(t, "anon-second", "--volumes-from", "anon-first")
	see(t, "--volumes-from", "anon-second", "busybox", "touch", "/data/kept")
	must(t, "rm", "-v", "anon-first")
	equal(t, "what the second has", second.sh("ls /data"), "kept")
	equal(t, "volumes", len(strings.Fields(must(t, "volume", "ls", "-q"))), 1)
	must(t, "rm", "-f", "-v", second.name)
	equal(t, "volumes at the end", must(t, "volume", "ls", "-q"), "")
}

// A volume is removed at the moment when a container begins with it: whoever comes first, what the volume is made of stays whole.
func TestVolumeRemovedBesideStart(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	sh(t, "mkdir "+dir+"/deep; echo mine >"+dir+"/deep/page")
	t.Cleanup(func() { my(t, "volume", "rm", "-f", "racing") })
	for range 12 {
		must(t, "volume", "create", "-o", "type=none", "-o", "device="+dir, "-o", "o=bind", "racing")
		removed := make(chan result)
		go func() { removed <- my(t, "volume", "rm", "racing") }()
		ran := my(t, "run", "--rm", "-v", "racing:/r", "busybox", "true")
		gone := <-removed
		if ran.code != 0 && ran.code != 125 || gone.code > 1 {
			t.Errorf("run ended with %d: %s\nrm with %d: %s", ran.code, ran.err, gone.code, gone.err)
		}
		equal(t, "the host's own file", sh(t, "cat "+dir+"/deep/page"), "mine")
		my(t, "volume", "rm", "-f", "racing")
	}
}
