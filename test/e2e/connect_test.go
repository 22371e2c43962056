package e2e

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// connect and disconnect with every option, on containers that run and that do not.
func TestConnectOptions(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "front", "--subnet", "10.81.0.0/24")
	makeNetwork(t, "back", "--subnet", "10.82.0.0/24", "--ipv6", "--subnet", "fd82::/64")
	db := sleeper(t, "db", "-net", "back", "--dns", "10.99.0.1") // nobody serves names there, and says so at once
	must(t, "create", "--name", "late", "-net", "front", "busybox", "sleep", "1000")
	t.Cleanup(func() { my(t, "rm", "-f", "late") })
	late := &ctr{t: t, name: "late"}

	refused(t, 1, []string{"10.9.9.9", "10.82.0.0/24"}, "network", "connect", "--ip", "10.9.9.9", "back", "late")
	for address, owner := range map[string]string{"10.82.0.0": "the network itself", "10.82.0.255": "the network itself", "10.82.0.1": "the gateway"} {
		refused(t, 1, []string{address, "in use by " + owner}, "network", "connect", "--ip", address, "back", "late")
	}
	refused(t, 1, []string{"--ip6", "front"}, "network", "connect", "--ip6", "fd82::9", "front", "db")
	refused(t, 1, []string{"nobody"}, "network", "connect", "--link", "nobody:x", "back", "late")
	for _, when := range []string{"stopped", "running"} {
		must(t, "network", "connect", "--ip", "10.82.0.77", "--ip6", "fd82::77", "--alias", "tardy", "--link", "db:store", "back", "late")
		refused(t, 1, []string{"already connected", "back"}, "network", "connect", "back", "late")
		asked := func() string {
			return late.inspect(`{{json (index .NetworkSettings.Networks "back").IPAMConfig}}`)
		}
		const want = `{"IPv4Address":"10.82.0.77","IPv6Address":"fd82::77"}`
		equal(t, when+": what was asked for", asked(), want)
		if when == "stopped" {
			must(t, "start", "late")
			equal(t, "started: what was asked for", asked(), want)
		}
		becomes(t, when+": interfaces in order", `(?s)eth0\S+ +UP +10\.81\.0\.2/24.*eth1\S+ +UP +10\.82\.0\.77/24 fd82::77/64`, // the kernel notes that a link is up a moment later
			func() string { return sh(t, "ip -n late -br addr show") })
		match(t, when+": the default route is the first network's", sh(t, "ip -n late route"), `^default via 10\.81\.0\.1 dev eth0`)
		for _, name := range []string{"late", "tardy", "tardy.back", "late.back", must(t, "inspect", "-f", "{{.Id}}", "late")[:12]} {
			match(t, when+": "+name, db.sh("nslookup "+name+" || :"), `10\.82\.0\.77`)
		}
		match(t, when+": AAAA", db.sh("nslookup -type=aaaa tardy"), `fd82::77`)
		match(t, when+": PTR", db.sh("nslookup 10.82.0.77"), `name = late\.back`)
		match(t, when+": link", late.exec("cat", "/etc/hosts"), `(?m)^10\.82\.0\.\d+\tstore `+db.id[:12]+` db$`)
		late.exec("ping", "-c1", "-W20", "store")
		for _, name := range []string{"store", "store.back"} { // what the link calls it is a name for this container alone
			match(t, when+": "+name, late.sh("nslookup "+name+" || :"), regexp.QuoteMeta(db.inspect(`{{.NetworkSettings.Networks.back.IPAddress}}`)))
		}

		must(t, "network", "disconnect", "back", "late")
		equal(t, when+": after disconnect", sh(t, "ip -n late -br link | grep -c eth"), "1")
		if out := db.sh("nslookup tardy 2>&1 || :"); strings.Contains(out, "10.82.0.77") {
			t.Errorf("%s: the name is still answered after disconnect: %s", when, out)
		}
		if hosts := late.exec("cat", "/etc/hosts"); strings.Contains(hosts, "10.82.0.77") {
			t.Errorf("%s: the address is still in /etc/hosts:\n%s", when, hosts)
		}
		refused(t, 1, []string{"not connected", "back"}, "network", "disconnect", "back", "late")
		refused(t, 1, []string{"not connected", "back"}, "network", "disconnect", "-f", "back", "late")
	}
	// The last network, and back from none.
	must(t, "network", "disconnect", "front", "late")
	equal(t, "no network", sh(t, "ip -n late -br link | grep -c eth || :"), "0")
	must(t, "network", "connect", "back", "late")
	match(t, "another network", sh(t, "ip -n late route"), `^default via 10\.82\.0\.1 dev eth0`)
	refused(t, 1, []string{"host"}, "network", "connect", "host", "late")
}

