package lab_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/lab"
)

// The five texts whose commands the last five labs go through show 76 things that a learner types or sees. Each has its step: what is
// typed there, and what a check of the same step looks at.

// seen is where an item is done: the lab, a part of the step's title, what is typed, and what a check contains (regular expressions).
type seen struct{ lab, step, typed, checked string }

const (
	s0 = "bridge-network"
	s1 = "netns-practice"
	s2 = "docker-network"
	s3 = "seven-days"
	s4 = "container-network"
)

func seedItems() map[int][]seen {
	return map[int][]seen{
		1:  {{s0, "Namespaces and a bridge", `ip netns add ns0[\s\S]*ip netns list`, `has_netns ns0`}, {s4, "Let mydocker", `ip netns list`, `has_netns c1`}},
		2:  {{s0, "Addresses, and everything up", `ip netns exec ns0 ip -br addr`, `has_addr ns0`}, {s2, "namespaces of a container", `ip netns exec c1 ip -br addr`, `ANSWER`}},
		3:  {{s4, "An empty namespace", `nsenter --net=/var/run/netns/netns0 bash`, `nsenter --net=/var/run/netns/netns0`}},
		4:  {{s2, "namespaces of a container", `nsenter -t \$\(mydocker inspect -f '\{\{\.State\.Pid\}\}' c1\) -n ip a`, `pid_of c1`}},
		5:  {{s2, "namespaces of a container", `(?m)^lsns$`, `readlink`}, {s4, "A namespace without a name", `lsns -t net`, `ANSWER`}, {s4, "Let mydocker", `lsns -t net`, `lsns -t net -o NSFS`}},
		6:  {{s2, "namespaces of a container", `ls -la /proc/1/ns`, `/ns/\$ANSWER`}},
		7:  {{s2, "namespaces of a container", `c1\)/ns .* any\)/ns`, `pid_of any`}},
		8:  {{s1, "Inside", `ls /sys/class/net`, `has_link ns1 eth0`}, {s1, "Let mydocker", `mydocker exec c1 ls /sys/class/net`, `ls /sys/class/net`}},
		9:  {{s0, "Namespaces and a bridge", `ip link add docker1 type bridge[\s\S]*ip link list`, `is_bridge docker1`}, {s4, "The bridge", `ip link add br0 type bridge`, `is_port veth0 br0`}},
		10: {{s1, "The bridge", `brctl addbr br0[\s\S]*brctl show`, `is_bridge br0`}, {s1, "The other end", `brctl addif br0 br0.1`, `is_port br0.1 br0`}, {s2, "The bridge", `brctl show`, `is_bridge mydocker0`}},
		11: {{s1, "The bridge", `brctl stp br0 off`, `stp_state 0`}},
		12: {{s0, "Two cables", `ip link add veth0 type veth peer name veth0-br`, `has_link ns0 veth0`}, {s2, "The bridge", `ip a`, `ifindex`}},
		13: {{s0, "Two cables", `ip link set veth0 netns ns0`, `has_link ns0 veth0`}, {s2, "Wire a container", `ip link set vethb netns \$PID`, `dev eth0`}},
		14: {{s0, "Two cables", `ip link set veth0-br master docker1`, `is_port veth0-br docker1`}, {s4, "The bridge", `ip link set veth0 master br0`, `is_port veth0 br0`}},
		15: {{s1, "Inside", `ip link set dev veth-ns1 name eth0`, `has_link ns1 eth0`}, {s2, "Wire a container", `ip link set dev vethb name eth0`, `dev eth0`}},
		16: {{s0, "Addresses, and everything up", `ip link set docker1 up`, `link_up - docker1`}, {s1, "Inside", `ip link set dev lo up`, `link_up ns1 lo`}, {s4, "A cable to the host", `link set lo up`, `pings netns0 172.18.0.10`}},
		17: {{s0, "Addresses, and everything up", `ip -br link[\s\S]*ip -br addr`, `link_up`}},
		18: {{s0, "Addresses, and everything up", `ip addr add 172.18.0.2/24 dev veth0`, `has_addr ns0`}, {s2, "Wire a container", `172.100.0.2/255.255.0.0`, `inet 172.100.0.2/16`}, {s4, "The bridge", `ip addr del 172.18.0.11/16 dev veth0`, `addr show dev veth0`}},
		19: {{s1, "The bridge", `ifconfig br0 192.168.10.1/24 up[\s\S]*ifconfig br0`, `has_addr - br0`}, {s1, "Let mydocker", `mydocker exec c1 ifconfig`, `Mask:255`}, {s2, "The bridge", `ifconfig mydocker0`, `is_bridge mydocker0`}, {s3, "A cable and no bridge", `ifconfig veth1 172.15.0.1/24 up`, `has_addr ns1`}},
		20: {{s2, "The bridge", `mydocker exec c1 ip a`, `02:42:%02x`}},
		21: {{s1, "Inside", `ip route add default via 192.168.10.1`, `default_via ns1`}, {s2, "The bridge", `mydocker exec c1 ip route`, `default via 172.17.0.1`}, {s4, "Out:", `route add default via 172.18.0.1`, `default_via netns0`}},
		22: {{s3, "A cable and no bridge", `route add default dev veth1`, `dev veth1`}, {s3, "a route with the wrong dash", `route add –net 172.15.0.2/24 dev br0`, `172.15.0.0/24`}},
		23: {{s3, "A cable and no bridge", `ip link add veth1 type veth peer name veth2`, `pings ns1 172.15.0.2`}},
		24: {{s3, "the host's card in the bridge", `brctl addif br0 eth0[\s\S]*mydocker doctor|mydocker doctor`, `pings - 10.99.0.2`}},
		25: {{s4, "A second one", `ip route`, `"\$ANSWER" = veth0`}, {s4, "The bridge", `ip addr del`, `pings netns0 172.18.0.20`}},
		26: {{s4, "The host is left out", `ip addr add 172.18.0.1/16 dev br0`, `has_addr - br0`}},
		27: {{s0, "Addresses, and everything up", `ping -c 2 172.18.0.2`, `pings ns0 172.18.0.3`}, {s4, "The host is left out", `ping -c 1 172.18.0.10`, `pings - 172.18.0.20`}, {s4, "The bridge", `netns1 ping -c 1 172.18.0.10`, `pings netns0`}, {s1, "The other end", `ping -c 1 192.168.10.11`, `pings - 192.168.10.11`}},
		28: {{s4, "Out:", `mydocker doctor netns0`, `default_via`}, {s4, "An empty namespace", `ping -c 1 203.0.113.9`, `has_netns`}},
		29: {{s0, "The second aim", `sysctl -w net.ipv4.ip_forward=1`, `forwarding`}, {s1, "Out", `echo 1 > /proc/sys/net/ipv4/ip_forward`, `forwarding`}, {s2, "Out:", `sysctl net.ipv4.ip_forward`, `forwarding`}, {s3, "MASQUERADE", `net.ipv4.conf.all.forwarding=1`, `forwarding`}, {s4, "Out:", `echo 1 > /proc/sys/net/ipv4/ip_forward`, `forwarding`}},
		30: {{s1, "Out", `POSTROUTING -s 192.168.10.0/24 -o eth0 -j MASQUERADE`, `(?m)^hides `}, {s3, "MASQUERADE", `POSTROUTING -s 172.15.0.0/24 -o eth0 -j MASQUERADE`, `(?m)^hides `}},
		31: {{s2, "Out:", `iptables -tnat -nvL POSTROUTING`, `! -o mydocker0 .*MASQUERADE`}, {s4, "Out:", `! -o br0 -j MASQUERADE`, `hides_leaving br0`}},
		32: {{s2, "Out:", `mydocker trace c1 203.0.113.80:80`, `10.99.0.1`}},
		33: {{s0, "The second aim", `ping -c 1 10.99.0.2`, `pings ns1 203.0.113.9`}, {s4, "Out:", `ping -c 1 203.0.113.9`, `pings netns1 203.0.113.9`}},
		34: {{s0, "The second aim", `ping -c 1 10.99.0.2`, `pings ns0 10.99.0.2`}, {s2, "In: -p 80:80", `on lan curl`, `answers lan`}},
		35: {{s0, "Docker comes to live here", `docker1`, `policy FORWARD DROP`}, {s4, "too wide", `br0`, `policy FORWARD DROP`}, {s0, "Let mydocker", `ip netns exec c0 ping`, `ping -c 1`}},
		36: {{s4, "In: DNAT", `PREROUTING -i eth0 -p tcp --dport 1234 -j DNAT --to 172.18.0.10:11211`, `rule nat PREROUTING`}},
		37: {{s4, "In: DNAT", `OUTPUT -d 10.99.0.1`, `no_rule nat OUTPUT`}},
		38: {{s3, "DNAT in the wrong chain", `PREROUTING`, `no_rule nat POSTROUTING DNAT`}},
		39: {{s2, "In: -p 80:80", `iptables -t nat -nvL`, `dst-type LOCAL -j MYDOCKER`}},
		40: {{s2, "In: -p 80:80", `exec web wget`, `exec web wget`}},
		41: {{s2, "In: -p 80:80", `-p 80:80`, `answers host http://127.0.0.1/`}},
		42: {{s2, "In: -P", `-P nginx`, `ip_local_port_range`}},
		43: {{s2, "Who listens", `netstat -nltp`, `netstat -nlt`}},
		44: {{s2, "Two tiers by --link", `mydocker ps`, `33060/tcp`}},
		45: {{s2, "When the subnet is taken", `run -d --name again`, `vpn 172.17.0.5/16`}, {s2, "The bridge", `ifconfig mydocker0`, `is_bridge mydocker0`}},
		46: {{s2, "Addresses come and go", `rm -f`, `IPAddress`}},
		47: {{s2, "Another default bridge", `fixed-cidr`, `10.20.1.2`}},
		48: {{s2, "Host and none", `--net=host`, `IPAddress`}},
		49: {{s2, "The bridge", `mydocker run -d --name c1`, `on_net c1 bridge`}},
		50: {{s2, "Host and none", `--network=none busybox`, `ip -o link \| wc -l`}},
		51: {{s2, "Wire a container", `ln -s /proc/\$PID/ns/net /var/run/netns/\$PID`, `pings - 172.100.0.2`}},
		52: {{s2, "network of their own", `network create wp-net`, `on_net wordpress wp-net`}},
		53: {{s2, "Wire a container", `network create -d bridge --subnet 172.100.0.0/16 net0`, `172.100.0.1/16`}},
		54: {{s2, "network of their own", `network ls`, `network ls`}},
		55: {{s2, "Wire a container", `network inspect net0`, `EnableIPv6`}},
		56: {{s2, "network of their own", `nslookup db_wordpress`, `nslookup db_wordpress`}},
		57: {{s2, "network of their own", `exec c1 nslookup web`, `not mydocker exec c1 nslookup web`}},
		58: {{s2, "Two tiers by --link", `--link db_wordpress`, `db_wordpress \[0-9a-f\]\{12\}`}},
		59: {{s2, "network of their own", `cat /etc/hosts`, `= 7`}},
		60: {{s2, "Two tiers by --link", `--restart always.* -e .* -e .* -p `, `running db_wordpress`}, {s2, "Host and none", `run -it --rm`, `running n1`}, {s2, "Killed, and there again", `kill -9`, `RestartCount`}},
		61: {{s2, "A client to talk to", `mysql-client -uroot -pwordpress -hdb_wordpress`, `Args`}},
		62: {{s2, "The bridge", `mydocker ps`, `running c1`}, {s2, "whose id", `mydocker ps`, `ANSWER`}},
		63: {{s2, "A client to talk to", `mydocker attach client`, `logs client`}},
		64: {{s2, "In: -p 80:80", `logs -f web`, `logs -f web`}},
		65: {{s2, "Two tiers by --link", `exec -it wordpress cat /etc/hosts`, `mydocker exec wordpress`}},
		66: {{s2, "namespaces of a container", `inspect c1 \| grep -i pid`, `pid_of c1`}, {s2, "Addresses come and go", `grep -i ipaddr`, `IPAddress`}},
		67: {{s2, "Images from a registry", `pull localhost:5000/xxhf/mysql:5.7[\s\S]*tag localhost:5000/xxhf/mysql:5.7 mysql:5.7`, `image inspect`}},
		68: {{s2, "Images from a registry", `mysql-client`, `mysql-client`}, {s2, "The bridge", `nginx:1.22.1`, `running c1`}},
		69: {{s2, "Two tiers by --link", `wordpress:php7.4`, `database db_wordpress`}, {s2, "network of their own", `wordpress:php7.4`, `database db_wordpress`}},
		70: {{s2, "In: -p 80:80", `logs web`, `10\\\.99\\\.0\\\.2`}},
		71: {{s2, "Addresses come and go", `\$\{ID:0:12\}`, `cut -c1-12`}},
		72: {{s2, "Host and none", `--net=host`, `for kind in pid mnt`}},
		73: {{s2, "how many kinds", `ls /proc/self/ns`, `pid user uts ipc mnt net`}},
		74: {{s3, "A cable and no bridge", `veth1`, `ns1`}, {s3, "MASQUERADE", `MASQUERADE`, `(?m)^hides `}, {s3, "DNAT in the wrong chain", `DNAT`, `DNAT`}},
		75: {{s4, "A namespace without a name", `nsenter --net=/run/docker/netns/`, `172.19.0.7`}, {s4, "A namespace without a name", `explain netns`, `ANSWER`}},
		76: {{s4, "A cable to the host", `mydocker topology`, `pings`}, {s4, "A second one", `mydocker topology`, `has_addr`}, {s4, "The bridge", `mydocker topology`, `is_port`}, {s4, "The host is left out", `mydocker topology`, `has_addr`}, {s2, "network of their own", `mydocker topology`, `on_net`}},
	}
}

