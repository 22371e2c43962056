package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dump writes down all of the network that a host has, in JSON where the tools know it: links, addresses, routes, ports of bridges,
// rules of both kinds, and every setting of every link. What must differ is taken out: numbers of links, ids of endpoints,
// random MAC addresses, what changes by itself.
const dump = `
dump() {
	local gone='del(.ifindex, .link_index, .link_netnsid, .link, .operstate, .stats64, .valid_life_time, .preferred_life_time, .promiscuity, .netns)'
	for i in $(seq 600); do bridge link show | grep -q "state disabled" || break; sleep 0.1; done # until the kernel has seen that the cables are plugged in
	ip -j -d link show | jq -cS ".[] | walk(if type == \"object\" then $gone else . end)
		| if .linkinfo.info_kind == \"veth\" then del(.address) else . end
		| if .linkinfo.info_data then .linkinfo.info_data |= with_entries(select(.key | test(\"timer|root_id|bridge_id\") | not)) else . end
		| if .linkinfo.info_slave_data then .linkinfo.info_slave_data |= with_entries(select(.key | test(\"timer|bridge_id|^id$|^no$|designated\") | not)) else . end
		| .flags -= [\"LOWER_UP\", \"NO-CARRIER\"]"
	for ns in "" $(ip netns list | awk '{print $1}' | grep -v neighbour); do
		for family in -4 -6; do
			ip ${ns:+-n $ns} -j $family addr show | jq -cS ".[] | [.ifname, ((.addr_info // [])[] | select(.scope != \"link\") | $gone | del(.tentative))]"
			ip ${ns:+-n $ns} -j $family route show table all | jq -cS '.[] | select((.dst | test("^(fe80|ff00|multicast)") | not) and .type != "anycast") | del(.flags)'
		done
		[ -z "$ns" ] || ip -n $ns -j -d link show | jq -cS ".[] | walk(if type == \"object\" then $gone else . end) | .flags -= [\"LOWER_UP\"]"
	done
	bridge -j -d link show | jq -cS ".[] | $gone | del(.flags, .state)"
	iptables-save; ip6tables-save
	nft -j list ruleset | jq -cS '.nftables[] | select(.metainfo | not) | select((.[].family // "") != "bridge") | walk(if type == "object" then del(.handle, .counter) else . end)
		| if .rule.comment then (if (.rule.comment | test("^mydocker [0-9a-f]{12}$")) then del(.rule.comment) else . end) else . end
		| if .map.elem then .map.elem |= sort_by(tostring) else . end'
	nft --debug=netlink list table bridge mydocker | sed '/^table bridge/,$d; s/^\(bridge mydocker [a-z]*\) .*/\1/; /^ *userdata/d; /^$/d' |
		sed 's/\(element [0-9a-f]\{8\}\) [0-9a-f]\{8\} [0-9a-f]\{8\} [0-9a-f]\{8\}/\1 LINK/' | sort
	(cd /proc/sys/net; grep -H . ipv4/ip_forward ipv4/conf/*/* ipv6/conf/*/* bridge/* 2>/dev/null || :)
	for ns in $(ip netns list | awk '{print $1}' | grep -v neighbour); do
		ip netns exec $ns sh -c 'cd /proc/sys/net; grep -H . ipv4/conf/*/* ipv6/conf/*/* 2>/dev/null || :' | sed "s/^/in $ns: /"
	done
}
`

func settled(text string) string {
	for _, r := range [][2]string{
		{`(?m)^#.*\n`, ""}, {`\[\d+:\d+\]`, ""}, {`veth[0-9a-f]+`, "veth"}, {` [0-9a-f]{12}"`, ` ID"`}, {`(?m)^.*/(stable_secret|neigh).*\n`, ""},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// What --dry-run prints, run by a person on a clean host, makes the same network as mydocker makes on another: by every
// tool's account, with either backend.
func TestDryRunMakesTheSameNetwork(t *testing.T) {
	const network = `network create --subnet 10.88.0.0/24 --gateway 10.88.0.254 --ip-range 10.88.0.64/26 --subnet fd00:88::/64 -o com.docker.network.driver.mtu=1400 -o com.docker.network.bridge.enable_icc=false br0`
	const others = `m network create --subnet 10.89.0.0/24 -o com.docker.network.bridge.name=lan0 -o com.docker.network.bridge.enable_ip_masquerade=false -o mydocker.bridge.guard=false br1
		m network create --internal --ipv6 --subnet 10.90.0.0/24 --subnet fd00:90::/64 in0
		m network create -d macvlan --subnet 10.77.0.0/24 -o parent=eth0 mv0`
	place := strings.Join(strings.Fields(`--name web --network name=br0,ip=10.88.0.7,mac-address=02:00:00:00:00:77 --network name=br1,gw-priority=1,driver-opt=com.docker.network.endpoint.ifname=wan --network in0 --network mv0 --net-rate 10mbit --net-burst 64k
		-p 8080:80 -p 127.0.0.1:8443:443 -p [fd99::1]:8081:80 -p [::1]:8082:80 -p 9000-9009:7000-7009/udp busybox sleep 3600`), " ")
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			dir := t.TempDir()
			on := func(script string) {
				t.Helper()
				cmd := exec.Command("../in-namespace.sh", "bash", "-euc", dump+"m() { $MYDOCKER --firewall "+backend+" \"$@\"; }; cd "+dir+"\n"+script)
				cmd.Env = append(os.Environ(), "MYDOCKER="+binary, "TMPDIR=/var/tmp")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", script, err, out)
				}
			}
			on(`m image bootstrap >/dev/null; m ` + strings.Replace(network, "create", "create --dry-run", 1) + ` > network.sh
				m ` + network + `
				dump > network.made
				` + others + `
				m run --dry-run ` + place + ` > run.sh
				m run -d ` + place + `
				dump > run.made; cp run.made plan.made
				m network plan br0 br1 in0 mv0 > plan.sh
				m rm -f web; m network rm br0 br1 in0 mv0`)
			on(`sh network.sh; dump > network.scripted`)
			on(`sh run.sh; dump > run.scripted`)
			on(`sh plan.sh; dump > plan.scripted`)
			for _, what := range []string{"network", "run", "plan"} {
				read := func(ending string) string {
					data, err := os.ReadFile(dir + "/" + what + ending)
					if err != nil {
						t.Fatal(err)
					}
					return string(data)
				}
				made, scripted := settled(read(".made")), settled(read(".scripted"))
				if len(made) < 1000 || !strings.Contains(made, "br0") {
					t.Fatalf("this says nothing of a network:\n%s", made)
				}
				if made != scripted {
					t.Errorf("the script of `%s` makes another network (- mydocker, + script):\n%s\n%s", what, difference(made, scripted), read(".sh"))
				}
			}
		})
	}
}

func difference(a, b string) string {
	was, is := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	for _, l := range was {
		if !slices.Contains(is, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}