// Who is on none is on no other network, and can leave it; who is in the host's namespace, or in another container's, stays there.
func TestConnectToNone(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "web-net", "--subnet", "10.83.0.0/24")
	plugged := sleeper(t, "plugged", "-net", "web-net")
	must(t, "create", "--name", "alone", "--network", "none", "busybox", "sleep", "1000")
	t.Cleanup(func() { my(t, "rm", "-f", "alone") })
	alone := &ctr{t: t, name: "alone"}
	networks := func() string {
		return strings.Join(strings.Fields(alone.inspect(`{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}`)), " ")
	}
	for _, when := range []string{"stopped", "running"} {
		equal(t, when+": networks", networks(), "none")
		refused(t, 1, []string{"alone", "beside none", "network disconnect none alone"}, "network", "connect", "web-net", "alone")
		refused(t, 1, []string{"already connected to network none"}, "network", "connect", "none", "alone")
		must(t, "network", "disconnect", "none", "alone")
		refused(t, 1, []string{"not connected to network none"}, "network", "disconnect", "none", "alone")
		equal(t, when+": off none", networks()+must(t, "ps", "-a", "--filter", "name=alone", "--format", "{{.Networks}}"), "")
		must(t, "network", "connect", "web-net", "alone")
		equal(t, when+": on the other", networks(), "web-net")
		refused(t, 1, []string{"network none beside another"}, "network", "connect", "none", "alone")
		if when == "running" {
			alone.exec("ping", "-c1", "-W20", "plugged")
		}
		must(t, "network", "disconnect", "web-net", "alone")
		must(t, "network", "connect", "none", "alone")
		if when == "stopped" {
			must(t, "start", "alone")
		}
		equal(t, when+": links", alone.exec("ls", "/sys/class/net"), "lo")
	}
	var events []string
	for line := range strings.Lines(must(t, "events", "--since", "10m", "--until", "0s", "-f", "type=network", "-f", "network=none", "--format", `{{.Action}} {{.Actor.Attributes.container}}`)) {
		if action, id, _ := strings.Cut(strings.TrimSpace(line), " "); id == alone.inspect("{{.Id}}") {
			events = append(events, action)
		}
	}
	equal(t, "events", strings.Join(events, " "), "disconnect connect connect disconnect connect")

	sleeper(t, "in-host", "--network", "host")
	sleeper(t, "guest", "--network", "container:plugged")
	for _, name := range []string{"in-host", "guest"} {
		refused(t, 1, []string{name, "cannot be connected to any other"}, "network", "connect", "web-net", name)
	}
	refused(t, 1, []string{"in-host", "cannot be disconnected"}, "network", "disconnect", "host", "in-host")
	refused(t, 1, []string{"not connected to network web-net"}, "network", "disconnect", "web-net", "guest")
	equal(t, "ping", plugged.exec("ping", "-c1", "-W20", "plugged")[:4], "PING")
}

// What force is for: a container that is gone, or a network.
func TestDisconnectWhatIsGone(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "old", "--subnet", "10.84.0.0/24")
	must(t, "create", "--name", "late", "-net", "old", "busybox", "sleep", "1000")
	t.Cleanup(func() { my(t, "rm", "-f", "late") })
	refused(t, 1, []string{"nobody"}, "network", "disconnect", "-f", "old", "nobody")
	equal(t, "rm -f names what was removed", must(t, "network", "rm", "-f", "nonet", "old"), "old")
	refused(t, 1, []string{"network old not found"}, "start", "late")
	refused(t, 1, []string{"network other not found"}, "network", "disconnect", "other", "late")
	must(t, "network", "disconnect", "-f", "old", "late")
	must(t, "start", "late")
	equal(t, "links", (&ctr{t: t, name: "late"}).exec("ls", "/sys/class/net"), "lo")

	// A record of its attachment that has outlived a container.
	makeNetwork(t, "old", "--subnet", "10.84.0.0/24")
	ghost := sleeper(t, "ghost", "-net", "old")
	record := must(t, "network", "inspect", "-f", "{{.Id}}", "old") + "/" + ghost.id
	record = strings.TrimPrefix(sh(t, "ls /run/mydocker/endpoints/"+record+"*"), "/run/mydocker/endpoints/")
	kept := sh(t, "cat /run/mydocker/endpoints/"+record)
	must(t, "rm", "-f", "ghost")
	if err := os.WriteFile("/run/mydocker/endpoints/"+record, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, 1, []string{"ghost"}, "network", "disconnect", "old", "ghost")
	must(t, "network", "disconnect", "-f", "old", "ghost")
	if _, err := os.Stat("/run/mydocker/endpoints/" + record); err == nil {
		t.Error("the record of a container that is gone is still there")
	}
}

