package cli

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// A host on which mydocker, Docker, Podman, CNI, Kubernetes, libvirt, other programs and a person have left their things.
const manyHands = `
ip netns add byhand; ip netns add cni-1f2e3d4c-0000-4000-8000-123456789abc; ip netns add netns-1f2e3d4c-0000-4000-8000-123456789abc
ip link add v0 type veth peer name v1 netns byhand; ip addr add 10.7.0.1/24 dev v0; ip link set v0 up; ip route add 10.200.0.0/16 via 10.7.0.2
ip link add docker0 type bridge; ip addr add 172.30.0.1/16 dev docker0; ip link add veth1a2b3c4 master docker0 type veth peer name dockerpeer
ip link add br-0123456789ab type bridge; ip link add podman1 type bridge; ip link add virbr0 type bridge; ip link add cni0 type bridge
ip link add veth0 master podman1 type veth peer name eth0 netns netns-1f2e3d4c-0000-4000-8000-123456789abc
ip link add cali12345678901 type veth peer name eth0 netns cni-1f2e3d4c-0000-4000-8000-123456789abc
ip link add mybridge type bridge
iptables -N DOCKER; iptables -N DOCKER-USER; iptables -N NETAVARK_FORWARD; iptables -N KUBE-FORWARD; iptables -N LIBVIRT_FWI; iptables -N ufw-before-forward; iptables -N MINE
iptables -A DOCKER -d 172.30.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
iptables -A DOCKER-USER -s 203.0.113.7 -j DROP
iptables -A NETAVARK_FORWARD -d 10.88.0.0/16 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
iptables -t nat -A POSTROUTING -s 172.30.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A POSTROUTING -s 10.7.0.0/24 -j MASQUERADE
iptables -t nat -A PREROUTING -p tcp --dport 9999 -j DNAT --to-destination 10.7.0.2:99
iptables -A FORWARD -i virbr0 -j ACCEPT
nft add table inet firewalld; nft add chain inet firewalld filter_FORWARD; nft add rule inet firewalld filter_FORWARD ip saddr 192.0.2.9 drop
nft add table inet mine; nft add chain inet mine c; nft add rule inet mine c ip saddr 192.0.2.8 drop
mkdir -p $CG/docker/whytest0123456789 $CG/kubepods/whytest $CG/whytest-byhand
`

const noHands = `
ip netns del byhand; ip netns del cni-1f2e3d4c-0000-4000-8000-123456789abc; ip netns del netns-1f2e3d4c-0000-4000-8000-123456789abc
for l in docker0 br-0123456789ab podman1 virbr0 cni0 mybridge veth1a2b3c4; do ip link del $l; done
iptables -D FORWARD -i virbr0 -j ACCEPT; iptables -t nat -D POSTROUTING -s 172.30.0.0/16 ! -o docker0 -j MASQUERADE; iptables -t nat -D POSTROUTING -s 10.7.0.0/24 -j MASQUERADE
iptables -t nat -D PREROUTING -p tcp --dport 9999 -j DNAT --to-destination 10.7.0.2:99
for c in DOCKER DOCKER-USER NETAVARK_FORWARD KUBE-FORWARD LIBVIRT_FWI ufw-before-forward MINE; do iptables -F $c; iptables -X $c; done
nft delete table inet firewalld; nft delete table inet mine
rmdir $CG/docker/whytest0123456789 $CG/kubepods/whytest $CG/whytest-byhand
rmdir --ignore-fail-on-non-empty $CG/docker $CG/kubepods
`

