// Package explain is `mydocker explain TOPIC`: a screen of text about one thing of the kernel or of mydocker, with values of
// this machine as they are now, and where to read on in this program's source.
//
// It reads and never changes anything. The prose is in the catalogue (package lang, subject explain); what is shown with a topic is the
// table in this file. The places of the source are checked by a test, so they exist.
package explain

import (
	"slices"
	"strings"
)

// Topic is one thing that can be explained.
type Topic struct {
	Name    string
	Group   string   // network, container, mydocker
	Aliases []string // other words for it
	Live    []string // what to show of this machine: names in the table of live values
	Try     []string // commands that show it
	Read    []Place
	See     []string // other topics
}

// Place is a place in our source: a file, and functions or types in it.
type Place struct {
	File  string
	Names []string
}

func at(file string, names ...string) Place { return Place{file, names} }

// Topics are all topics, in an order in which they can be learned.
func Topics() []Topic { return slices.Concat(networkTopics(), containerTopics(), ourTopics()) }

func networkTopics() []Topic {
	topics := []Topic{
		{Name: "netns", Aliases: []string{"network-namespace", "namespace", "net"},
			Live: []string{"netns-self", "netns-count", "netns-pinned"},
			Try:  []string{"ip netns list", "lsns -t net", "ip -n web addr"},
			Read: []Place{at("network/sandbox.go", "CreateSandbox", "pinNamespace", "onLockedThread")}, See: []string{"veth", "pidns", "mounts"}},
		{Name: "veth", Aliases: []string{"cable", "pair", "peer"},
			Live: []string{"veths"}, Try: []string{"ip -d link show type veth", "ip -n web link", "ethtool -S veth0"},
			Read: []Place{at("network/veth.go", "addVeth", "message"), at("network/plan.go", "endpointPlan")}, See: []string{"netns", "bridge"}},
		{Name: "bridge", Aliases: []string{"switch", "br0", "brctl", "master"},
			Live: []string{"bridges", "bridge-nf"}, Try: []string{"ip link show type bridge", "bridge link", "bridge fdb show br br0"},
			Read: []Place{at("network/bridge.go", "addBridge"), at("network/bridgeport.go", "plugIn"), at("network/plan.go", "bridgePlan")}, See: []string{"veth", "routing", "hairpin"}},
		{Name: "ipam", Aliases: []string{"address", "addresses", "subnet", "dhcp", "ip"},
			Live: []string{"ipam-bitmaps", "addresses"}, Try: []string{"ls -l /run/mydocker/ipam", "mydocker network inspect br0"},
			Read: []Place{at("network/ipam.go", "openBitmap", "take", "release"), at("network/subnet.go", "chooseSubnet")}, See: []string{"routing", "records"}},
		{Name: "routing", Aliases: []string{"route", "routes", "gateway", "arp"},
			Live: []string{"routes"}, Try: []string{"ip route", "ip route get 198.51.100.1", "ip neigh"},
			Read: []Place{at("network/bridge.go", "addRoute", "addAddress"), at("network/plan.go", "routesFor")}, See: []string{"forwarding", "ipam"}},
		{Name: "forwarding", Aliases: []string{"forward", "ip_forward", "router"},
			Live: []string{"ip-forward", "forward-policy"}, Try: []string{"sysctl net.ipv4.ip_forward", "iptables -nvL FORWARD"},
			Read: []Place{at("network/sysctl.go", "forwarding", "restoreForwarding"), at("network/rules.go", "forward")}, See: []string{"routing", "iptables", "snat"}},
		{Name: "snat", Aliases: []string{"masquerade", "nat", "outbound"},
			Live: []string{"masquerades", "ip-forward"}, Try: []string{"iptables -t nat -nvL POSTROUTING", "conntrack -L --src-nat"},
			Read: []Place{at("network/rules.go", "masquerade")}, See: []string{"dnat", "conntrack", "forwarding"}},
		{Name: "dnat", Aliases: []string{"publish", "published", "port-forwarding", "-p"},
			Live: []string{"dnats"}, Try: []string{"iptables -t nat -nvL PREROUTING", "iptables -t nat -S MYDOCKER", "mydocker port web"},
			Read: []Place{at("network/rules.go", "portHooks", "portRules", "destination")}, See: []string{"snat", "hairpin", "ports"}},
		{Name: "hairpin", Aliases: []string{"loopback-nat", "nat-loopback"},
			Live: []string{"hairpins"}, Try: []string{"bridge -d link", "iptables -t nat -S POSTROUTING"},
			Read: []Place{at("network/plan.go", "endpointPlan"), at("network/bridgeport.go", "bridgePort"), at("network/rules.go", "masquerade")}, See: []string{"dnat", "bridge"}},
		{Name: "ports", Aliases: []string{"port", "port-conflict"},
			Live: []string{"port-claims"}, Try: []string{"ls -lR /run/mydocker/ports", "ss -lntp"},
			Read: []Place{at("network/portclaim.go", "claimPorts", "claimPort"), at("network/reserve.go", "reserve", "portHolder")}, See: []string{"dnat", "monitor"}},
		{Name: "conntrack", Aliases: []string{"connection-tracking", "state", "established"},
			Live: []string{"conntrack-count", "conntrack-max"}, Try: []string{"conntrack -L", "conntrack -E"},
			Read: []Place{at("network/conntrack.go", "forgetFlows", "MatchConntrackFlow")}, See: []string{"snat", "dnat", "iptables"}},
		{Name: "iptables", Aliases: []string{"firewall", "netfilter", "chain", "rules"},
			Live: []string{"iptables-kind", "iptables-rules", "forward-policy"}, Try: []string{"iptables-save", "iptables -t nat -nvL --line-numbers"},
			Read: []Place{at("network/rules.go", "networkRules"), at("network/iptables.go", "batch"), at("network/iptables_diff.go", "diffRules")}, See: []string{"nftables", "forwarding", "conntrack"}},
		{Name: "nftables", Aliases: []string{"nft"},
			Live: []string{"nft-tables"}, Try: []string{"nft list tables", "nft list ruleset"},
			Read: []Place{at("network/nftrules.go", "nftChains", "nftMaps"), at("network/nftports.go", "changeElements")}, See: []string{"iptables", "dnat"}},
		{Name: "dns", Aliases: []string{"resolv.conf", "resolver", "names", "127.0.0.11"},
			Live: []string{"nameservers"}, Try: []string{"cat /etc/resolv.conf", "mydocker exec web nslookup db", "ip netns exec web ss -lnu"},
			Read: []Place{at("network/dns.go", "ServeDNS", "answer"), at("network/dnsredirect.go", "redirectDNS"), at("network/resolv.go", "Upstreams")}, See: []string{"monitor", "bridge"}},
	}
	return inGroup("network", topics)
}

