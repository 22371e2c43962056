package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// link is what `ip -j -d link` and `ip -j addr` say of one link.
type link struct {
	Name      string `json:"ifname"`
	Index     int    `json:"ifindex"`
	PeerIndex int    `json:"link_index"`
	Netns     *int   `json:"link_netnsid"`
	Master    string `json:"master"`
	MTU       int    `json:"mtu"`
	State     string `json:"operstate"`
	MAC       string `json:"address"`
	Info      struct {
		Kind string         `json:"info_kind"`
		Data map[string]any `json:"info_data"`
	} `json:"linkinfo"`
	Addresses []struct {
		Family    string `json:"family"`
		Local     string `json:"local"`
		PrefixLen int    `json:"prefixlen"`
	} `json:"addr_info"`
}

// links asks `ip` for all links, in a network namespace ("" is the host's).
func links(t testing.TB, netns string) map[string]link {
	t.Helper()
	ip := "ip"
	if netns != "" {
		ip = "ip -n " + netns
	}
	out := map[string]link{}
	for _, l := range fromJSON[[]link](t, sh(t, ip+" -j -d addr show")) {
		if l.Name != "" {
			out[l.Name] = l
		}
	}
	return out
}

func (l link) ipv4() string {
	for _, a := range l.Addresses {
		if a.Family == "inet" {
			return fmt.Sprintf("%s/%d", a.Local, a.PrefixLen)
		}
	}
	return ""
}

// hostEnd is the host's end of a container's eth0.
func hostEnd(t testing.TB, c *ctr) link {
	t.Helper()
	inner := links(t, c.name)["eth0"]
	for _, l := range links(t, "") {
		if l.Index == inner.PeerIndex && l.Info.Kind == "veth" {
			return l
		}
	}
	t.Fatalf("no host end with index %d for eth0 of %s", inner.PeerIndex, c.name)
	return link{}
}

// The network namespace is a thing of its own, visible to iproute2, before and while the container runs.
func TestNamespaceIsPinned(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "pinned")
	match(t, "ip netns list", sh(t, "ip netns list"), `(?m)^pinned( |$)`)
	equal(t, "ip netns exec and mydocker exec see the same links",
		sh(t, `ip netns exec pinned ip -br addr | awk '{print $1, $3}'`), "lo 127.0.0.1/8\neth0@if"+fmt.Sprint(links(t, "pinned")["eth0"].PeerIndex)+" "+c.ip()+"/16")
	match(t, "exec ip addr", c.exec("ip", "addr", "show", "eth0"), "inet "+c.ip()+"/16")
	equal(t, "nsenter by path", sh(t, "nsenter --net=/var/run/netns/pinned ip -br link | wc -l"), "2")
	equal(t, "nsenter by pid", sh(t, fmt.Sprintf("nsenter -t %d -n ls /proc/self/net/dev_snmp6 | sort | tr '\\n' ' '", c.pid())), "eth0 lo ")
	equal(t, "the namespace of process 1 is the pinned one",
		sh(t, fmt.Sprintf("readlink /proc/%d/ns/net | tr -dc 0-9", c.pid())), sh(t, "stat -L -c %i /run/netns/pinned"))
	match(t, "lsns", sh(t, "lsns -t net -o NSFS,COMMAND"), `(?m)/run/netns/pinned\s+sh -c`)
	equal(t, "sysfs shows the container's links", c.sh("ls /sys/class/net | sort | tr '\\n' ' '"), "eth0 lo ")
	must(t, "rm", "-f", c.name)
	eventually(t, func() string {
		if strings.Contains(sh(t, "ip netns list"), "pinned") {
			return "the namespace is still listed after rm"
		}
		return ""
	})
}

// Which namespaces differ between the host and a container, and between two containers.
func TestNamespaces(t *testing.T) {
	cleanHost(t)
	one, two := sleeper(t, "ns-one"), sleeper(t, "ns-two")
	host := sleeper(t, "ns-host", "--net=host")
	inode := func(pid int, kind string) string {
		return sh(t, fmt.Sprintf("readlink /proc/%d/ns/%s", pid, kind))
	}
	for _, kind := range []string{"ipc", "mnt", "net", "pid", "uts"} {
		a, b, self := inode(one.pid(), kind), inode(two.pid(), kind), inode(os.Getpid(), kind)
		if a == self || a == b {
			t.Errorf("%s namespace: host %s, one container %s, another %s", kind, self, a, b)
		}
		if got := inode(host.pid(), kind); (got == self) != (kind == "net") {
			t.Errorf("%s namespace with --net=host: %s, the host's is %s", kind, got, self)
		}
	}
	equal(t, "user namespace", inode(one.pid(), "user"), inode(os.Getpid(), "user"))
	match(t, "lsns lists the kinds", sh(t, fmt.Sprintf("lsns -n -o TYPE -p %d | sort | tr '\\n' ' '", one.pid())), `^(cgroup )?ipc mnt net pid (time )?user uts $`)
}

