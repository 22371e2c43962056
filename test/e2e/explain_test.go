package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// --explain prints what is done as commands. The same commands show in the result: links, addresses, rules.
func TestExplain(t *testing.T) {
	cleanHost(t)
	r := my(t, "--explain", "network", "create", "--subnet", "10.88.0.0/24", "br0")
	t.Cleanup(func() { must(t, "network", "rm", "br0") })
	equal(t, "status: "+r.err, r.code, 0)
	for _, want := range []string{
		`(?m)^ip link add (name )?br0 .*type bridge`, `(?m)^ip addr(ess)? add 10\.88\.0\.1/24 .*dev br0`, `(?m)^ip link set .*br0 up`,
		`(?m)^iptables .*-t nat .*-s 10\.88\.0\.0/24 ! -o br0 .*-j MASQUERADE`,
	} {
		match(t, "--explain network create", r.err, want)
	}

	t.Cleanup(func() { my(t, "rm", "-f", "explained") })
	r = my(t, "--explain", "run", "-d", "--name", "explained", "-net", "br0", "-p", "8080:80", "-m", "64m", "busybox", "sleep", "3600")
	equal(t, "status: "+r.err, r.code, 0)
	match(t, "standard output holds the id alone", r.out, `^[0-9a-f]{64}\n$`)
	for _, want := range []string{
		`(?m)^ip .*addr(ess)? add 10\.88\.0\.2/24 .*dev eth0`,
		`(?m)^ip .*route add default via 10\.88\.0\.1`, `(?m)^iptables .*-t nat .*--dport 8080 .*-j DNAT --to-destination 10\.88\.0\.2:80`,
		`(?m)^mount -t overlay`, `(?m)^mount -t proc`, `pivot_root`, `(?m)^(echo 67108864 >|mkdir) .*/mydocker/`,
	} {
		match(t, "--explain run", r.err, want)
	}
	for line := range strings.Lines(r.err) {
		if line = strings.TrimSpace(line); line == "" || strings.Contains(line, "%!") {
			t.Errorf("a line of --explain is %q", line)
		}
	}
}

// The commands that --explain prints for a network, pasted into a root shell of a fresh host, make the same network.
func TestExplainedCommandsAreTrue(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	shape := func() string {
		return sh(t, "ip -br addr show dev br0 | awk '{print $1, $3}'; ip route show dev br0 | sed 's/ linkdown//'; cat /proc/sys/net/ipv4/ip_forward; iptables-save | "+onlyRules+" | sort")
	}
	r := my(t, "--explain", "network", "create", "--subnet", "10.88.0.0/24", "br0")
	equal(t, "status: "+r.err, r.code, 0)
	made := shape()
	must(t, "network", "rm", "br0")
	sh(t, "iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X; iptables -t raw -F; iptables -t raw -X; sysctl -qw net.ipv4.ip_forward=0")
	sh(t, "set -e\n"+r.err)
	equal(t, "what the printed commands make", shape(), made)
}

// In Chinese every reason is Chinese: those of the command, those of the container's monitor, which is another process, and those in scripts.
func TestReasonsInChinese(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	t.Cleanup(func() { my(t, "rm", "-f", "said") })
	chinese := append(os.Environ(), "LC_ALL=zh_CN.UTF-8")
	for _, args := range [][]string{
		{"--explain", "run", "-d", "--name", "said", "-net", "br0", "-p", "8080:80", "-m", "64m", "busybox", "sleep", "3600"},
		{"network", "plan", "br0"}, {"run", "--dry-run", "-net", "br0", "busybox"}, {"network", "create", "--dry-run", "br1"},
	} {
		r := myWith(t, nil, chinese, args...)
		equal(t, strings.Join(args, " ")+": "+r.err, r.code, 0)
		reasons := regexp.MustCompile(`(?m)^.*(?:^|  )# (.*)$`).FindAllStringSubmatch(r.out+r.err, -1)
		if len(reasons) < 8 {
			t.Errorf("%q gives %d reasons", args, len(reasons))
		}
		for _, reason := range reasons {
			if !regexp.MustCompile(`\p{Han}`).MatchString(reason[1]) {
				t.Errorf("%q: the reason is English: %s", args, reason[0])
			}
		}
	}
}
