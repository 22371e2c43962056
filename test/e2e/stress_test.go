package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// stressCommands are what users may do at the same time to ten containers on two networks. Each may come too early or too late:
// what it may say then is in stressErrors.
func stressCommands(random *rand.Rand) []string {
	box, other := fmt.Sprintf("box-%d", random.IntN(10)), fmt.Sprintf("box-%d", random.IntN(10))
	all := [][]string{
		{"run", "-d", "--name", box, "-net", "stress1", "busybox", "sh", "-c", "trap 'exit 0' TERM; echo up; sleep 3600 & wait"},
		{"run", "-d", "--name", box, "-net", "stress1", "--restart", "always", "-v", "stress:/data", "busybox", "sh", "-c", "sleep 0.2; echo again"},
		{"run", "--rm", "-net", "stress2", "busybox", "true"},
		{"create", "--name", box, "-net", "stress2", "busybox", "sleep", "3600"},
		{"exec", box, "true"},
		{"exec", "-d", box, "sleep", "1"},
		{"start", box},
		{"stop", "-t", "0", box},
		{"restart", "-t", "0", box},
		{"kill", box},
		{"rm", "-f", box},
		{"rm", box},
		{"rename", box, other},
		{"pause", box},
		{"unpause", box},
		{"network", "connect", "stress2", box},
		{"network", "disconnect", "stress2", box},
		{"update", "--pids-limit", "100", box},
		{"logs", box},
		{"ps", "-a"},
		{"ps", "-q"},
		{"inspect", box},
		{"top", box},
		{"port", box},
		{"network", "inspect", "stress1"},
		{"events", "--since", "1s", "--until", "0s"},
		{"gc"},
	}
	return all[random.IntN(len(all))]
}

// stressErrors are the sentences that say that somebody else was quicker.
func stressErrors() *regexp.Regexp {
	return regexp.MustCompile(`(?i)no such (container|object)|(is|container) not running|already in use|is (running|restarting)|is (already |not )?paused|` +
		`already (paused|connected)|not connected|new name is the old one|was started meanwhile|was removed|no process|unpause it first|` +
		`is being removed|ended before|has ended|meanwhile|volume .* in use`)
}

// Two hundred commands at once leave a consistent world: whatever is still there works, and when it has been removed nothing
// is left, not even for gc.
func TestStress(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "stress1", "--subnet", "10.87.1.0/24")
	makeNetwork(t, "stress2", "--subnet", "10.87.2.0/24")
	must(t, "volume", "create", "stress")
	t.Cleanup(func() { my(t, "volume", "rm", "stress") })
	t.Cleanup(func() {
		if ids := my(t, "ps", "-aq").out; ids != "" {
			my(t, append([]string{"rm", "-f", "-v"}, strings.Fields(ids)...)...)
		}
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	allowed := stressErrors()
	var all sync.WaitGroup
	for range 200 {
		args := stressCommands(random)
		all.Go(func() {
			r := quietly(t, args...)
			// What runs in a container that somebody else kills is killed with it.
			killed := (args[0] == "exec" || args[0] == "run") && r.code == 137 && r.err == ""
			if r.code != 0 && !killed && !allowed.MatchString(r.err) {
				t.Errorf("mydocker %s: exit status %d\n%s", strings.Join(args, " "), r.code, r.err)
			}
			if strings.Contains(r.err, "DATA RACE") || strings.Contains(r.err, "goroutine ") {
				t.Errorf("mydocker %s:\n%s", strings.Join(args, " "), r.err)
			}
		})
	}
	all.Wait()
	consistent(t)
	if ids := must(t, "ps", "-aq"); ids != "" {
		must(t, append([]string{"rm", "-f", "-v"}, strings.Fields(ids)...)...)
	}
	settle(t)
	equal(t, "what gc still finds", must(t, "gc"), "")
	noRaces(t)
}

// quietly is my that needs no attention while the command runs: its output goes to files.
func quietly(t testing.TB, args ...string) result {
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Error(err)
		return result{}
	}
	defer out.Close()
	stderr, err := os.Create(filepath.Join(dir, "err"))
	if err != nil {
		t.Error(err)
		return result{}
	}
	defer stderr.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = out, stderr
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	err = cmd.Run()
	if !timer.Stop() {
		t.Errorf("mydocker %q hangs", args)
	}
	if err != nil && cmd.ProcessState == nil {
		t.Error(err)
		return result{}
	}
	return result{read(t, out.Name()), read(t, stderr.Name()), cmd.ProcessState.ExitCode()}
}

// consistent checks that each container is what it is said to be, and that no two have the same address.
func consistent(t testing.TB) {
	t.Helper()
	addresses := map[string]string{}
	for id := range strings.FieldsSeq(must(t, "ps", "-aq", "--no-trunc")) {
		r := my(t, "inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.Pid}} {{.HostConfig.RestartPolicy.Name}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}", id)
		if r.code != 0 {
			t.Errorf("inspect %s: %s", id, r.err)
			continue
		}
		f := strings.Fields(r.out)
		name, status, policy := strings.TrimPrefix(f[0], "/"), f[1], f[3]
		if status == "paused" {
			must(t, "unpause", id)
		}
		if status != "running" && status != "paused" || policy != "no" {
			continue // one that comes and goes is asked nothing
		}
		equal(t, "exec in "+name, my(t, "exec", id, "echo", "alive").out, "alive\n")
		for _, a := range f[4:] {
			if a != "" && addresses[a] != "" {
				t.Errorf("%s and %s both have the address %s", addresses[a], name, a)
			}
			addresses[a] = name
			if !strings.Contains(sh(t, "ip -n "+name+" -4 -o addr"), a+"/") {
				t.Errorf("%s is said to have the address %s, and has not", name, a)
			}
		}
	}
}

// noRaces looks at what a mydocker that was built with the race detector has written (`make race`).
func noRaces(t testing.TB) {
	t.Helper()
	for option := range strings.FieldsSeq(os.Getenv("GORACE")) {
		path, ok := strings.CutPrefix(option, "log_path=")
		if !ok {
			continue
		}
		reports, err := filepath.Glob(path + ".*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range reports {
			t.Errorf("data race: %s", read(t, file))
		}
	}
}