// Several --network, in the order in which they are given.
func TestNetworksInOrder(t *testing.T) {
	cleanHost(t)
	flags := []string{}
	for _, n := range []string{"zz", "mm", "aa"} {
		makeNetwork(t, n, "--subnet", "10.9"+map[string]string{"zz": "1", "mm": "2", "aa": "3"}[n]+".0.0/24")
		flags = append(flags, "--network", n)
	}
	flags[3] = "name=mm,alias=middle,ip=10.92.0.9,mac-address=02:00:00:00:00:09"
	c := sleeper(t, "ordered", flags...)
	for range 2 {
		becomes(t, "interfaces", `(?s)eth0\S+ +UP +10\.91\.0\.\d+/24.*eth1\S+ +UP +10\.92\.0\.9/24.*eth2\S+ +UP +10\.93\.0\.\d+/24`, func() string { return sh(t, "ip -n ordered -br addr") })
		equal(t, "MAC", links(t, "ordered")["eth1"].MAC, "02:00:00:00:00:09")
		must(t, "restart", "-t", "0", c.name)
	}
	equal(t, "ps --filter network", must(t, "ps", "--filter", "network=mm", "--format", "{{.Names}}"), "ordered")
	refused(t, 125, []string{"multiple"}, "run", "--rm", "--network", "aa", "--network", "aa", "busybox", "true")
	refused(t, 125, []string{"host"}, "run", "--rm", "--network", "aa", "--network", "host", "busybox", "true")
}

// A namespace that somebody else has made, by its path.
func TestForeignNamespace(t *testing.T) {
	cleanHost(t)
	sh(t, "ip netns add theirs && ip -n theirs link set lo up && ip -n theirs link add v0 type veth peer name v1 && ip -n theirs addr add 10.7.7.7/24 dev v0")
	t.Cleanup(func() { sh(t, "ip netns del theirs") })
	match(t, "their links", see(t, "--net", "ns:/run/netns/theirs", "busybox", "ip", "addr", "show", "v0"), `inet 10\.7\.7\.7/24`)
	c := sleeper(t, "guest", "--net", "ns:/run/netns/theirs")
	equal(t, "one namespace", sh(t, "readlink /proc/"+c.inspect("{{.State.Pid}}")+"/ns/net | tr -dc 0-9"), sh(t, "stat -L -c %i /run/netns/theirs"))
	must(t, "rm", "-f", "guest")
	match(t, "it is theirs still", sh(t, "ip -n theirs addr"), `10\.7\.7\.7`)
	refused(t, 125, []string{"ns:/run/netns/none"}, "run", "--rm", "--net", "ns:/run/netns/none", "busybox", "true")
	refused(t, 1, []string{"shares"}, "network", "connect", "bridge", must(t, "create", "--name", "guest2", "--net", "ns:/run/netns/theirs", "busybox", "true"))
	must(t, "rm", "guest2")
}

