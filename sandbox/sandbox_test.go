package sandbox

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheWorldIsAsDrawn(t *testing.T) {
	sb := newSandbox(t, newStore(t), Options{})
	contains(t, "host", works(t, sb, Host, "hostname; ip -br addr"), "host\n")
	contains(t, "address", works(t, sb, Host, "ip -br addr show eth0"), "10.99.0.1/24")
	contains(t, "route", works(t, sb, Host, "ip route"), "default via 10.99.0.2 dev eth0")
	works(t, sb, Host, "ping -c1 -W20 10.99.0.2 && ping -c1 -W20 203.0.113.9 && ping -c1 -W20 fd99::2")
	works(t, sb, LAN, "ping -c1 -W20 10.99.0.1 && ping -c1 -W20 203.0.113.53")
	works(t, sb, Internet, "ping -c1 -W20 10.99.0.1")
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

// The same world by IPv6: everybody has an address and a way, from the first moment on, and the internet's servers answer by both.
func TestTheWorldByIPv6(t *testing.T) {
	sb := newSandbox(t, newStore(t), Options{Hosts: 2})
	works(t, sb, Host, "ping -6 -c1 -W20 2001:db8:113::9 && ping -6 -c1 -W20 lan && ping -6 -c1 -W20 host2")
	contains(t, "address", works(t, sb, Host, "ip -br addr show eth0"), "fd99::1/64")
	contains(t, "route", works(t, sb, Host, "ip -6 route"), "default via fd99::2 dev eth0")
	contains(t, "host2", works(t, sb, Second, "ip -6 route; ping -6 -c1 -W20 2001:db8:113::9"), "default via fd99::2 dev eth0")
	works(t, sb, LAN, "ping -6 -c1 -W20 fd99::1 && ping -6 -c1 -W20 2001:db8:113::53")
	works(t, sb, Internet, "ping -6 -c1 -W20 fd99::1")
	equal(t, "page", works(t, sb, Host, "curl -6 -s http://www.example.com/x"), "This is www.example.com.\nYou are fd99::1.")
	equal(t, "who has both is asked by IPv4", works(t, sb, Host, "curl -s http://www.example.com/x"), "This is www.example.com.\nYou are 10.99.0.1.")
	works(t, sb, Host, "echo nameserver 2001:db8:113::53 > /etc/resolv.conf; curl -6 -s http://www.example.com/y")
	contains(t, "log", works(t, sb, Host, "cat /run/sandbox/internet.log"), `dns fd99::1 "www.example.com. AAAA"`)
	equal(t, "nothing is forwarded by the host", works(t, sb, Host, "cat /proc/sys/net/ipv6/conf/all/forwarding"), "0")
	// Nobody behind the host is known to the internet.
	if out, code := in(t, sb, Host, `set -e; sysctl -qw net.ipv6.conf.all.forwarding=1
		ip netns add red; ip link add v0 type veth peer name eth0 netns red; ip addr add fd07::1/64 dev v0 nodad; ip link set v0 up
		ip -n red addr add fd07::2/64 dev eth0 nodad; ip -n red link set eth0 up; ip -n red route add default via fd07::1
		ip netns exec red ping -6 -c1 -W1 2001:db8:113::9`); code == 0 {
		t.Errorf("an answer finds its way without translation: %s", out)
	}
	works(t, sb, Host, "ip6tables -t nat -A POSTROUTING -s fd07::/64 -j MASQUERADE; ip netns exec red ping -6 -c1 -W20 2001:db8:113::9")
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
		tcpdump -ni eth0 -c1 -w /tmp/packets icmp 2>/tmp/said & until grep -q listening /tmp/said; do sleep 0.05; done
		ip netns exec red ping -c1 -W20 203.0.113.9 >/dev/null; wait
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
	sh(t, "ping -c1 -W20 192.0.2.77")
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
	works(t, sb, Host, "(sleep 0.05 &); for i in $(seq 600); do ps -eo stat,comm | grep -q -e '^Z' -e ' sleep$' || exit 0; sleep 0.1; done; exit 1")
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
	works(t, sb, Host, "for i in $(seq 1200); do pgrep -f '^sleep 987' && exit; sleep 0.05; done; exit 1")
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	works(t, sb, Host, "for i in $(seq 1200); do pgrep -f '^sleep 987' >/dev/null || exit 0; sleep 0.05; done; exit 1")
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
	works(t, sb, Host, "ping -c1 -W20 host2")
	works(t, sb, Second, "ping -c1 -W20 host && curl -sf http://www.example.com/ | grep -q 10.99.0.3")
	works(t, sb, Second, "ip link add b2 type bridge; touch /run/mine /var/lib/mydocker/mine; sleep 555 >/dev/null 2>&1 &")
	if out, code := in(t, sb, Host, "ip link show b2 || ls /run/mine || ls /var/lib/mydocker/mine"); code == 0 {
		t.Errorf("the hosts share: %s", out)
	}
	_, code := in(t, sb, Second, "exit 9")
	equal(t, "status through the relay", code, 9)
	equal(t, "its own cgroup tree", works(t, sb, Second, "grep -v ':/$' /proc/self/cgroup || echo all at the root"), "all at the root")
	equal(t, "its own processes", works(t, sb, Second, "cat /proc/1/comm; pgrep -x sleep | wc -l"), "mydocker\n1")
}

func TestSelectingAHierarchy(t *testing.T) {
	for options, want := range map[string]string{
		"rw,memory": "memory", "rw,cpu,cpuacct": "cpu,cpuacct", "rw,xattr,name=systemd": "none,name=systemd",
		"rw,xattr,release_agent=/x,name=systemd": "none,name=systemd", "ro,seclabel,pids": "pids",
	} {
		equal(t, options, selecting(options), want)
	}
}

func BenchmarkUp(b *testing.B) {
	s := &Store{b.TempDir()}
	for b.Loop() {
		sb, err := s.Up(Options{Name: "bench", Hosts: 1})
		must(b, err)
		must(b, s.Down(sb.Name))
	}
}

// How mydocker is configured on this machine does not hold in a sandbox: root of the sandbox, who may be nobody here, writes what he likes.
func TestOwnConfiguration(t *testing.T) {
	sh(t, `mkdir -p /run/etc; mount -t tmpfs tmpfs /run/etc; mkdir /run/etc/upper /run/etc/work
		mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc
		mkdir -p /etc/mydocker; echo '{"bip": "192.168.99.1/24"}' > /etc/mydocker/daemon.json`)
	t.Cleanup(func() { sh(t, "umount /etc; umount /run/etc; rmdir /run/etc") })
	script := "test -z \"$(ls -A /etc/mydocker)\" && echo '{}' > /etc/mydocker/daemon.json && cat /etc/mydocker/daemon.json"
	sb := newSandbox(t, newStore(t), Options{})
	if got := works(t, sb, Host, script); got != "{}" {
		t.Errorf("%q", got)
	}
	contains(t, "outside", sh(t, "cat /etc/mydocker/daemon.json"), "192.168.99.1")
}
