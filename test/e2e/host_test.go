package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sh runs a shell command on the fake host and returns what it printed; it must succeed.
func sh(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// cleanHost notes what the host is like, and compares at the end of the test. To be called before anything else, so
// that it is the last clean-up to run.
func cleanHost(t testing.TB) {
	t.Helper()
	settle(t)
	before := restingHost(t)
	t.Cleanup(func() {
		settle(t)
		sameHost(t, before)
		if t.Failed() { // do not let the next tests suffer
			sh(t, `M=`+binary+`; c=$($M ps -aq); [ -z "$c" ] || $M rm -f -v $c; $M gc; for n in $($M network ls -q -f type=custom); do $M network rm $n; done; $M volume prune -af; true`)
		}
	})
}

// settle waits until nobody cleans up in the background any more: what foreground runs leave to a process of its own,
// and the host's ends of cables whose containers are gone, which the kernel removes a moment later.
func settle(t testing.TB) {
	t.Helper()
	imagesSettle(t)
	eventually(t, func() string {
		for _, p := range processes(t) {
			if strings.HasPrefix(p.command, "mydocker reap") {
				return "still cleaning up: " + p.command
			}
		}
		return sh(t, "ip -o link show type veth | grep -v '^[0-9]*: eth0' | grep LOWERLAYERDOWN || :")
	})
}

// imagesSettle waits for the processes that write new images to the disk: nobody's fault, however slow the disk is.
func imagesSettle(t testing.TB) {
	t.Helper()
	for _, p := range processes(t) {
		if strings.HasPrefix(p.command, "mydocker") && strings.HasSuffix(p.command, " image settle") {
			ended(t, p)
		}
	}
}

// ended waits for the end of a process that may take as long as the disk does: minutes, on a slow machine.
func ended(t testing.TB, p process) {
	t.Helper()
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(patience(10 * time.Minute))
	for {
		left := time.Until(deadline)
		if left <= 0 {
			t.Fatalf("%q (process %d) does not end", p.command, p.pid)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}

// sameHost fails the test if the host is not what it was. The kernel takes namespaces and their cables down in the
// background, so the comparison has some patience.
func sameHost(t testing.TB, before []string) {
	t.Helper()
	imagesSettle(t)
	deadline := time.Now().Add(patience(time.Minute))
	var difference string
	for {
		difference = diff(before, hostState(t))
		if difference == "" {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("the host is not as it was before (- before, + now):\n%s", difference)
}

// hostState is everything that mydocker could leave behind, a line each, sorted.
func hostState(t testing.TB) []string {
	t.Helper()
	lines := hostStateWithoutRules(t)
	for _, program := range []string{"iptables", "ip6tables"} {
		for line := range strings.Lines(sh(t, program+"-save | "+onlyRules)) {
			lines = append(lines, program+": "+strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// hostStateWithoutRules is for a host that has no iptables.
func hostStateWithoutRules(t testing.TB) []string {
	t.Helper()
	var lines []string
	add := func(kind string, words ...string) { lines = append(lines, kind+": "+strings.Join(words, " ")) }
	each := func(kind, text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				add(kind, line)
			}
		}
	}
	for line := range strings.Lines(sh(t, "ip -o link show")) {
		f := strings.Fields(line)
		add("link", strings.TrimSuffix(f[1], ":"))
	}
	// Addresses that the kernel itself gives (fe80::) come and go with carriers, neighbours with traffic.
	each("address", sh(t, "ip -o addr show | awk '$4 !~ /^fe80/ {print $2, $3, $4}'"))
	each("route", sh(t, "(ip route show; ip -6 route show) | sed 's/ linkdown//' | grep -v -e fe80 -e ff00"))
	each("netns", sh(t, "ls /run/netns"))
	each("nft", sh(t, "nft list tables | grep -vE '^table (ip|ip6) (nat|filter|raw|mangle)$' || :"))
	each("setting", sh(t, "grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/{all,default,lo,eth0}/{forwarding,route_localnet} /proc/sys/net/ipv6/conf/{all,default,eth0}/forwarding"))
	each("mount", sh(t, "cut -d' ' -f2,3 /proc/self/mounts"))
	for _, dir := range tree(t, "/sys/fs/cgroup", true) {
		if strings.Contains(dir, "/mydocker/") {
			add("cgroup", dir)
		}
	}
	// Lock files and bitmaps stay, for the next user; the record of a network is the same each time.
	stays := regexp.MustCompile(`^/run/mydocker/(locks|ipam|networks|released|containers/@seccomp)/|^/run/xtables.lock$`)
	for _, file := range tree(t, "/run", false) {
		if info, err := os.Lstat(file); err == nil && !info.IsDir() && !stays.MatchString(file) {
			add("file", file)
		}
	}
	for _, dir := range []string{"containers", "names", "networks", "networks/names", "volumes", "layers", "images/blobs/sha256"} {
		entries, err := os.ReadDir("/var/lib/mydocker/" + dir)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if dir != "networks" || !e.IsDir() {
				add("record", dir+"/"+e.Name())
			}
		}
	}
	for _, p := range processes(t) {
		if p.ours {
			add("process", fmt.Sprint(p.pid), p.state, p.command)
		}
	}
	slices.Sort(lines)
	return lines
}

// onlyRules keeps rules, chains of somebody's own and policies, without counters and dates, each with its table.
const onlyRules = `sed -E -e '/^(#|COMMIT)/d' -e 's/ ?\[[0-9:]+\]$//' -e '/^:(PREROUTING|INPUT|OUTPUT|FORWARD|POSTROUTING) ACCEPT$/d' | awk '/^\*/ {t = $0; next} {print t, $0}'`

// tree is all paths under a directory.
func tree(t testing.TB, root string, onlyDirs bool) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) { // gone while we looked
				return nil
			}
			return err
		}
		if d.IsDir() || !onlyDirs {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// process is a line of ps.
type process struct {
	pid, parent int
	state       string // "Z" is a zombie
	command     string
	// ours is a mydocker that runs by itself, or something born in a container: neither this test, nor its child, nor the
	// fake host's first process, nor a dead one that the latter has yet to bury.
	ours bool
}

// processes is all processes of the fake host.
func processes(t testing.TB) []process {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []process
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // ended while we looked
		}
		// pid (comm) state ppid ...; comm may hold anything, even parentheses
		p := process{}
		if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &p.state, &p.parent); err != nil {
			t.Fatal(err)
		}
		if p.pid, err = strconv.Atoi(filepath.Base(dir)); err != nil {
			t.Fatal(err)
		}
		cmdline, _ := os.ReadFile(dir + "/cmdline") // empty when it has just ended
		p.command = strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
		if strings.HasPrefix(p.command, "mydocker monitor") {
			p.command = "mydocker monitor" // one second after the start it replaces itself, and then tells its container
		}
		p.ours = p.pid != 1 && p.pid != os.Getpid() && p.parent != os.Getpid() && (p.state != "Z" || p.parent != 1)
		found = append(found, p)
	}
	return found
}

// restingHost is the host's state once what earlier containers have left to the kernel is gone: it lets a veth pair die
// after the command has returned.
func restingHost(t testing.TB) []string {
	t.Helper()
	imagesSettle(t)
	state := hostState(t)
	for deadline := time.Now().Add(patience(time.Minute)); ; {
		time.Sleep(100 * time.Millisecond)
		now := hostState(t)
		if diff(state, now) == "" {
			return now
		}
		if time.Now().After(deadline) {
			t.Fatalf("the host does not come to rest:\n%s", diff(state, now))
		}
		state = now
	}
}

// diff is the lines that are in one sorted list only.
func diff(before, after []string) string {
	var b strings.Builder
	for _, line := range before {
		if _, ok := slices.BinarySearch(after, line); !ok {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range after {
		if _, ok := slices.BinarySearch(before, line); !ok {
			b.WriteString("+ " + line + "\n")
		}
	}
	return b.String()
}

// neighbour runs a command on the LAN neighbour.
func neighbour(t testing.TB, command string) string {
	t.Helper()
	return sh(t, "ip netns exec neighbour "+command)
}

// neighbourServes lets the neighbour answer on a TCP port, each time with what a shell command prints, until the test ends.
func neighbourServes(t testing.TB, port int, command string) {
	t.Helper()
	server := exec.Command("ip", "netns", "exec", "neighbour", "socat", fmt.Sprintf("TCP-LISTEN:%d,reuseaddr,fork", port), "SYSTEM:"+command)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
}

func match(t testing.TB, what, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("%s: %q does not match %q", what, text, pattern)
	}
}

// becomes waits until a text matches.
func becomes(t testing.TB, what, pattern string, get func() string) {
	t.Helper()
	eventually(t, func() string {
		if text := get(); !regexp.MustCompile(pattern).MatchString(text) {
			return fmt.Sprintf("%s: %q does not match %q", what, text, pattern)
		}
		return ""
	})
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