func containerTopics() []Topic {
	topics := []Topic{
		{Name: "pidns", Aliases: []string{"pid", "pids", "process", "init", "zombie"},
			Live: []string{"pidns-self", "pidns-count"}, Try: []string{"lsns -t pid", "mydocker top web", "grep NSpid /proc/self/status"},
			Read: []Place{at("container/process.go", "launch", "namespaceFlags"), at("container/reaper.go", "reap")}, See: []string{"signals", "netns", "monitor"}},
		{Name: "mounts", Aliases: []string{"mount", "mountns", "volume", "bind", "propagation"},
			Live: []string{"mntns-self", "mount-count", "root-propagation"}, Try: []string{"findmnt -o TARGET,PROPAGATION", "mydocker exec web cat /proc/mounts"},
			Read: []Place{at("container/steps_build.go", "mounts", "mount"), at("container/masks.go", "maskPath", "readonlyPath")}, See: []string{"overlay", "pivot_root"}},
		{Name: "overlay", Aliases: []string{"overlayfs", "layers", "layer", "whiteout", "image"},
			Live: []string{"overlay-known", "layer-count"}, Try: []string{"mydocker history busybox", "mydocker diff web", "mydocker exec web head -1 /proc/mounts"},
			Read: []Place{at("image/snapshot.go", "Mount", "mountByParts"), at("image/whiteout.go", "whiteout"), at("image/commit.go", "Diff")}, See: []string{"mounts", "oci"}},
		{Name: "pivot_root", Aliases: []string{"pivot", "chroot", "root", "rootfs"},
			Live: []string{"root-mount"}, Try: []string{"ls -ld /proc/self/root", "mydocker exec web cat /proc/1/mountinfo"},
			Read: []Place{at("container/rootfs.go", "pivot", "chroot", "changeRoot")}, See: []string{"mounts", "overlay"}},
		{Name: "cgroup", Aliases: []string{"cgroups", "limits", "memory", "cpu", "oom"},
			Live: []string{"cgroup-version", "cgroup-controllers", "cgroup-self", "cgroup-containers"}, Try: []string{"cat /proc/self/cgroup", "mydocker stats --no-stream", "mydocker exec web cat /proc/self/cgroup"},
			Read: []Place{at("cgroups/v2_values.go", "V2Values"), at("cgroups/v1_values.go", "V1Values"), at("cgroups/v2.go", "Create", "Set")}, See: []string{"pidns", "capabilities"}},
		{Name: "capabilities", Aliases: []string{"caps", "capability", "privileged", "cap-add"},
			Live: []string{"caps-self", "caps-container"}, Try: []string{"grep Cap /proc/self/status", "capsh --decode=00000000a80425fb", "mydocker exec web grep Cap /proc/1/status"},
			Read: []Place{at("container/spec_caps.go", "DefaultCapabilities", "capabilitySets"), at("container/privileges.go", "capabilities", "boundingSet")}, See: []string{"seccomp", "userns"}},
		{Name: "seccomp", Aliases: []string{"syscalls", "bpf"},
			Live: []string{"seccomp-self", "seccomp-container"}, Try: []string{"grep Seccomp /proc/self/status", "mydocker exec web grep Seccomp /proc/1/status"},
			Read: []Place{at("container/spec_seccomp.go", "DefaultSeccomp"), at("container/filter.go", "loadFilter")}, See: []string{"capabilities"}},
		{Name: "userns", Aliases: []string{"user-namespace", "rootless", "uid_map", "subuid"},
			Live: []string{"userns-self", "uid-map", "userns-max"}, Try: []string{"cat /proc/self/uid_map", "unshare -Ur id -u"},
			Read: []Place{at("container/process.go", "mapUsers"), at("engine/userns.go", "remapping")}, See: []string{"capabilities", "netns"}},
		{Name: "signals", Aliases: []string{"signal", "stop", "kill", "sigterm", "exit-status"},
			Live: []string{"signals-container"}, Try: []string{"mydocker stop --time 3 web", "grep SigCgt /proc/self/status"},
			Read: []Place{at("container/signal.go", "openPid", "Kill"), at("engine/lifecycle.go", "Stop", "endProcess")}, See: []string{"pidns", "monitor"}},
	}
	return inGroup("container", topics)
}