// The cable: one veth pair, one end in the bridge, the other inside as eth0.
func TestCable(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	c := sleeper(t, "cable", "-net", "br0")
	eventually(t, func() string { // the kernel notes that a link is up a moment later
		if states := links(t, "")["br0"].State + hostEnd(t, c).State + links(t, "cable")["eth0"].State; states != "UPUPUP" {
			return "the links are " + states
		}
		return ""
	})

	bridge := links(t, "")["br0"]
	equal(t, "kind of the bridge", bridge.Info.Kind, "bridge")
	equal(t, "state of the bridge", bridge.State, "UP")
	equal(t, "address of the bridge is the gateway", bridge.ipv4(), "10.88.0.1/24")
	equal(t, "spanning tree is off", fmt.Sprint(bridge.Info.Data["stp_state"]), "0")

	inner, outer := links(t, "cable")["eth0"], hostEnd(t, c)
	equal(t, "the indices match crosswise", outer.PeerIndex, inner.Index)
	match(t, "name of the host's end", outer.Name, "^veth[0-9a-f]{7,11}$")
	equal(t, "its master", outer.Master, "br0")
	equal(t, "its state", outer.State, "UP")
	if outer.Netns == nil || inner.Netns == nil {
		t.Errorf("link-netnsid is not shown: outer %v, inner %v", outer.Netns, inner.Netns)
	}
	match(t, "brctl show", sh(t, "brctl show br0"), `(?s)br0\s+\S+\s+no\s+`+outer.Name)
	becomes(t, "bridge link", outer.Name+`.*master br0 state forwarding`, func() string { return sh(t, "bridge link") })

	equal(t, "first address", inner.ipv4(), "10.88.0.2/24")
	equal(t, "MAC is 02:42 and the address", inner.MAC, "02:42:0a:58:00:02")
	equal(t, "state", inner.State, "UP")
	equal(t, "mtu", inner.MTU, 1500)
	equal(t, "lo", links(t, "cable")["lo"].ipv4(), "127.0.0.1/8")
	equal(t, "routes", strings.TrimSpace(c.in("ip route show default")), "default via 10.88.0.1 dev eth0")
	match(t, "busybox ifconfig", c.exec("ifconfig", "eth0"), `(?s)HWaddr 02:42:0A:58:00:02.*inet addr:10.88.0.2.*Mask:255.255.255.0`)
	match(t, "busybox route -n", c.exec("route", "-n"), `(?m)^0\.0\.0\.0\s+10\.88\.0\.1\s+0\.0\.0\.0\s+UG`)
	c.exec("ping", "-c1", "-W20", "127.0.0.1")
	c.exec("ping", "-c1", "-W20", "10.88.0.2")
}

// ping in all directions: container to container, host to container, container to host and beyond.
func TestPing(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	one, two := sleeper(t, "ping-one", "-net", "br0"), sleeper(t, "ping-two", "-net", "br0")
	one.exec("ping", "-c1", "-W20", two.ip())
	two.exec("ping", "-c1", "-W20", one.ip())
	sh(t, "ping -c1 -W20 "+one.ip())
	one.exec("ping", "-c1", "-W20", one.inspect("{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"))
	one.exec("ping", "-c1", "-W20", "10.99.0.1") // the host's own address
	one.exec("ping", "-c1", "-W20", "10.99.0.2") // the neighbour, which has no route back: masquerading
	one.exec("ping", "-c1", "-W20", "203.0.113.9")
}

// Outside sees the host's address; between containers nothing is rewritten.
func TestSourceAddress(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	client, server := sleeper(t, "client", "-net", "br0"), web(t, "server", "-net", "br0")
	equal(t, "a peer sees", client.exec("wget", "-qO-", "http://"+server.ip()+"/cgi-bin/who"), client.ip())
	equal(t, "the host is seen as the gateway", mustGet(t, "http://"+server.ip()+"/cgi-bin/who"), "10.88.0.1")
	neighbourServes(t, 7777, "echo $SOCAT_PEERADDR")
	var said string
	eventually(t, func() string {
		r := my(t, "exec", client.name, "nc", "-w", "60", "10.99.0.2", "7777")
		said = strings.TrimSpace(r.out)
		if r.code != 0 || said == "" {
			return "no answer from the neighbour: " + r.err
		}
		return ""
	})
	equal(t, "the neighbour sees", said, "10.99.0.1")
	match(t, "the rule that does it", sh(t, "iptables -t nat -S"), `-s 10\.88\.0\.0/24 ! -o br0 .*-j MASQUERADE`)
}