// seedMistakes are what the texts themselves have wrong: each is a step in which the student finds it, and an answer or cure that falls
// for it is told so.
func seedMistakes() map[string]seen {
	return map[string]seen{
		"lo is left down":                          {s0, "one link was forgotten", ``, `link_up ns0 lo`},
		"the second aim is never reached":          {s0, "The second aim", ``, `pings ns1 203.0.113.9`},
		"ns0 and ns1 are mixed up":                 {s1, "which namespace", ``, `ANSWER`},
		"docker pull is left out":                  {s2, "Images from a registry", `(?m)^localhost:5000`, `image inspect`},
		"-P up to 65535":                           {s2, "In: -P", ``, `ip_local_port_range`},
		"the container's id changes":               {s2, "whose id", ``, `18722c02cb87`},
		"six kinds of namespaces":                  {s2, "how many kinds", ``, `cgroup`},
		"172.100/16 is not private":                {s2, "Wire a container", `172.100.0.0/16`, `172.100.0.1/16`},
		"outside is only pinged from the host":     {s2, "Wire a container", ``, `203.0.113.9`},
		"default-gateway that nobody has":          {s2, "Another default bridge", ``, `203.0.113.9`},
		"172.15/16 is not private":                 {s3, "whose addresses", ``, `= 16`},
		"a bridge has two ports":                   {s3, "how many ports", ``, `= 3`},
		"the host's card in the bridge":            {s3, "the host's card", ``, `10.99.0.2`},
		"typographic dash, and a host for a net":   {s3, "wrong dash", `–net`, `172.15.0.0/24`},
		"DNAT in POSTROUTING":                      {s3, "wrong chain", ``, `no_rule nat POSTROUTING DNAT`},
		"the route says veth0 for ceth0":           {s4, "link that is elsewhere", `ip route`, `ANSWER`},
		"FORWARD ACCEPT is too wide":               {s4, "too wide", ``, `policy FORWARD DROP`},
		"the OUTPUT rule has unrelated addresses":  {s4, "In: DNAT", ``, `154`},
		"Docker's namespaces are not in the list":  {s4, "without a name", ``, `172.19.0.7`},
		"two addresses of one subnet, no bridge":   {s4, "A second one", ``, `veth0`},
		"FORWARD DROP where Docker has been found": {s0, "Docker comes", ``, `policy FORWARD DROP`},
	}
}

