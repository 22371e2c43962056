package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// needRoom are commands that write something down, and how each is undone where there was room after all.
var needRoom = [][2]string{
	{"run --rm -p 8080:80 busybox true", "gc"},
	{"run -d --name new busybox sleep 100", "rm -f new"},
	{"create --name new busybox true", "rm new"},
	{"network create new", "network rm new"},
	{"volume create new", "volume rm new"},
	{"tag busybox new:1", "rmi new:1"},
	{"import ARCHIVE new:1", "rmi new:1"},
	{"commit victim new:1", "rmi new:1"},
	{"rename victim other", "rename other victim"},
	{"update --restart always victim", "update --restart no victim"},
	{"network connect full2 victim", "network disconnect full2 victim"},
	{"network disconnect full1 victim", "network connect full1 victim"},
	{"cp ARCHIVE victim:/file", "exec victim rm -f /file"},
}

// A disk that is full, or becomes so: said, and everything half-made is gone.
func TestDiskFull(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	sh(t, "mount -t tmpfs -o size=8m tmpfs /var/lib/mydocker")
	must(t, "image", "bootstrap")
	must(t, "run", "--rm", "busybox", "true")
	must(t, "network", "create", "full1")
	must(t, "network", "create", "full2")
	archive := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(archive, userland(t), 0o644); err != nil {
		t.Fatal(err)
	}
	sleeper(t, "victim", "--net", "full1")
	for _, pages := range []int{0, 1, 3} {
		for _, command := range needRoom {
			settle(t)
			before, was := restingHost(t), inspected(t)
			sh(t, fmt.Sprintf("f=$(df --output=avail -B4096 /var/lib/mydocker | tail -1); head -c $(((f - %d) * 4096)) /dev/zero > /var/lib/mydocker/filler", pages))
			r := my(t, strings.Fields(strings.ReplaceAll(command[0], "ARCHIVE", archive))...)
			sh(t, "rm /var/lib/mydocker/filler")
			if r.code == 0 && pages > 0 {
				my(t, strings.Fields(command[1])...)
				continue
			}
			if r.code == 0 || !strings.Contains(r.err, "no space left") || !strings.Contains(r.err, "mydocker system prune") ||
				strings.Contains(r.err, "goroutine") || strings.Contains(r.err, ".tmp-") {
				t.Errorf("mydocker %s, with room for %d pages: %+v", command[0], pages, r)
			}
			sameHost(t, before)
			equal(t, command[0]+" has failed, and the container", inspected(t), was)
		}
	}
	equal(t, "with space again", see(t, "busybox", "echo", "hi"), "hi")
	equal(t, "victim", must(t, "exec", "victim", "echo", "alive"), "alive")
	orderly(t)
}

// inspected is what is known of the container victim.
func inspected(t *testing.T) string {
	t.Helper()
	return must(t, "inspect", "-f", "{{.Name}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}}{{range $n, $_ := .NetworkSettings.Networks}} {{$n}}{{end}}", "victim")
}
