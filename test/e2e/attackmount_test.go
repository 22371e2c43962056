package e2e

import (
	"fmt"
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
