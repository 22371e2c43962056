package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAttackSubpathRace: a container with a volume makes a directory in it a symbolic link to the host's files, and back, while
// another container is started with that path of the volume, or files are copied by way of it. What is mounted is what was looked
// up, as the first container sees it: its own files, or nothing.
func TestAttackSubpathRace(t *testing.T) {
	cleanHost(t)
	t.Cleanup(func() { my(t, "volume", "rm", "swapped") })
	dir := t.TempDir() // the same name is a directory in the volume
	sh(t, "mkdir "+dir+"/outside && echo host > "+dir+"/outside/file")
	start(t, "swapper", "-v", "swapped:/v", "busybox", "sh", "-c", fmt.Sprintf(`cd /v; mkdir -p .%[1]s/outside d; echo linked > .%[1]s/outside/file; echo direct > d/file
ln -s %[1]s/outside l
while :; do mv d r; mv l d; mv d l; mv r d; done`, dir))
	mount := "type=volume,src=swapped,dst=/s,volume-subpath=d"
	must(t, "create", "--name", "copied", "--mount", mount, "busybox", "true")
	t.Cleanup(func() { my(t, "rm", "copied") })
	seen, runs := map[string]int{}, 0
	for end := time.Now().Add(patience(2 * time.Minute)); time.Now().Before(end) && (runs < 8 || seen["direct\n"] == 0 || seen["direct\n"] == 3*runs); runs++ {
		seen[my(t, "run", "--rm", "--net", "none", "--mount", mount, "busybox", "cat", "/s/file").out]++
		seen[my(t, "run", "--rm", "--net", "none", "--init", "--mount", mount+",readonly", "busybox", "cat", "/s/file").out]++
		my(t, "cp", "copied:/s/file", dir+"/copy")
		seen[sh(t, "cat "+dir+"/copy 2>/dev/null || :; rm -f "+dir+"/copy")+"\n"]++
	}
	if seen["host\n"] != 0 || seen["direct\n"] == 0 || seen["direct\n"] == 3*runs { // neither, and there was no race
		t.Errorf("in %d runs: %v", runs, seen)
	}
}

// TestAttackAccounts: the image's /etc/passwd says ids that to the kernel, or when they are cut to 32 bits, are root's; it is no file but a
// pipe that nobody writes to, or a link to the host's. Who asked for another user than root is never root, and nothing waits.
func TestAttackAccounts(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	made := func(name, script string) string {
		t.Helper()
		sh(t, fmt.Sprintf(`cd %s && rm -rf root && mkdir -p root/bin root/etc && cp /bin/busybox root/bin && ln -s busybox root/bin/id && %s && tar -C root -cf %s.tar .`, dir, script, name))
		must(t, "import", filepath.Join(dir, name+".tar"), "accounts:"+name)
		t.Cleanup(func() { my(t, "image", "rm", "accounts:"+name) })
		return "accounts:" + name
	}
	numbers := made("numbers", `printf 'minus:x:-1:0::/:\nmax:x:4294967295:0::/:\nwrapped:x:4294967296:0::/:\nhuge:x:99999999999999:0::/:\ngid:x:5:-1::/:\ngood:x:5:5::/:\n' > root/etc/passwd && echo 'odd:x:4294967296:' > root/etc/group`)
	for _, name := range []string{"minus", "max", "wrapped", "huge", "gid"} {
		refused(t, 125, []string{`user "` + name + `"`, "must be in range 0-2147483647"}, "run", "--rm", "-u", name, numbers, "id")
	}
	refused(t, 125, []string{"must be in range"}, "run", "--rm", "-u", "good", "--group-add", "odd", numbers, "id")
	match(t, "a good one", see(t, "-u", "good", numbers, "id", "-u"), "^5$")
	c := start(t, "accounts", numbers, "busybox", "sleep", "1000")
	if r := my(t, "exec", "-u", "wrapped", c.name, "id"); r.code == 0 || !strings.Contains(r.err, "must be in range") {
		t.Errorf("exec: %+v", r)
	}
	pipe := made("pipe", "mkfifo root/etc/passwd root/etc/group")
	linked := made("linked", "ln -s /proc/self/root/../../../etc/passwd root/etc/passwd && ln -s ../../../../../etc/group root/etc/group")
	for _, image := range []string{pipe, linked} {
		refused(t, 125, []string{`unable to find user daemon`}, "run", "--rm", "-u", "daemon", image, "id") // the host has one
		match(t, "by number", see(t, "-u", "7", image, "busybox", "grep", "Uid", "/proc/self/status"), `^Uid:\s+7\s`)
	}
	// What an error repeats of somebody else's words gives the terminal no orders.
	r := my(t, "run", "--rm", "-u", "\x1b[31mred\r\u009b", numbers, "id")
	if strings.ContainsAny(r.err, "\x1b\r\u009b") || !strings.Contains(r.err, `unable to find user \x1b[31mred\x0d\x9b`) {
		t.Errorf("%q", r.err)
	}
}