// A subnet that the host uses is refused, and who uses it is named: routes of every table, other networks.
func TestClashIsNamed(t *testing.T) {
	cleanHost(t)
	sh(t, "ip route add 10.77.0.0/16 via 10.99.0.2 table 99; ip -6 route add fd78::/32 dev eth0; ip route add blackhole 10.79.0.0/16")
	t.Cleanup(func() {
		sh(t, "ip route del 10.77.0.0/16 table 99; ip -6 route del fd78::/32; ip route del blackhole 10.79.0.0/16")
	})
	makeNetwork(t, "holder", "--subnet", "10.76.0.0/16")
	refused(t, 1, []string{"10.77.3.0/24", "route 10.77.0.0/16 via 10.99.0.2 dev eth0 table 99"}, "network", "create", "--subnet", "10.77.3.0/24", "clash")
	refused(t, 1, []string{"fd78:0:1::/64", "route fd78::/32 dev eth0"}, "network", "create", "--subnet", "fd78:0:1::/64", "clash")
	refused(t, 1, []string{"10.79.0.0/16"}, "network", "create", "--subnet", "10.79.0.0/24", "clash")
	refused(t, 1, []string{"network holder", "10.76.0.0/16"}, "network", "create", "--subnet", "10.76.9.0/24", "clash")
	refused(t, 1, []string{"10.99.0.0/24", "eth0"}, "network", "create", "--subnet", "10.99.0.128/25", "clash")
}

// Filters, formats and what prune takes.
func TestNetworkListing(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "red-1", "--label", "color=red", "--attachable")
	makeNetwork(t, "red-2", "--label", "color=red")
	makeNetwork(t, "blue", "--label", "color=blue", "--internal")
	names := func(flags ...string) string {
		return strings.Join(strings.Fields(must(t, append([]string{"network", "ls", "--format", "{{.Name}}"}, flags...)...)), " ")
	}
	equal(t, "name", names("-f", "name=red"), "red-1 red-2")
	equal(t, "name as a pattern", names("-f", "name=^red-1$"), "red-1")
	equal(t, "label", names("-f", "label=color=blue"), "blue")
	equal(t, "label key, type", names("-f", "label=color", "-f", "type=custom"), "blue red-1 red-2")
	equal(t, "builtin", names("-f", "type=builtin"), "bridge host none")
	equal(t, "driver", names("-f", "driver=null"), "none")
	equal(t, "scope", names("-f", "scope=swarm"), "")
	equal(t, "id", names("-f", "id="+must(t, "network", "inspect", "-f", "{{.Id}}", "blue")[:10]), "blue")
	equal(t, "format", must(t, "network", "ls", "-f", "name=blue", "--format", `{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.IPv6}} {{.Label "color"}}`), "blue bridge local true false blue")
	equal(t, "options of IPAM", must(t, "network", "inspect", "-f", "{{json .IPAM.Options}}", "red-1", "bridge"), "{}\nnull")
	equal(t, "attachable", must(t, "network", "inspect", "-f", "{{.Attachable}}", "red-1"), "true")
	c := sleeper(t, "keeps", "-net", "red-2")
	equal(t, "dangling", names("-f", "dangling=true"), "blue red-1")
	match(t, "prune by label", must(t, "network", "prune", "-f", "--filter", "label=color=red"), `(?s)Deleted Networks:\s+red-1\s*$`)
	equal(t, "what is left", names("-f", "type=custom"), "blue red-2")
	must(t, "network", "prune", "-f")
	equal(t, "what is in use is left", names("-f", "type=custom"), "red-2")
	must(t, "rm", "-f", c.name)
	must(t, "network", "rm", "red-2")
}

