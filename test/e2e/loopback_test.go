package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// loopbackAttack is a host on which another program has opened the way from the LAN to loopback addresses (route_localnet, as
// kube-proxy sets it), and a neighbour who routes 127.0.0.1, ::1 and the containers' subnets to it. Each line is a way and the
// status that curl gets, 000 for none.
const loopbackAttack = `
m() { $MYDOCKER "$@"; }
m image bootstrap >/dev/null
sysctl -qw net.ipv4.conf.eth0.route_localnet=1
ip netns exec neighbour sysctl -qw net.ipv4.conf.all.route_localnet=1
ip -n neighbour addr del 127.0.0.1/8 dev lo; ip -n neighbour route add 127.0.0.1 via 10.99.0.1 src 10.99.0.2
ip -n neighbour addr del ::1/128 dev lo; ip -n neighbour -6 route add ::1/128 via fd99::1
busybox httpd -f -p 127.0.0.1:631 -h /tmp & service=$!
get() { curl -s -o /dev/null -w '%{http_code}' --max-time $2 "$1" || :; }
near() { echo "$3 $1 $(ip netns exec neighbour bash -c "$(declare -f get); get '$1' $2")"; }
for try in $(seq 600); do [ "$(get http://127.0.0.1:631 1)" != 000 ] && break; sleep 0.1; done
near http://127.0.0.1:631 60 unprotected
for backend in iptables nftables; do for proxy in false true; do
	m network create --firewall $backend --ipv6 --subnet 10.77.0.0/24 --subnet fd00:77::/64 br0 >/dev/null
	m run -d --name web --net br0 --userland-proxy=$proxy -p 127.0.0.1:8081:80 -p '[::1]:8082:80' -p 10.99.0.1:8083:80 -p '[fd99::1]:8084:80' busybox \
		sh -c 'echo page >/index.html; exec httpd -f -p 80 -h /' >/dev/null
	for try in $(seq 600); do [ "$(get http://127.0.0.1:8081 60)$(get 'http://[::1]:8082' 60)" = 200200 ] && break; sleep 0.1; done
	ip -n neighbour route add 10.77.0.0/24 via 10.99.0.1; ip -n neighbour -6 route add fd00:77::/64 via fd99::1
	what="$backend,proxy=$proxy"
	echo "$what local $(get http://127.0.0.1:8081 60)"; echo "$what local6 $(get 'http://[::1]:8082' 60)"
	for url in http://10.99.0.1:8083 'http://[fd99::1]:8084'; do near $url 60 $what,open; done
	for url in http://127.0.0.1:8081 http://127.0.0.1:631 http://10.99.0.1:8081 'http://[::1]:8082' 'http://[fd99::1]:8082' http://10.77.0.1:8083 \
		http://10.77.0.1:8081 http://10.77.0.2 'http://[fd00:77::2]'; do near $url 0.3 $what,shut; done
	ip -n neighbour route del 10.77.0.0/24; ip -n neighbour -6 route del fd00:77::/64
	m rm -f web >/dev/null; m network rm br0 >/dev/null
done; done
kill $service
`

// What is published on a loopback or single address, and the host's own services there, cannot be reached by routing to them.
func TestLoopbackOverTheWire(t *testing.T) {
	cmd := exec.Command("../in-namespace.sh", "bash", "-euc", loopbackAttack)
	cmd.Env = append(os.Environ(), "MYDOCKER="+binary, "TMPDIR=/var/tmp")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 1+4*13 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		shut := strings.Contains(l, ",shut ")
		if reached := !strings.HasSuffix(l, " 000"); reached == shut {
			t.Errorf("%s", l)
		}
	}
}