// Addresses are handed out one after the other, and come back.
func TestAddresses(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/29") // .1 is the gateway, .2 to .6 are free
	for i := range 5 {
		c := sleeper(t, fmt.Sprintf("address-%d", i), "-net", "br0")
		equal(t, "address", c.ip(), fmt.Sprintf("10.88.0.%d", i+2))
	}
	refused(t, 125, []string{"10.88.0.0/29", "address"}, "run", "-d", "--name", "address-6", "-net", "br0", "busybox", "true")
	must(t, "rm", "-f", "address-3")
	equal(t, "the address that came free", sleeper(t, "address-7", "-net", "br0").ip(), "10.88.0.5")
}

// The smallest network has one address to give; an ended container gives its address back without being removed.
func TestAddressComesBackWhenContainerEnds(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "tiny", "--subnet", "10.88.0.0/30")
	for i := range 3 {
		c := start(t, fmt.Sprintf("tiny-%d", i), "-net", "tiny", "busybox", "ip", "-4", "-o", "addr", "show", "eth0")
		equal(t, "exit status", must(t, "wait", c.name), "0")
		match(t, "address", must(t, "logs", c.name), `inet 10\.88\.0\.2/30`)
	}
}

// A network as wide as Docker's default, the size on which others' text bitmaps broke.
func TestWideNetworks(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "net0", "-d", "bridge", "--subnet", "172.100.0.0/16")
	makeNetwork(t, "ten", "--subnet", "11.0.0.0/8")
	equal(t, "bridge of net0", links(t, "")[bridgeOf(t, "net0")].ipv4(), "172.100.0.1/16")
	match(t, "in the /16", see(t, "-net", "net0", "busybox", "ip", "-4", "-o", "addr", "show", "eth0"), `172\.100\.0\.2/16`)
	match(t, "in the /8", see(t, "-net", "ten", "busybox", "ip", "-4", "-o", "addr", "show", "eth0"), `11\.0\.0\.2/8`)
}

func bridgeOf(t testing.TB, network string) string {
	t.Helper()
	subnet := must(t, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", network)
	gateway := netip.MustParsePrefix(subnet).Masked().Addr().Next().String()
	for name, l := range links(t, "") {
		if strings.HasPrefix(l.ipv4(), gateway+"/") {
			return name
		}
	}
	t.Fatalf("no link has the gateway address %s of %s", gateway, network)
	return ""
}

// network create, ls, inspect, rm as Docker shows them.
func TestNetworkCommands(t *testing.T) {
	cleanHost(t)
	id := makeNetwork(t, "wp-net", "--label", "a=b")
	if _, ok := links(t, "")["wp-net"]; !ok {
		t.Errorf("the bridge of wp-net does not bear its name: %v", sh(t, "ip -br link"))
	}
	list := must(t, "network", "ls")
	match(t, "heading", list, `^NETWORK ID\s+NAME\s+DRIVER\s+SCOPE\n`)
	match(t, "the network", list, `(?m)^`+id[:12]+`\s+wp-net\s+bridge\s+local$`)
	for name, driver := range map[string]string{"bridge": "bridge", "host": "host", "none": "null"} {
		match(t, "built in", list, `(?m)^[0-9a-f]{12}\s+`+name+`\s+`+driver+`\s+local$`)
	}
	equal(t, "network ls -q", len(strings.Fields(must(t, "network", "ls", "-q"))), 4)
	equal(t, "network ls --filter", must(t, "network", "ls", "--filter", "name=wp", "--format", "{{.Name}}"), "wp-net")

	c := sleeper(t, "member", "--network", id[:8]) // any unique prefix
	type network struct {
		Name, ID, Created, Scope, Driver string
		EnableIPv6, Internal             bool
		IPAM                             struct {
			Config []struct{ Subnet, Gateway string }
		}
		Containers      map[string]struct{ Name, EndpointID, MacAddress, IPv4Address string }
		Options, Labels map[string]string
	}
	all := fromJSON[[]network](t, must(t, "network", "inspect", "wp-net"))
	equal(t, "networks", len(all), 1)
	n := all[0]
	equal(t, "Id", n.ID, id)
	equal(t, "Name", n.Name, "wp-net")
	equal(t, "Driver", n.Driver, "bridge")
	equal(t, "Scope", n.Scope, "local")
	equal(t, "Label", n.Labels["a"], "b")
	if _, err := time.Parse(time.RFC3339Nano, n.Created); err != nil {
		t.Error(err)
	}
	subnet := netip.MustParsePrefix(n.IPAM.Config[0].Subnet)
	equal(t, "Gateway", n.IPAM.Config[0].Gateway, subnet.Addr().Next().String())
	member := n.Containers[c.id]
	equal(t, "Containers: name", member.Name, "member")
	equal(t, "Containers: address", member.IPv4Address, fmt.Sprintf("%s/%d", c.ip(), subnet.Bits()))
	equal(t, "Containers: MAC", member.MacAddress, links(t, "member")["eth0"].MAC)

	refused(t, 1, []string{"wp-net", "member"}, "network", "rm", "wp-net")
	must(t, "rm", "-f", "member")
	equal(t, "network rm", must(t, "network", "rm", "wp-net"), "wp-net")
	eventually(t, func() string {
		if _, ok := links(t, "")["wp-net"]; ok {
			return "the bridge is still there"
		}
		return ""
	})
}

// A chosen address and MAC, and the refusals that belong to them.
func TestChosenAddress(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24", "--gateway", "10.88.0.254", "--ip-range", "10.88.0.128/25")
	c := sleeper(t, "chosen", "-net", "br0", "--ip", "10.88.0.77", "--mac-address", "02:42:00:00:00:07")
	equal(t, "address", links(t, "chosen")["eth0"].ipv4(), "10.88.0.77/24")
	equal(t, "MAC", links(t, "chosen")["eth0"].MAC, "02:42:00:00:00:07")
	equal(t, "gateway", c.in("ip route show default | awk '{print $3}'"), "10.88.0.254")
	match(t, "address from the range", sleeper(t, "ranged", "-net", "br0").ip(), `^10\.88\.0\.(12[89]|1[3-9]\d|2\d\d)$`)
	refused(t, 125, []string{"10.88.0.77", "chosen"}, "run", "--rm", "-net", "br0", "--ip", "10.88.0.77", "busybox", "true")
	refused(t, 125, []string{"10.89.0.1", "10.88.0.0/24"}, "run", "--rm", "-net", "br0", "--ip", "10.89.0.1", "busybox", "true")
	must(t, "stop", "chosen")
	must(t, "start", "chosen")
	equal(t, "address after a restart", links(t, "chosen")["eth0"].ipv4(), "10.88.0.77/24")
}

// MTU, as Docker's driver option says it.
func TestMTU(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "-o", "com.docker.network.driver.mtu=1400")
	c := sleeper(t, "mtu", "-net", "br0")
	equal(t, "inside", links(t, "mtu")["eth0"].MTU, 1400)
	equal(t, "outside", hostEnd(t, c).MTU, 1400)
	equal(t, "bridge", links(t, "")["br0"].MTU, 1400)
}

