package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// A container without a network is wired by hand, with the commands that every tutorial shows: a link to its namespace in
// /var/run/netns, a cable, an address, a route. It then is on the bridge like any other.
func TestWiredByHand(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "a-network-with-a-long-name", "--subnet", "172.100.0.0/16")
	bridge := "br-" + must(t, "network", "inspect", "-f", "{{.Id}}", "a-network-with-a-long-name")[:12]
	other := sleeper(t, "other", "--network", "a-network-with-a-long-name")
	c := sleeper(t, "bare", "--network", "none")
	equal(t, "only lo", c.sh("ls /sys/class/net"), "lo")
	sh(t, `set -e
PID=`+c.inspect("{{.State.Pid}}")+` IPADDR=172.100.0.77 NETMASK=16 GATEWAY=172.100.0.1
ln -s /proc/$PID/ns/net /var/run/netns/$PID
ip netns ls | grep -q $PID
ip link add vetha type veth peer name vethb
brctl addif `+bridge+` vetha
ip link set vetha up
ip link set vethb netns $PID
ip netns exec $PID ip link set dev vethb name eth0
ip netns exec $PID ip link set eth0 up
ip netns exec $PID ip addr add $IPADDR/$NETMASK dev eth0
ip netns exec $PID ip route add default via $GATEWAY
rm /var/run/netns/$PID`)
	c.exec("ping", "-c1", "-W20", "172.100.0.1")
	c.exec("ping", "-c1", "-W20", other.ip())
	c.exec("ping", "-c1", "-W20", "203.0.113.9")
	sh(t, "ping -c1 -W20 172.100.0.77")
	other.exec("ping", "-c1", "-W20", "172.100.0.77")
	equal(t, "sync leaves it alone", must(t, "network", "sync"), "")
	must(t, "rm", "-f", "bare")
	eventually(t, func() string { // the cable goes with the namespace
		// By its whole name: one in sixteen of mydocker's own begins like it.
		return sh(t, "ip -o link show dev vetha 2>/dev/null || :")
	})
}

// Containers find each other by --link on the default network, which has no names, and by name on one that somebody made.
func TestTwoTiers(t *testing.T) {
	cleanHost(t)
	db := sleeper(t, "db_wordpress", "--dns", "10.99.0.1", "--expose", "3306", "-e", "MYSQL_DATABASE=wp")
	app := sleeper(t, "wordpress", "--link", "db_wordpress")
	match(t, "the line in /etc/hosts", app.exec("cat", "/etc/hosts"), `(?m)^`+strings.ReplaceAll(db.ip(), ".", `\.`)+`\s+db_wordpress `+db.id[:12]+`$`)
	app.exec("ping", "-c1", "-W20", "db_wordpress")
	env := app.exec("env")
	match(t, "address", env, `(?m)^DB_WORDPRESS_PORT_3306_TCP_ADDR=`+db.ip()+`$`)
	match(t, "environment", env, `(?m)^DB_WORDPRESS_ENV_MYSQL_DATABASE=wp$`)
	if r := my(t, "exec", db.name, "ping", "-c1", "-W20", "wordpress"); r.code == 0 {
		t.Error("the default network answers names")
	}
	must(t, "restart", "-t", "0", db.name)
	must(t, "restart", "-t", "0", app.name)
	app.exec("ping", "-c1", "-W20", "db_wordpress") // it may have another address now

	makeNetwork(t, "wp-net")
	db2, app2 := sleeper(t, "db2", "--network", "wp-net"), sleeper(t, "app2", "--dns", "10.99.0.1", "--network", "wp-net")
	app2.exec("ping", "-c1", "-W20", "db2")
	match(t, "nslookup", app2.exec("nslookup", "db2"), strings.ReplaceAll(db2.ip(), ".", `\.`))
	if hosts := app2.exec("cat", "/etc/hosts"); regexp.MustCompile(`\bdb2\b`).MatchString(hosts) {
		t.Errorf("/etc/hosts knows db2:\n%s", hosts)
	}
	must(t, "stop", "-t", "0", "db2")
	if out := my(t, "exec", "app2", "ping", "-c1", "-W1", "db2"); out.code == 0 {
		t.Error("the name of a stopped container is answered")
	}
	must(t, "start", "db2")
	app2.exec("ping", "-c1", "-W20", "db2")
	must(t, "rename", "db2", "db3")
	app2.exec("ping", "-c1", "-W20", "db3")
	must(t, "rename", "db3", "db2")
}