func TestWhy(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "--subnet", "10.74.0.0/24", "--subnet", "fd00:74::/64", "whynet")
	id := strings.TrimSpace(my(t, "run", "-d", "--name", "asked", "-m", "64m", "-net", "whynet", "-p", "8074:80", "-v", "whydata:/data", "busybox", "sleep", "100"))
	pid := strings.TrimSpace(my(t, "inspect", "-f", "{{.State.Pid}}", "asked"))
	cgroup, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(cgroup); err != nil { // version 2
		cgroup, limit = "/sys/fs/cgroup", "memory.max"
	}
	shell(t, "CG="+cgroup+manyHands)
	defer shell(t, "CG="+cgroup+noHands)
	for _, c := range []struct {
		ask   string // words are split at " | "
		wants []string
	}{
		// What is mydocker's.
		{"whynet", []string{"link whynet (bridge)  (host)\n", "made by        mydocker, for network whynet\n", "is the gateway", "/var/lib/mydocker/networks/", "taken away by  mydocker network rm whynet\n"}},
		{"asked:eth0", []string{"link eth0 (veth)  (namespace asked)\n", "mydocker, for container asked\n", "one end of a cable; the other is veth", "it has the address 10.74.0.2/24", "it has the address fd00:74::2/64", "/run/mydocker/endpoints/"}},
		{"asked", []string{"namespace asked  net:[", "mydocker, for container asked\n", "processes in it: 1: sleep (" + pid + ")", "pinned at /run/netns/asked", "mydocker stop asked\n"}},
		{"/proc/" + pid + "/ns/pid", []string{"namespace pid:[", "mydocker, for container asked\n", "a process tree of its own", "pid " + pid + " is the container's first process"}},
		{"--dport 8074", []string{"rule nat MYDOCKER: -p tcp", "mydocker, for container asked\n", "a published port", "10.74.0.2 is in namespace asked", "its comment: mydocker asked 0.0.0.0:8074->80/tcp"}},
		{"iptables -t nat -A POSTROUTING -s 10.74.0.0/24 ! -o whynet -j MASQUERADE", []string{"rule nat POSTROUTING: ", "mydocker, for network whynet\n", "an answer can find back"}},
		{"MASQUERADE", []string{"-s 172.30.0.0/16 ! -o docker0 -j MASQUERADE", "-s 10.7.0.0/24 -j MASQUERADE"}},
		{"MYDOCKER-USER", []string{"rule filter MYDOCKER-USER  (host)\n", "made by     mydocker\n", "rules of your own"}},
		{"10.74.0.9", []string{"route 10.74.0.0/24 dev whynet", "the kernel itself, for network whynet\n", "it came with the address 10.74.0.1 on whynet"}},
		{"fd00:74::9", []string{"route fd00:74::/64 dev whynet", "the kernel itself, for network whynet\n", "it came with the address fd00:74::1 on whynet"}},
		{"ip6tables -t nat -A POSTROUTING -s fd00:74::/64 ! -o whynet -j MASQUERADE", []string{"rule ip6 nat POSTROUTING: ", "mydocker, for network whynet\n"}},
		{"asked:default", []string{"route default via 10.74.0.1 dev eth0  (namespace asked)\n", "mydocker, for container asked\n", "the gateway 10.74.0.1 is whynet (host)"}},
		{"asked:/etc/hosts", []string{"mount /etc/hosts", "a file that mydocker writes for the container", id + "/hosts"}},
		{"asked:/", []string{"mount /  overlay", "the layers of its image"}},
		{"asked:/data", []string{"a volume: ", "/volumes/whydata/_data"}},
		{"asked:/proc/sys/kernel", []string{"mount /proc/sys  proc", "read-only in the container"}},
		{"/run/netns/asked", []string{"mount /run/netns/asked  nsfs", "mydocker, for container asked\n", "alive without a process"}},
		{"/mydocker/" + id, []string{"cgroup " + cgroup + "/mydocker/" + id, "mydocker, for container asked\n", "limit: " + limit + " = 67108864", "processes in it: 1\n"}},
		// Others'.
		{"docker0", []string{"made by     Docker\n", "the name docker0: Docker gives such names"}},
		{"veth1a2b3c4", []string{"made by     Docker\n", "it is plugged into docker0", "a port of the bridge docker0"}},
		{"br-0123456789ab", []string{"made by     Docker\n"}},
		{"podman1", []string{"made by     Podman (netavark)\n"}},
		{"veth0", []string{"made by     Podman (netavark)\n", "plugged into podman1"}},
		{"netns-1f2e3d4c-0000-4000-8000-123456789abc", []string{"made by     Podman (netavark)\n"}},
		{"cni-1f2e3d4c-0000-4000-8000-123456789abc", []string{"made by     a CNI plugin\n"}},
		{"cni0", []string{"made by     Kubernetes or its network plugin\n"}},
		{"cali12345678901", []string{"made by     Kubernetes or its network plugin\n"}},
		{"virbr0", []string{"made by     libvirt"}},
		{"--dport 80 -j ACCEPT", []string{"rule filter DOCKER: ", "made by     Docker\n"}},
		{"-s 172.30.0.0/16 ! -o docker0 -j MASQUERADE", []string{"made by     Docker\n", "it names the link docker0"}},
		{"-A DOCKER-USER -s 203.0.113.7 -j DROP", []string{"somebody by hand", "it throws away"}},
		{"-d 10.88.0.0/16", []string{"made by     Podman (netavark)\n", "answers of connections"}},
		{"kubernetes forwarding rules", []string{"made by     Kubernetes"}},
		{"-i virbr0 -j ACCEPT", []string{"made by     libvirt", "it names the link virbr0"}},
		{"LIBVIRT_FWI", []string{"made by     libvirt"}},
		{"ufw-before-forward", []string{"made by     ufw, the firewall\n"}},
		{"ip saddr 192.0.2.9 drop", []string{"made by     firewalld\n", "nft list chain inet firewalld filter_FORWARD"}},
		{"/docker/whytest0123456789", []string{"made by     Docker\n"}},
		{"/kubepods/whytest", []string{"made by     Kubernetes"}},
		// Nobody's that is known.
		{"byhand", []string{"somebody by hand", "no process is in it", "taken away by  ip netns del byhand\n"}},
		{"v0", []string{"somebody by hand", "the other is v1 (namespace byhand)"}},
		{"mybridge", []string{"somebody by hand", "a switch; plugged in: 0", "it is down"}},
		{"-A POSTROUTING -s 10.7.0.0/24 -j MASQUERADE", []string{"somebody by hand", "taken away by  iptables -t nat -D POSTROUTING "}},
		{"iptables -t nat -I PREROUTING 1 -p tcp --dport 9999 -j DNAT --to-destination 10.7.0.2:99", []string{"somebody by hand", "a published port"}},
		{"MINE", []string{"rule filter MINE  (host)\n", "somebody by hand"}},
		{"FORWARD", []string{"the kernel itself", "the kernel asks it at the hook forward; at its end: ACCEPT"}},
		{"ip saddr 192.0.2.8 drop", []string{"somebody by hand"}},
		{"10.200.0.0/16", []string{"route 10.200.0.0/16 via 10.7.0.2 dev v0", "somebody by hand", "ip route del 10.200.0.0/16 via 10.7.0.2 dev v0\n"}},
		{"default", []string{"for everything for which there is no better route"}},
		{"/proc", []string{"mount /proc  proc", "the system, when it started", "processes, and the kernel's settings"}},
		{"/whytest-byhand", []string{"cgroup " + cgroup + "/whytest-byhand", "somebody by hand"}},
		{"lo", []string{"link lo (device)  (host)\n", "the kernel itself", "127.0.0.1"}},
	} {
		out := my(t, "why", c.ask)
		for _, want := range c.wants {
			if !strings.Contains(unwrapped(out), want) {
				t.Errorf("why %s: no %q in\n%s", c.ask, want, out)
			}
		}
	}
	my(t, "run", "-d", "--name", "sharer", "--network", "container:asked", "busybox", "sleep", "100")
	my(t, "run", "-d", "--name", "onhost", "--network", "host", "busybox", "sleep", "100")
	my(t, "create", "--name", "unborn", "busybox")
	for ask, want := range map[string]string{"sharer": "^namespace asked  net:", "sharer:eth0": `^link eth0 \(veth\)  \(namespace asked\)`, "sharer:default": "^route default via 10.74.0.1 dev eth0  \\(namespace asked",
		"onhost": "^namespace host", "onhost:whynet": `^link whynet \(bridge\)  \(host\)`} {
		match(t, ask, my(t, "why", ask), want)
	}
	refused(t, 1, "container unborn is not running (mydocker start unborn)", "why", "unborn:eth0")
	match(t, "in Chinese", my(t, "why", "--lang", "zh", "whynet"), `^网络接口 whynet \(bridge\)  \(宿主机\)\n  创建者    mydocker，用于网络 whynet\n`)
	equal(t, "one kind", strings.SplitN(my(t, "why", "--kind", "namespace", "asked"), " ", 2)[0], "namespace")
	match(t, "words need no quotes", my(t, "why", "-A", "POSTROUTING", "-s", "10.7.0.0/24", "-j", "MASQUERADE"), "somebody by hand")
	refused(t, 1, `"no-such-thing": nothing of that name is here`, "why", "no-such-thing")
	refused(t, 1, `nothing of that name is here`, "why", "--kind", "link", "asked")
	refused(t, 1, `nothing of that name is here`, "why", "no-such:/etc/hosts")
	refused(t, 125, `invalid --kind "x"`, "why", "--kind", "x", "y")
	refused(t, 125, `flag needs an argument: --kind`, "why", "--kind")
	refused(t, 1, "requires at least 1 argument", "why")
}

// unwrapped joins what was broken at the right margin.
func unwrapped(text string) string {
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i > 0; i-- {
		if rest := strings.TrimLeft(lines[i], " "); len(lines[i])-len(rest) > 8 && len(lines[i-1])+len(rest) > 90 {
			lines[i-1] += " " + rest
			lines = append(lines[:i], lines[i+1:]...)
		}
	}
	return strings.Join(lines, "\n")
}