// The three files that name things. A loopback resolver of the host would be unreachable inside.
func TestNameFiles(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "named", "--hostname", "box")
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	equal(t, "/etc/hosts", strings.ReplaceAll(c.exec("cat", "/etc/hosts"), "::0\t", "::\t")+"\n", hosts+c.ip()+"\tbox\n")
	equal(t, "/etc/hostname", c.exec("cat", "/etc/hostname"), "box")
	for _, file := range []string{"hosts", "hostname", "resolv.conf"} {
		if source := c.inspect("{{." + map[string]string{"hosts": "HostsPath", "hostname": "HostnamePath", "resolv.conf": "ResolvConfPath"}[file] + "}}"); read(t, source) != c.exec("cat", "/etc/"+file)+"\n" {
			t.Errorf("inspect says that /etc/%s is %s, which holds something else", file, source)
		}
	}

	resolv := func(content string) string {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		write(t, file, content)
		target := sh(t, "readlink -f /etc/resolv.conf")
		sh(t, "mount --bind "+file+" "+target)
		defer sh(t, "umount "+target)
		return see(t, "busybox", "sh", "-c", "grep -v '^#' /etc/resolv.conf; true")
	}
	match(t, "a resolver on the LAN is kept", resolv("nameserver 10.99.0.2\nsearch example\noptions ndots:2\n"), `(?s)nameserver 10\.99\.0\.2.*search example|(?s)search example.*nameserver 10\.99\.0\.2`)
	loopback := resolv("nameserver 127.0.0.53\nnameserver ::1\nsearch example\n")
	if strings.Contains(loopback, "127.0.0.53") || !strings.Contains(loopback, "nameserver") {
		t.Errorf("a loopback resolver is not replaced:\n%s", loopback)
	}
}

// Every network that was asked for, one interface each.
func TestTwoNetworks(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	makeNetwork(t, "br1", "--subnet", "10.89.0.0/24")
	c := sleeper(t, "both", "--network", "br0", "--network", "br1")
	inside := links(t, "both")
	equal(t, "eth0", inside["eth0"].ipv4(), "10.88.0.2/24")
	equal(t, "eth1", inside["eth1"].ipv4(), "10.89.0.2/24")
	equal(t, "one default route", strings.Count(c.in("ip route show default"), "default"), 1)
}
