package e2e

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a container may try while its files are copied or a command is executed in it. The attacks on the runtime alone are in
// container/attack_test.go.

// TestAttackCopyRace (CVE-2018-15664): the container makes a directory a symbolic link to the host's files, and back, as fast as it
// can, while we copy by way of it. Whatever moment is met, it leads to the container's own files, or nowhere.
func TestAttackCopyRace(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir() // the same name is a directory in the container
	sh(t, "cd "+dir+" && mkdir out && mkdir outside && echo host > outside/file && echo new > new && chmod 755 . outside")
	before := sh(t, "ls -lR --time-style=full-iso "+dir+"/outside")
	c := start(t, "racer", "busybox", "sh", "-c", fmt.Sprintf(`mkdir -p %[1]s/outside /swap/d; cd /swap
echo linked > %[1]s/outside/file
while :; do # anew each time: a copy into d at a moment without d makes a file of that name
    rm -rf d l r; mkdir d; echo direct > d/file; ln -s %[1]s/outside l
    for i in 1 2 3 4 5 6 7 8; do mv d r; mv l d; mv d l; mv r d; done
done`, dir))
	seen := map[string]bool{}
	for end := time.Now().Add(patience(2 * time.Minute)); time.Now().Before(end) && !(seen["direct"] && (seen["linked"] || seen["into the link"])); {
		out := filepath.Join(dir, "out", "file")
		if my(t, "cp", c.name+":/swap/d/file", out).code == 0 {
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			seen[strings.TrimSpace(string(text))] = true
		}
		tree := filepath.Join(dir, "out", "tree")
		if my(t, "cp", c.name+":/swap/d/.", tree).code == 0 {
			if info, err := os.Lstat(tree); err == nil && info.Mode()&os.ModeSymlink != 0 {
				os.Remove(tree) // the link itself was copied; it is this test that would go through it to the host's file
			}
			text, _ := os.ReadFile(filepath.Join(tree, "file"))
			if strings.Contains(string(text), "host") {
				t.Fatal("a file of the host's came out of the container")
			}
			seen[strings.TrimSpace(string(text))] = true
		}
		my(t, "cp", dir+"/new", c.name+":/swap/d/new")
		my(t, "cp", dir+"/new", c.name+":/swap/d")
		if _, err := os.Stat(filepath.Join("/proc", c.inspect("{{.State.Pid}}"), "root", dir, "outside", "new")); err == nil {
			seen["into the link"] = true
		}
	}
	if seen["host"] {
		t.Error("a file of the host's came out of the container")
	}
	if after := sh(t, "ls -lR --time-style=full-iso "+dir+"/outside"); after != before {
		t.Errorf("the host's directory was changed:\n%s\nbefore\n%s", after, before)
	}
	if !seen["direct"] || !seen["linked"] && !seen["into the link"] {
		t.Errorf("the race was not run: seen is %v", seen)
	}
}

// TestAttackLibraries (CVE-2019-14271): the container has libraries of its own for looking up names, which a program that works in
// its root would load with the host's powers. Ours looks at none of them: it is one file, and does not go there.
func TestAttackLibraries(t *testing.T) {
	program, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s loads libraries (%v)", binary, p.Type)
		}
	}
	c := start(t, "libraries", "busybox", "sleep", "1000")
	c.sh(`mkdir -p /lib /lib64 /usr/lib && echo x > /file
for f in /etc/nsswitch.conf /etc/ld.so.preload /etc/ld.so.cache /lib/libnss_files.so.2 /lib64/libnss_files.so.2 /usr/lib/libnss_dns.so.2; do echo "passwd: files" > $f; done`)
	root := filepath.Join("/proc", c.inspect("{{.State.Pid}}"), "root")
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, name := range []string{"lib", "lib64", "usr/lib", "etc/nsswitch.conf", "etc/ld.so.preload", "etc/ld.so.cache", "file"} {
		if _, err := unix.InotifyAddWatch(fd, filepath.Join(root, name), unix.IN_OPEN|unix.IN_ACCESS); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	events := func() string {
		buf := make([]byte, 1<<16)
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	dir := t.TempDir()
	sh(t, "echo x > "+dir+"/own; chown 12345:12345 "+dir+"/own")
	must(t, "cp", "-a", c.name+":/etc/hostname", dir)
	must(t, "cp", "-a", dir+"/own", c.name+":/own")
	must(t, "exec", c.name, "true")
	must(t, "exec", "-u", "nobody", c.name, "true")
	must(t, "exec", "-it=false", "-u", "12345:12345", c.name, "true")
	if got := events(); got != "" {
		t.Errorf("the container's libraries were looked at: %q", got)
	}
	must(t, "cp", c.name+":/file", dir)
	if events() == "" {
		t.Error("the watch sees nothing: this test could not fail")
	}
}
