package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/test/host"
)

// TestMain lets the test program be what mydocker's main is, and runs the tests on a host made of namespaces.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "sandbox" {
		if code, mine := Main(os.Args[2:]); mine {
			os.Exit(code)
		}
		os.Exit(client(os.Args[2:]))
	}
	os.Exit(host.Run(m))
}

// client is a command line of its own for tests that need another process or another user: DIR up NAME, DIR exec NAME CMD….
func client(args []string) int {
	s := &Store{args[0]}
	switch args[1] {
	case "up":
		sb, err := s.Up(Options{Name: args[2], Hosts: 1})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		for _, note := range sb.Notes {
			fmt.Println(note)
		}
	case "exec":
		sb, err := s.Find(args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code, err := sb.Exec(Command{Args: args[3:], Env: os.Environ(), Dir: "/", In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	case "down":
		if err := s.Down(args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sh(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// outside is all that a sandbox could change on the host, but for its records and its cgroups.
func outside(t testing.TB) string {
	t.Helper()
	return sh(t, `ip -o addr | grep -v fe80; ip route; ip -6 route | grep -v fe80; ls /run/netns; ip netns list
		iptables-save | grep -v '^#'; ip6tables-save | grep -v '^#'; nft list ruleset
		cut -d' ' -f2- /proc/self/mountinfo | cut -d' ' -f2-; hostname
		find /run /var/lib/mydocker -not -path '/run/worlds*' -not -path '/run/user*' | sort
		grep -rsH '' /proc/sys/net /proc/sys/kernel /proc/sys/vm | grep -vE 'random/|pty/nr|stat|sched|ns_last_pid|/neigh/|dentry|fastopen_key|unsupported|/spl|nr_hugepages|/numa'`)
}

func cgroupsOfSandboxes(t testing.TB) string {
	return sh(t, `find /sys/fs/cgroup -type d -name 'mydocker-sandbox-*'`)
}

// newStore has its records on the fake host's /run. At the end of the test nothing may be left of its sandboxes.
func newStore(t testing.TB) *Store {
	t.Helper()
	s := &Store{"/run/worlds-" + strings.ReplaceAll(t.Name(), "/", "-")}
	before := outside(t)
	t.Cleanup(func() {
		all, err := s.List()
		must(t, err)
		for _, sb := range all {
			must(t, s.Down(sb.Name))
		}
		if left, err := os.ReadDir(s.Dir); err == nil && len(left) > 1 {
			t.Errorf("records are left: %v", left)
		}
		must(t, os.RemoveAll(s.Dir))
		if left := cgroupsOfSandboxes(t); left != "" {
			t.Errorf("cgroups are left: %s", left)
		}
		if after := outside(t); after != before {
			t.Errorf("the host is not as it was:\n%s", changes(before, after))
		}
	})
	return s
}

func changes(before, after string) string {
	var b strings.Builder
	for line := range strings.Lines(before) {
		if !strings.Contains(after, line) {
			b.WriteString("- " + line)
		}
	}
	for line := range strings.Lines(after) {
		if !strings.Contains(before, line) {
			b.WriteString("+ " + line)
		}
	}
	return b.String()
}

func newSandbox(t testing.TB, s *Store, o Options) *Sandbox {
	t.Helper()
	if o.Name == "" {
		o.Name = "t"
	}
	o.Hosts = max(o.Hosts, 1)
	sb, err := s.Up(o)
	must(t, err)
	return sb
}

// in runs a shell line at a place and returns what it printed, and its status.
func in(t testing.TB, sb *Sandbox, place, script string) (string, int) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer out.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	code, err := sb.Exec(Command{Place: place, Args: []string{"bash", "-c", script}, Env: os.Environ(), Dir: "/", In: null, Out: out, Err: out})
	must(t, err)
	data, err := os.ReadFile(out.Name())
	must(t, err)
	return strings.TrimSpace(string(data)), code
}

// works is in for what has to succeed.
func works(t testing.TB, sb *Sandbox, place, script string) string {
	t.Helper()
	out, code := in(t, sb, place, script)
	if code != 0 {
		t.Fatalf("on %s: %s: status %d\n%s", place, script, code, out)
	}
	return out
}

func contains(t testing.TB, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: %q does not contain %q", what, got, want)
	}
}

func TestTheWorldIsAsDrawn(t *testing.T) {
	sb := newSandbox(t, newStore(t), Options{})
	contains(t, "host", works(t, sb, Host, "hostname; ip -br addr"), "host\n")
	contains(t, "address", works(t, sb, Host, "ip -br addr show eth0"), "10.99.0.1/24")
	contains(t, "route", works(t, sb, Host, "ip route"), "default via 10.99.0.2 dev eth0")
	works(t, sb, Host, "ping -c1 -W2 10.99.0.2 && ping -c1 -W2 203.0.113.9 && ping -c1 -W2 fd99::2")
	works(t, sb, LAN, "ping -c1 -W2 10.99.0.1 && ping -c1 -W2 203.0.113.53")
	works(t, sb, Internet, "ping -c1 -W2 10.99.0.1")
	equal(t, "page", works(t, sb, Host, "curl -s http://www.example.com/x"), "This is www.example.com.\nYou are 10.99.0.1.")
	contains(t, "log", works(t, sb, Host, "cat /run/sandbox/internet.log"), `web 10.99.0.1 "GET /x HTTP/1.1"`)
	contains(t, "no such name", works(t, sb, Host, "! curl -s http://nobody.example.com/ || false; grep nobody /run/sandbox/internet.log"), "nobody.example.com")
	for place, links := range map[string]string{Host: "eth0 lo", LAN: "eth0 lo wan", Internet: "eth0 lo"} {
		equal(t, "links of "+place, works(t, sb, place, "echo $(ls /sys/class/net)"), links)
		equal(t, "name of "+place, works(t, sb, place, "hostname"), place)
	}
	equal(t, "nothing is forwarded by the host", works(t, sb, Host, "cat /proc/sys/net/ipv4/ip_forward"), "0")
	equal(t, "the keeper's own network is the host's", works(t, sb, Host, "readlink /proc/1/ns/net"), works(t, sb, Host, "readlink /proc/self/ns/net"))
	equal(t, "no namespaces", works(t, sb, Host, "ip netns list"), "")
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// The tools of a network course, and damage of all sorts, while the host is watched.
func TestNothingOutsideChanges(t *testing.T) {
	s := newStore(t)
	before := outside(t)
	sb := newSandbox(t, s, Options{})
	works(t, sb, Host, `set -e
		ip link add br0 type bridge; brctl show | grep -q br0; brctl stp br0 off; ip addr add 172.18.0.1/16 dev br0; ip link set br0 up
		ip netns add red; ip link add v0 type veth peer name eth0 netns red; brctl addif br0 v0; ip link set v0 up
		ip -n red addr add 172.18.0.2/16 dev eth0; ip -n red link set eth0 up; ip -n red link set lo up; ip -n red route add default via 172.18.0.1
		sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.conf.all.rp_filter=1
		iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE; iptables -P FORWARD DROP
		iptables -A FORWARD -i br0 -j ACCEPT; iptables -A FORWARD -o br0 -j ACCEPT
		nft add table inet mine
		tcpdump -ni eth0 -c1 -w /tmp/packets icmp 2>/dev/null & sleep 0.3
		ip netns exec red ping -c1 -W2 203.0.113.9 >/dev/null; wait
		tcpdump -nr /tmp/packets 2>/dev/null | grep -q 10.99.0.1
		touch /etc/a /var/b /tmp/c /root/d /home/e /var/lib/mydocker/f; rm /etc/passwd; mount -t tmpfs x /mnt; hostname broken
		mkdir $(ls -d /sys/fs/cgroup/*/ /sys/fs/cgroup 2>/dev/null | head -1)/mine`)
	if after := outside(t); after != before {
		t.Errorf("while it is up:\n%s", changes(before, after))
	}
	for _, what := range []string{"touch /usr/bin/x", "rm /usr/bin/env", "echo 1 > /proc/sys/vm/swappiness", "echo b > /proc/sysrq-trigger", "echo x > /sys/power/state", "ls /dev/sda /dev/vda /dev/mem"} {
		if out, code := in(t, sb, Host, what); code == 0 {
			t.Errorf("%s works: %s", what, out)
		}
	}
}

func TestNoWayToTheRealNetwork(t *testing.T) {
	sh(t, "ip addr add 192.0.2.77/32 dev lo")
	t.Cleanup(func() { sh(t, "ip addr del 192.0.2.77/32 dev lo") })
	sb := newSandbox(t, newStore(t), Options{})
	sh(t, "ping -c1 -W1 192.0.2.77")
	for _, place := range []string{Host, LAN, Internet} {
		if out, code := in(t, sb, place, "ping -c1 -W1 192.0.2.77"); code == 0 {
			t.Errorf("%s reaches the real host: %s", place, out)
		}
	}
}

func TestCommands(t *testing.T) {
	s := newStore(t)
	sb := newSandbox(t, s, Options{})
	for script, want := range map[string]int{"exit 7": 7, "kill -TERM $$": 143, "true": 0, "sleep 0.01 & exit 3": 3} {
		for _, place := range []string{Host, LAN} {
			if _, code := in(t, sb, place, script); code != want {
				t.Errorf("%s on %s: status %d, want %d", script, place, code, want)
			}
		}
	}
	_, err := sb.Exec(Command{Args: []string{"nosuch"}, In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if err == nil || !strings.Contains(err.Error(), "nosuch: command not found in the sandbox") {
		t.Error(err)
	}
	code, err := sb.Exec(Command{Place: "mars", Args: []string{"true"}, In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if code != 125 || err == nil || !strings.Contains(err.Error(), "host, lan and internet") {
		t.Error(code, err)
	}
	// Orphans are buried.
	works(t, sb, Host, "(sleep 0.05 &) ; sleep 0.2; ! ps -eo stat,comm | grep -q '^Z'")
	// Streams are the client's own.
	cmd := exec.Command("/proc/self/exe", "sandbox", s.Dir, "exec", "t", "sh", "-c", "cat; echo err >&2; exit 5")
	cmd.Stdin = strings.NewReader("typed")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if out.String() != "typed" || errs.String() != "err\n" || cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%q %q %v", out.String(), errs.String(), err)
	}
	// A client that is killed takes its command along.
	cmd = exec.Command("/proc/self/exe", "sandbox", s.Dir, "exec", "t", "sleep", "987")
	must(t, cmd.Start())
	works(t, sb, Host, "for i in $(seq 100); do pgrep -f '^sleep 987' && exit; sleep 0.05; done; exit 1")
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	works(t, sb, Host, "for i in $(seq 100); do pgrep -f '^sleep 987' >/dev/null || exit 0; sleep 0.05; done; exit 1")
}

func TestFromInside(t *testing.T) {
	sb := newSandbox(t, newStore(t), Options{})
	// What `on` does, by the test program: the sandbox's own socket, from inside.
	equal(t, "inside", works(t, sb, Host, "echo $MYDOCKER_SANDBOX; test -S /run/sandbox/control && test -x /run/sandbox/bin/on && command -v mydocker"), "t\n/run/sandbox/bin/mydocker")
}

func TestNamesAndReset(t *testing.T) {
	s := newStore(t)
	a, b := newSandbox(t, s, Options{Name: "a"}), newSandbox(t, s, Options{Name: "b"})
	works(t, a, Host, "ip link add only-a type bridge; touch /tmp/only-a")
	if out, code := in(t, b, Host, "ls /tmp/only-a || ip link show only-a"); code == 0 {
		t.Errorf("b sees what a has: %s", out)
	}
	if _, err := s.Up(Options{Name: "a", Hosts: 1}); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "mydocker sandbox reset a") {
		t.Error(err)
	}
	a, err := s.Reset("a")
	must(t, err)
	if out, code := in(t, a, Host, "ls /tmp/only-a || ip link show only-a"); code == 0 {
		t.Errorf("after the reset: %s", out)
	}
	for _, o := range []Options{{Name: "", Hosts: 1}, {Name: "../x", Hosts: 1}, {Name: "A", Hosts: 1}, {Name: "x", Hosts: 3}, {Name: "x", Hosts: 1, Shared: []string{"/nowhere"}}} {
		if _, err := s.Up(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if err := s.Down("nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := s.Reset("nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	sb := newSandbox(t, newStore(t), Options{Shared: []string{dir}})
	works(t, sb, Host, "echo kept > "+dir+"/file")
	data, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil || string(data) != "kept\n" {
		t.Errorf("%q %v", data, err)
	}
}

func TestSecondHost(t *testing.T) {
	sb := newSandbox(t, newStore(t), Options{Hosts: 2})
	contains(t, "host2", works(t, sb, Second, "hostname; ip -br addr show eth0; cat /etc/hosts"), "10.99.0.3/24")
	works(t, sb, Host, "ping -c1 -W2 host2")
	works(t, sb, Second, "ping -c1 -W2 host && curl -sf http://www.example.com/ | grep -q 10.99.0.3")
	works(t, sb, Second, "ip link add b2 type bridge; touch /run/mine /var/lib/mydocker/mine; sleep 555 >/dev/null 2>&1 &")
	if out, code := in(t, sb, Host, "ip link show b2 || ls /run/mine || ls /var/lib/mydocker/mine"); code == 0 {
		t.Errorf("the hosts share: %s", out)
	}
	_, code := in(t, sb, Second, "exit 9")
	equal(t, "status through the relay", code, 9)
	equal(t, "its own cgroup tree", works(t, sb, Second, "grep -v ':/$' /proc/self/cgroup || echo all at the root"), "all at the root")
	equal(t, "its own processes", works(t, sb, Second, "cat /proc/1/comm; pgrep -x sleep | wc -l"), "mydocker\n1")
}

// Killed in the middle of anything, a sandbox leaves nothing that the next command does not find.
func TestKilledKeeper(t *testing.T) {
	s := newStore(t)
	sb := newSandbox(t, s, Options{Hosts: 2})
	works(t, sb, Host, "sleep 1000 >/dev/null 2>&1 & ip link add br0 type bridge")
	pid, err := sb.Pid()
	must(t, err)
	must(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, func() string {
		if alive, err := sb.Alive(); alive || err != nil {
			return fmt.Sprint("it lives ", err)
		}
		return ""
	})
	removed, err := s.Sweep()
	must(t, err)
	equal(t, "swept", strings.Join(removed, " "), "t")
	newSandbox(t, s, Options{}) // the name is free
}

func TestKilledHalfWay(t *testing.T) {
	s := newStore(t)
	for i := range 12 {
		cmd := exec.Command("/proc/self/exe", "sandbox", s.Dir, "up", "half")
		must(t, cmd.Start())
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if err := s.Down("half"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if left := cgroupsOfSandboxes(t); left != "" {
			t.Fatalf("after %d ms: %s", i*4, left)
		}
	}
}

// A failure in the middle is told, and leaves nothing.
func TestFailureLeavesNothing(t *testing.T) {
	s := newStore(t)
	// A file of the record's own name in the way of the directory.
	must(t, os.MkdirAll(s.Dir, 0o700))
	must(t, os.WriteFile(filepath.Join(s.Dir, "t"), nil, 0o600))
	if _, err := s.Up(Options{Name: "t", Hosts: 1}); err == nil {
		t.Error("it works")
	}
	must(t, os.RemoveAll(filepath.Join(s.Dir, "t")))
}

func eventually(t testing.TB, ok func() string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		problem := ok()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(problem)
		}
	}
}

// Without root: a user namespace of one's own.
func TestWithoutRoot(t *testing.T) {
	for _, file := range []string{"/proc/sys/user/max_user_namespaces"} {
		if data, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(data)) == "0" {
			t.Fatal("this machine has user namespaces switched off")
		}
	}
	dir, err := os.MkdirTemp("/run", "user")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chown(dir, 1000, 1000))
	self, err := os.Executable()
	must(t, err)
	program := filepath.Join(dir, "program") // the tests' directory may be closed to others
	sh(t, "cp "+self+" "+program+" && chmod 755 "+program)
	user := func(args ...string) (string, error) {
		cmd := exec.Command(program, append([]string{"sandbox", dir + "/worlds"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FAKE_HOST=1"}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: false}}
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	before := outside(t)
	notes, err := user("up", "mine")
	if err != nil {
		t.Fatalf("%v: %s", err, notes)
	}
	contains(t, "notes", notes, "note-no-branch")
	contains(t, "notes", notes, "note-one-id")
	out, err := user("exec", "mine", "bash", "-c", `set -e
		id -u; ip link add br0 type bridge; ip addr add 172.18.0.1/16 dev br0; ip link set br0 up
		ip netns add red; echo 1 > /proc/sys/net/ipv4/ip_forward
		iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
		curl -sf http://www.example.com/; touch /etc/x /var/lib/mydocker/y; mount -t tmpfs x /mnt || :`)
	if err != nil || out != "0\nThis is www.example.com.\nYou are 10.99.0.1." {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := user("down", "mine"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	must(t, os.RemoveAll(dir))
	if after := outside(t); after != before {
		t.Errorf("the host is not as it was:\n%s", changes(before, after))
	}
}

func TestSelectingAHierarchy(t *testing.T) {
	for options, want := range map[string]string{
		"rw,memory": "memory", "rw,cpu,cpuacct": "cpu,cpuacct", "rw,xattr,name=systemd": "none,name=systemd",
		"rw,xattr,release_agent=/x,name=systemd": "none,name=systemd", "ro,seclabel,pids": "pids",
	} {
		equal(t, options, selecting(options), want)
	}
}

func question(name string, kind dnsmessage.Type) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	data, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return data
}

func TestNameServer(t *testing.T) {
	for name, want := range map[string]string{"www.example.com.": webAddress, "WWW.Example.Com.": webAddress, "nobody.example.com.": ""} {
		reply, _ := resolve(question(name, dnsmessage.TypeA))
		var m dnsmessage.Message
		must(t, m.Unpack(reply))
		got := ""
		if len(m.Answers) == 1 {
			a := m.Answers[0].Body.(*dnsmessage.AResource).A
			got = fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
		}
		equal(t, name, got, want)
		equal(t, name+" known", m.RCode == dnsmessage.RCodeSuccess, want != "")
	}
	reply, _ := resolve(question("www.example.com.", dnsmessage.TypeAAAA))
	var m dnsmessage.Message
	must(t, m.Unpack(reply))
	equal(t, "AAAA", fmt.Sprint(m.RCode, len(m.Answers)), fmt.Sprint(dnsmessage.RCodeSuccess, 0))
}

func FuzzNameServer(f *testing.F) {
	f.Add(question("www.example.com.", dnsmessage.TypeA))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, query []byte) {
		if reply, _ := resolve(query); reply != nil {
			var m dnsmessage.Message
			if err := m.Unpack(reply); err != nil {
				t.Errorf("%x: %v", reply, err)
			}
		}
	})
}

func BenchmarkUp(b *testing.B) {
	s := &Store{b.TempDir()}
	for b.Loop() {
		sb, err := s.Up(Options{Name: "bench", Hosts: 1})
		must(b, err)
		must(b, s.Down(sb.Name))
	}
}