// The configuration file changes the default network under running containers: none is lost, who comes and who starts anew is where
// the file says, by whichever process he is started.
func TestDefaultNetworkIsConfigured(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	must(t, "image", "bootstrap")
	c := web(t, "first", "-p", "8080:80")
	again := sleeper(t, "again", "--restart", "always")
	pid := c.pid()
	match(t, "before", c.ip(), `^172\.17\.`)
	sh(t, "mount -t tmpfs tmpfs /etc/mydocker 2>/dev/null || { mkdir -p /tmp/etc-up /tmp/etc-work; mount -t tmpfs tmpfs /tmp/etc-up; mkdir /tmp/etc-up/u /tmp/etc-up/w; mount -t overlay -o lowerdir=/etc,upperdir=/tmp/etc-up/u,workdir=/tmp/etc-up/w overlay /etc; mkdir -p /etc/mydocker; }")
	config := `{"bip": "192.168.1.1/24", "fixed-cidr": "192.168.1.0/25", "mtu": 1450, "default-gateway": "192.168.1.254", "dns": ["10.20.1.2", "10.20.1.3"],
		"default-address-pools": [{"base": "10.60.0.0/16", "size": 24}]}`
	if err := os.WriteFile("/etc/mydocker/daemon.json", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	r := my(t, "run", "-d", "--name", "second", "busybox", "sleep", "1000")
	equal(t, "exit status", r.code, 0)
	match(t, "warning", r.err, `network bridge has changed.*192\.168\.1\.0/25; again, first keep what they have until they start anew`)
	match(t, "whoever runs", c.ip(), `^172\.17\.`)
	equal(t, "its process", c.pid(), pid)
	equal(t, "its mtu", links(t, "first")["eth0"].MTU, 1450)
	equal(t, "its published port", mustGet(t, "http://127.0.0.1:8080/"), "page of first")
	equal(t, "from outside", neighbour(t, "busybox wget -qO - http://10.99.0.1:8080/"), "page of first")
	if err := syscall.Kill(again.pid(), syscall.SIGKILL); err != nil { // its monitor read the file before it was there
		t.Fatal(err)
	}
	again.becomes("{{.RestartCount}} {{.State.Status}}", "1 running")
	must(t, "restart", "-t", "0", "first")
	for _, name := range []string{"first", "second", "again"} {
		c := &ctr{t: t, name: name}
		match(t, name+": address", c.ip(), `^192\.168\.1\.([2-9]|[1-9]\d|1[01]\d|12[0-7])$`)
		match(t, name+": route", c.exec("ip", "route"), `default via 192\.168\.1\.254 dev eth0`)
		equal(t, name+": mtu", links(t, name)["eth0"].MTU, 1450)
		match(t, name+": resolv.conf", c.exec("cat", "/etc/resolv.conf"), `nameserver 10\.20\.1\.2\nnameserver 10\.20\.1\.3`)
	}
	must(t, "network", "inspect", "bridge")
	equal(t, "bridge", links(t, "")["mydocker0"].ipv4(), "192.168.1.1/24")
	makeNetwork(t, "pooled")
	equal(t, "pool", must(t, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "pooled"), "10.60.0.0/24")

}

// A configuration file that cannot be read is named by every command, and takes nothing from who runs: not from a monitor that is just
// making itself smaller, nor from one that starts its container again.
func TestConfigurationThatIsWrong(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	must(t, "image", "bootstrap")
	sh(t, "mount -t tmpfs tmpfs /etc/mydocker 2>/dev/null || { mkdir -p /tmp/etc-up; mount -t tmpfs tmpfs /tmp/etc-up; mkdir /tmp/etc-up/u /tmp/etc-up/w; mount -t overlay -o lowerdir=/etc,upperdir=/tmp/etc-up/u,workdir=/tmp/etc-up/w overlay /etc; mkdir -p /etc/mydocker; }")
	const config = `{"bip": "192.168.1.1/24", "dns": ["10.20.1.2"]`
	write(t, "/etc/mydocker/daemon.json", config+"}")
	c := web(t, "again", "--restart", "always", "-p", "8080:80")
	pid := c.pid()
	write(t, "/etc/mydocker/daemon.json", config+`, "fixed-cidr-v6": "fd00::/64"}`)
	for status, args := range map[int][]string{125: {"run", "--rm", "busybox", "true"}, 1: {"network", "ls"}} {
		r := my(t, args...)
		equal(t, strings.Join(args, " "), r.code, status)
		match(t, strings.Join(args, " "), r.err, `^mydocker: configuration file /etc/mydocker/daemon\.json: .*"fixed-cidr-v6" \(known are bip, fixed-cidr,.*\n$`)
	}
	monitor := func() string {
		return sh(t, "pgrep -f '^mydocker monitor [0-9a-f]{64} [0-9]+$' || :") // what a smaller one is called
	}
	eventually(t, func() string {
		if monitor() == "" {
			return "the monitor has not become a smaller one"
		}
		return ""
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		resp, err := http.Get("http://[::1]:8080/") // which the monitor serves
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		return ""
	})
	write(t, "/etc/mydocker/daemon.json", config+"}")
	c.becomes("{{.RestartCount}} {{.State.Status}}", "1 running")
	match(t, "address", c.ip(), `^192\.168\.1\.`)
	match(t, "resolv.conf", c.exec("cat", "/etc/resolv.conf"), `nameserver 10\.20\.1\.2`)
}