func ourTopics() []Topic {
	topics := []Topic{
		{Name: "oci", Aliases: []string{"bundle", "runc", "runtime", "config.json"},
			Live: []string{"bundles"}, Try: []string{"mydocker oci features", "mydocker oci list", "cat /var/lib/mydocker/containers/*/config.json"},
			Read: []Place{at("container/create.go", "Create"), at("container/spec.go", "NewSpec"), at("engine/spec.go", "spec")}, See: []string{"monitor", "overlay"}},
		{Name: "monitor", Aliases: []string{"daemon", "daemonless", "shim", "supervisor"},
			Live: []string{"monitors"}, Try: []string{"ps -ef | grep mydocker", "mydocker ps"},
			Read: []Place{at("engine/monitor.go", "MonitorMain", "monitorContainer"), at("engine/lean.go", "becomeLean"), at("engine/release.go", "releaseKernel")}, See: []string{"records", "gc", "dns"}},
		{Name: "records", Aliases: []string{"record", "locks", "files"},
			Live: []string{"records-lib", "records-run"}, Try: []string{"find /var/lib/mydocker /run/mydocker -type f", "cat /run/mydocker/endpoints/*/*.json"},
			Read: []Place{at("state/state.go", "Replace", "Claim"), at("state/lock.go", "AcquireLock"), at("network/records.go", "readEndpoints")}, See: []string{"gc", "ipam"}},
		{Name: "plan", Aliases: []string{"operations", "step", "dry-run"},
			Try:  []string{"mydocker run --dry-run busybox", "mydocker network plan br0", "mydocker step run --rm busybox true"},
			Read: []Place{at("plan/plan.go", "Op", "Watcher", "Do"), at("network/plan.go", "bridgePlan", "endpointPlan")}, See: []string{"records", "gc"}},
		{Name: "gc", Aliases: []string{"garbage", "leftovers", "crash", "cleanup"},
			Live: []string{"records-run", "netns-pinned"}, Try: []string{"mydocker gc", "mydocker network sync --dry-run"},
			Read: []Place{at("engine/gc.go", "GC", "gcContainer"), at("network/gc.go", "GC")}, See: []string{"records", "monitor"}},
	}
	return inGroup("mydocker", topics)
}

func inGroup(group string, topics []Topic) []Topic {
	for i := range topics {
		topics[i].Group = group
	}
	return topics
}

// Find looks a topic up by its name or another word for it.
func Find(word string) (Topic, bool) {
	word = strings.ToLower(word)
	for _, t := range Topics() {
		if t.Name == word || slices.Contains(t.Aliases, word) {
			return t, true
		}
	}
	return Topic{}, false
}

// Words are all words that Find knows, names first.
func Words() (words []string) {
	for _, t := range Topics() {
		words = append(words, t.Name)
	}
	for _, t := range Topics() {
		words = append(words, t.Aliases...)
	}
	return words
}