// checkSeen wants the step to be there, whole, in both languages.
func checkSeen(t *testing.T, what string, s seen) {
	t.Helper()
	en, err := lab.Library{Language: "en"}.Load(s.lab)
	must(t, err)
	zh, err := lab.Library{Language: "zh"}.Load(s.lab)
	must(t, err)
	var problem string
	for i, step := range en.Steps {
		if !strings.Contains(step.Title, s.step) {
			continue
		}
		typed := step.Text + "\n" + step.Commands + "\n" + step.Solution.Script
		var checks strings.Builder
		for _, c := range step.Checks {
			checks.WriteString(c.Script + "\n")
		}
		switch {
		case !regexp.MustCompile(s.typed).MatchString(typed):
			problem = fmt.Sprintf("the step %q has no %s to be typed", step.Title, s.typed)
		case !regexp.MustCompile(s.checked).MatchString(checks.String()):
			problem = fmt.Sprintf("no check of the step %q looks at %s", step.Title, s.checked)
		case len(step.Hints) == 0 || len(zh.Steps[i].Hints) == 0 || step.Solution == (lab.Answer{}) || zh.Steps[i].Text == step.Text:
			problem = fmt.Sprintf("the step %q is without a hint, a solution or a Chinese text", step.Title)
		default:
			return
		}
	}
	if problem == "" {
		problem = fmt.Sprintf("the lab %s has no step %q", s.lab, s.step)
	}
	t.Errorf("%s: %s", what, problem)
}

func TestEveryItemOfTheTextsHasItsStep(t *testing.T) {
	items := seedItems()
	for n := 1; n <= 76; n++ {
		if len(items[n]) == 0 {
			t.Errorf("item %d has no step", n)
		}
		for _, s := range items[n] {
			checkSeen(t, fmt.Sprint("item ", n), s)
		}
	}
	if len(items) != 76 {
		t.Errorf("%d items", len(items))
	}
}

func TestTheTextsOwnMistakesAreToBeFound(t *testing.T) {
	for what, s := range seedMistakes() {
		checkSeen(t, what, s)
		l, err := lab.Library{Language: "en"}.Load(s.lab)
		must(t, err)
		i := slices.IndexFunc(l.Steps, func(step lab.Step) bool { return strings.Contains(step.Title, s.step) })
		if i >= 0 && len(l.Steps[i].Wrong) == 0 {
			t.Errorf("%s: nobody tries what happens to those who fall for it", what)
		}
	}
}
