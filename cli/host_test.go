package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/sandbox"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/test/host"
)

// TestMain lets the test program be what mydocker's main is, and runs the tests on a host made of namespaces: containers and
// networks are real, and the real host is not touched.
func TestMain(m *testing.M) {
	if container.Main(os.Args) {
		return
	}
	if code, mine := engine.Main(os.Args, Watcher); mine {
		os.Exit(code)
	}
	if len(os.Args) > 2 && os.Args[1] == "sandbox" {
		if code, mine := sandbox.Main(os.Args[2:]); mine {
			os.Exit(code)
		}
	}
	os.Exit(host.Run(m))
}

// my runs a command line on the fake host, which has to succeed, and gives what it printed.
func my(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := onHost(t, args...)
	if code != 0 {
		t.Fatalf("mydocker %q: status %d\n%s%s", args, code, out, errs)
	}
	return out
}

func onHost(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	dir := t.TempDir()
	streams := make([]*os.File, 2)
	for i, name := range []string{"out", "err"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		streams[i] = f
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s := &session{lookup: noEnvironment, version: "1.2.3", root: state.DefaultRoot(), streams: engine.Streams{In: in, Out: streams[0], Err: streams[1]}}
	code = s.report(s.dispatch(args))
	read := func(f *os.File) string {
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	return read(streams[0]), read(streams[1]), code
}

// refused runs a command line that has to fail with a status and a sentence.
func refused(t *testing.T, status int, want string, args ...string) {
	t.Helper()
	out, errs, code := onHost(t, args...)
	if code != status || !strings.Contains(errs, want) {
		t.Errorf("mydocker %q: status %d, want %d with %q\n%s%s", args, code, status, want, out, errs)
	}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func match(t *testing.T, what, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("%s: %q does not match %s", what, got, pattern)
	}
}

// busyboxImage makes the image once.
func busyboxImage(t *testing.T) {
	t.Helper()
	if my(t, "images", "-q", "busybox") == "" {
		equal(t, "bootstrap", my(t, "image", "bootstrap"), "Loaded image: busybox:latest\n")
	}
	t.Cleanup(func() {
		if ids := strings.Fields(my(t, "ps", "-aq")); len(ids) > 0 {
			my(t, append([]string{"rm", "-f", "-v"}, ids...)...)
		}
		my(t, "network", "prune", "-f")
		my(t, "volume", "prune", "-af")
	})
}

func TestVolumeCommands(t *testing.T) {
	busyboxImage(t)
	equal(t, "create", my(t, "volume", "create", "--label", "a=b", "data"), "data\n")
	match(t, "an anonymous volume", my(t, "volume", "create"), "^[0-9a-f]{64}\n$")
	my(t, "create", "--name", "user", "-v", "data:/data", "busybox")
	equal(t, "ls", my(t, "volume", "ls", "--filter", "name=data"), "DRIVER    VOLUME NAME\nlocal     data\n")
	equal(t, "ls by label", my(t, "volume", "ls", "-q", "--filter", "label=a=b"), "data\n")
	equal(t, "ls by label", my(t, "volume", "ls", "-q", "--filter", "label=a=c"), "")
	match(t, "dangling", my(t, "volume", "ls", "-q", "--filter", "dangling=true"), "^[0-9a-f]{64}\n$")
	equal(t, "format", my(t, "volume", "ls", "--filter", "dangling=0", "--format", `{{.Name}} {{.Label "a"}} {{.Mountpoint}}`),
		"data b /var/lib/mydocker/volumes/data/_data\n")
	equal(t, "inspect", my(t, "volume", "inspect", "-f", "{{.Mountpoint}}", "data"), "/var/lib/mydocker/volumes/data/_data\n")
	equal(t, "inspect without a type", my(t, "inspect", "-f", "{{.Driver}}", "data"), "local\n")
	equal(t, "ps by volume", my(t, "ps", "-a", "--filter", "volume=data", "--format", "{{.Names}}"), "user\n")
	equal(t, "ps by mount point", my(t, "ps", "-a", "--filter", "volume=/data", "--format", "{{.Names}} {{.LocalVolumes}}"), "user 1\n")
	equal(t, "ps by another volume", my(t, "ps", "-a", "--filter", "volume=other", "-q"), "")
	refused(t, 1, "in use by container user", "volume", "rm", "data")
	refused(t, 1, "no such volume: other", "volume", "rm", "other")
	equal(t, "rm -f", my(t, "volume", "rm", "-f", "other"), "other\n")
	match(t, "prune", my(t, "volume", "prune", "-f"), "^Deleted Volumes:\n[0-9a-f]{64}\n\nTotal reclaimed space: 0B\n$")
	my(t, "rm", "user")
	equal(t, "prune of named ones", my(t, "volume", "prune", "-f"), "Total reclaimed space: 0B\n")
	equal(t, "prune without an answer", my(t, "volume", "prune", "-a"), "")
	equal(t, "prune -a", my(t, "volume", "prune", "-a", "-f"), "Deleted Volumes:\ndata\n\nTotal reclaimed space: 0B\n")
}

func TestEventCommands(t *testing.T) {
	busyboxImage(t)
	since := time.Now().Format(time.RFC3339Nano)
	id := strings.TrimSpace(my(t, "run", "-d", "--name", "ev", "-l", "tier=web", "busybox", "sleep", "100"))
	my(t, "kill", "ev")
	my(t, "wait", "ev")
	my(t, "rm", "ev")
	all := my(t, "events", "--since", since, "--until", "0s", "--filter", "container=ev", "--format", "{{.Action}}")
	for _, action := range []string{"create", "start", "kill", "die", "destroy"} {
		if !slices.Contains(strings.Fields(all), action) {
			t.Errorf("no %s among the events\n%s", action, all)
		}
	}
	match(t, "a line", my(t, "events", "--since", since, "--until", "0s", "--filter", "event=start"),
		`^\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d) container start `+id+` \(image=busybox, name=ev, tier=web\)\n$`)
	var ev struct {
		Type, Action string
		Actor        struct{ Attributes map[string]string }
	}
	line := my(t, "events", "--since", since, "--until", "0s", "--filter", "event=die", "--filter", "label=tier=web", "--format", "json")
	if err := json.Unmarshal([]byte(line), &ev); err != nil || ev.Type != "container" || ev.Actor.Attributes["exitCode"] != "137" {
		t.Errorf("die: %v %s", err, line)
	}
	equal(t, "another type", my(t, "events", "--since", since, "--until", "0s", "--filter", "type=volume"), "")
	equal(t, "before it began", my(t, "events", "--since", "2020-01-01", "--until", "2020-01-02"), "")
}

func TestPruneCommands(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "used")
	my(t, "network", "create", "--label", "k", "unused")
	my(t, "run", "-d", "--name", "up", "-net", "used", "busybox", "sleep", "100")
	stopped := strings.TrimSpace(my(t, "create", "--name", "down", "-net", "used", "busybox"))
	equal(t, "not old enough", my(t, "container", "prune", "-f", "--filter", "until=1h"), "Total reclaimed space: 0B\n")
	equal(t, "no such label", my(t, "container", "prune", "-f", "--filter", "label=x"), "Total reclaimed space: 0B\n")
	equal(t, "containers", my(t, "container", "prune", "-f"), "Deleted Containers:\n"+stopped+"\n\nTotal reclaimed space: 0B\n")
	my(t, "kill", "up")
	my(t, "wait", "up")
	equal(t, "networks: one that a stopped container needs stays", my(t, "network", "prune", "-f"), "Deleted Networks:\nunused\n\n")
	my(t, "tag", "busybox", "other:1")
	match(t, "images: one in use stays", my(t, "image", "prune", "-a", "-f"), `^(Deleted Images:\nuntagged: other:1\n\n)?Total reclaimed space: 0B\n$`)
	out := my(t, "system", "prune", "-f")
	match(t, "system", out, `(?s)^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\nused\n\nTotal reclaimed space: `)
	equal(t, "the image is still there", strings.Fields(my(t, "images", "--format", "{{.Repository}}", "busybox"))[0], "busybox")
	my(t, "rmi", "other:1")
	refused(t, 1, "invalid filter 'until'", "system", "prune", "-f", "--filter", "until=x")
}

func TestStatsCommand(t *testing.T) {
	busyboxImage(t)
	id := strings.TrimSpace(my(t, "run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done"))
	my(t, "create", "--name", "idle", "busybox")
	match(t, "table", my(t, "stats", "--no-stream", "busy"),
		`^CONTAINER ID +NAME +CPU % +MEM USAGE / LIMIT +MEM % +NET I/O +BLOCK I/O +PIDS\n`+id[:12]+` +busy +\d+\.\d\d% +[0-9.]+[KM]iB / 64MiB +\d+\.\d\d% +\S+ / \S+ +\S+ / \S+ +1\n$`)
	var row statsRow
	if err := json.Unmarshal([]byte(my(t, "stats", "--no-stream", "--no-trunc", "--format", "json")), &row); err != nil || row.ID != id || row.CPUPerc == "0.00%" {
		t.Errorf("json: %v %+v", err, row)
	}
	match(t, "all", my(t, "stats", "--no-stream", "-a", "--format", "{{.Name}} {{.PIDs}}"), `(?m)^idle 0$`)
	refused(t, 1, "no such container: nobody", "stats", "--no-stream", "nobody")
}

func TestParseNetDev(t *testing.T) {
	rx, tx := parseNetDev(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    7000      10    0    0    0     0          0         0      800       9    0    0    0     0       0          0
  eth1:       5       1    0    0    0     0          0         0        6       1    0    0    0     0       0          0
`)
	if rx != 7005 || tx != 806 {
		t.Errorf("received %d, sent %d", rx, tx)
	}
}

func TestInfoAndDiskUsage(t *testing.T) {
	busyboxImage(t)
	my(t, "run", "-d", "--name", "up", "-v", "data:/data", "busybox", "sh", "-c", "dd if=/dev/zero of=/data/x bs=1000 count=5; dd if=/dev/zero of=/y bs=1000 count=7; sleep 3600")
	my(t, "create", "--name", "down", "busybox")
	equal(t, "info -f", my(t, "info", "-f", "{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}} {{.ServerVersion}}"), "2 1 1 1 1.2.3\n")
	match(t, "info", my(t, "system", "info"), `^Client: mydocker\n Version:    1.2.3\n Context:    default\n Debug Mode: false\n\nServer:\n Containers: 2\n  Running: 1\n`+
		`  Paused: 0\n  Stopped: 1\n Images: 1\n Server Version: 1.2.3\n Storage Driver: overlay2\n [\s\S]*\n Plugins:\n  Volume: local\n  Network: bridge [\s\S]*\n Security Options:\n[\s\S]*`+
		`  seccomp\n   Profile: builtin\n[\s\S]*\n Docker Root Dir: /var/lib/mydocker\n[\s\S]*\n Insecure Registries:\n  ::1/128\n  127.0.0.0/8\n`)
	for try := 0; my(t, "exec", "up", "sh", "-c", "wc -c < /y || echo 0") != "7000\n"; try++ {
		if try > 3000 {
			t.Fatal("the container has not written its files")
		}
		time.Sleep(20 * time.Millisecond)
	}
	table := my(t, "system", "df")
	for _, pattern := range []string{`(?m)^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE$`, `(?m)^Images +1 +1 +\d\S*MB +0B \(0%\)$`, `(?m)^Containers +2 +1 +7kB +0B \(0%\)$`, `(?m)^Local Volumes +1 +1 +5kB +0B \(0%\)$`} {
		match(t, "df", table, pattern)
	}
	match(t, "the build cache", table, `(?m)^Build Cache +0 +0 +0B +0B$`)
	detail := my(t, "system", "df", "-v")
	for _, pattern := range []string{`^Images space usage:\n\nREPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS\nbusybox +latest +[0-9a-f]{12} .+ago +\S+MB +0B +\S+MB +2\n\n`,
		`\nContainers space usage:\n\nCONTAINER ID +IMAGE +COMMAND +LOCAL VOLUMES +SIZE +CREATED +STATUS +NAMES\n[0-9a-f]{12} +busybox +"sh" +0 +0B .+ago +Created +down\n[0-9a-f]{12} +busybox +"sh -c.*…" +1 +7kB .+ago +Up .+ up\n\n`,
		`\nLocal Volumes space usage:\n\nVOLUME NAME +LINKS +SIZE\ndata +1 +5kB\n\nBuild cache usage: 0B\n\nCACHE ID +CACHE TYPE +SIZE +CREATED +LAST USED +USAGE +SHARED\n$`} {
		match(t, "df -v", detail, pattern)
	}
	var lists map[string][]map[string]any
	if err := json.Unmarshal([]byte(my(t, "system", "df", "-v", "--format", "json")), &lists); err != nil || len(lists) != 4 {
		t.Fatalf("df -v --format json: %v, %v", lists, err)
	}
	equal(t, "df -v --format json", fmt.Sprint([]any{lists["Images"][0]["Containers"], lists["Containers"][1]["Size"], lists["Volumes"][0]["Links"], len(lists["BuildCache"])}), "[2 7kB 1 0]")
	equal(t, "df -v --format", my(t, "system", "df", "-v", "--format", `{{range .Volumes}}{{.Name}}={{.Size}}{{end}}`), "data=5kB\n")
	match(t, "ps --size", my(t, "ps", "-s", "--filter", "name=up", "--format", "{{.Size}}"), `^7kB \(virtual \d\S*MB\)\n$`)
}

func TestInspectKinds(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "same")
	my(t, "create", "--name", "same", "busybox")
	equal(t, "a container comes first", my(t, "inspect", "-f", "{{.State.Status}}", "same"), "created\n")
	equal(t, "--type", my(t, "inspect", "--type", "network", "-f", "{{.Driver}}", "same"), "bridge\n")
	equal(t, "an image", my(t, "inspect", "-f", "{{index .RepoTags 0}}", "busybox"), "busybox:latest\n")
	var list []map[string]any
	if err := json.Unmarshal([]byte(my(t, "inspect", "same", "busybox", "bridge")), &list); err != nil || len(list) != 3 {
		t.Errorf("three objects: %v, %d", err, len(list))
	}
	out, errs, code := onHost(t, "inspect", "nobody", "same")
	if code != 1 || !strings.Contains(errs, "no such object: nobody") || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 {
		t.Errorf("one that is there and one that is not: status %d, %s, %d objects", code, errs, len(list))
	}
	out, _, code = onHost(t, "inspect", "nobody")
	if code != 1 || out != "[]\n" {
		t.Errorf("nothing to show: status %d, %q", code, out)
	}
	equal(t, "ps by network id", my(t, "ps", "-aq", "--filter", "network="+my(t, "network", "ls", "-q", "--filter", "name=same")), "")
	my(t, "create", "--name", "member", "-net", "same", "busybox")
	netID := strings.TrimSpace(my(t, "network", "inspect", "-f", "{{.Id}}", "same"))
	equal(t, "ps by network id", my(t, "ps", "-a", "--filter", "network="+netID, "--format", "{{.Names}}"), "member\n")
}

func TestUpdate(t *testing.T) {
	busyboxImage(t)
	my(t, "run", "-d", "--name", "up", "-m", "64m", "busybox", "sleep", "1000")
	equal(t, "update", my(t, "update", "-m", "32m", "--memory-swap", "64m", "--pids-limit", "20", "--restart", "on-failure:2", "up"), "up\n")
	equal(t, "inspect", my(t, "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}", "up"), "33554432 20 on-failure\n")
	match(t, "stats", my(t, "stats", "--no-stream", "--format", "{{.MemUsage}}", "up"), ` / 32MiB\n$`)
	refused(t, 1, "--memory-swap should be larger", "update", "-m", "128m", "up")
	equal(t, "a refused update changes nothing", my(t, "inspect", "-f", "{{.HostConfig.Memory}}", "up"), "33554432\n")
	refused(t, 1, "no such container: nobody", "update", "-m", "32m", "nobody")
}

func TestBootAndUnit(t *testing.T) {
	busyboxImage(t)
	my(t, "create", "--name", "back", "--restart", "always", "busybox", "sleep", "1000")
	my(t, "create", "--name", "not", "busybox", "sleep", "1000")
	my(t, "start", "back")
	equal(t, "boot of a world in which all runs", my(t, "system", "boot"), "")
	text := my(t, "--root", "/a b", "--run-root", "/r", "system", "install-unit", "-o", "-")
	match(t, "unit", text, `(?m)^ExecStart=/\S+ --root "/a b" --run-root /r system boot$`)
	match(t, "unit", text, `(?m)^Type=oneshot$`)
	file := filepath.Join(t.TempDir(), "mydocker.service")
	match(t, "install-unit", my(t, "system", "install-unit", "-o", file), `^`+file+`\nSwitch it on: systemctl`)
	data, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(data), "[Unit]\n") {
		t.Errorf("%v %q", err, data)
	}
	for word, want := range map[string]string{"a": "a", "a b": `"a b"`, "100%": "100%%", `a"$b`: `"a\"$$b"`} {
		equal(t, word, unitWord(word), want)
	}
}

func TestRestartSignal(t *testing.T) {
	busyboxImage(t)
	my(t, "run", "-d", "--name", "re", "busybox", "sh", "-c", "trap 'echo usr1; exit' USR1; echo up; while :; do sleep 0.05; done")
	for try := 0; my(t, "logs", "re") != "up\n"; try++ {
		if try > 3000 {
			t.Fatal("the container says nothing")
		}
		time.Sleep(20 * time.Millisecond)
	}
	equal(t, "restart", my(t, "restart", "-t", "5", "-s", "USR1", "re"), "re\n")
	match(t, "logs", my(t, "logs", "re"), `^up\nusr1\n`)
	equal(t, "it runs", my(t, "inspect", "-f", "{{.State.Status}}", "re"), "running\n")
}

func TestImageCommands(t *testing.T) {
	busyboxImage(t)
	id := strings.TrimSpace(my(t, "images", "-q", "--no-trunc", "busybox"))
	my(t, "tag", "busybox", "localhost:5000/team/tool:1")
	match(t, "images", my(t, "images"), `(?m)^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\n(.*\n)*localhost:5000/team/tool +1 +`+id[7:19]+` .*MB$`)
	equal(t, "by name", my(t, "images", "--format", "{{.Repository}}:{{.Tag}}", "localhost:5000/team/tool"), "localhost:5000/team/tool:1\n")
	equal(t, "by reference", my(t, "images", "--format", "{{.Tag}}", "--filter", "reference=busy*"), "latest\n")
	equal(t, "-q, a line for each name as Docker has it", my(t, "images", "-q"), strings.Repeat(id[7:19]+"\n", 2))
	equal(t, "rmi of a name", my(t, "rmi", "localhost:5000/team/tool:1"), "Untagged: localhost:5000/team/tool:1\n")
	refused(t, 1, "nothing:here", "rmi", "nothing:here")
	refused(t, 1, "nothing:here", "tag", "nothing:here", "x")
}

func TestCompletionOfNames(t *testing.T) {
	busyboxImage(t)
	my(t, "create", "--name", "one", "busybox")
	my(t, "create", "--name", "two", "busybox")
	my(t, "network", "create", "lab")
	for line, want := range map[string]string{
		"rm ":              "two one",
		"logs t":           "two",
		"run busy":         "busybox:latest",
		"run -net l":       "lab",
		"network rm l":     "lab",
		"run --pid contai": "container:two container:one",
	} {
		var got []string
		for l := range strings.Lines(my(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)) {
			word, _, _ := strings.Cut(l, "\t")
			got = append(got, word)
		}
		equal(t, line, strings.Join(got, " "), want)
	}
}
