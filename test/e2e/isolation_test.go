package e2e

import (
	"fmt"
	"testing"
)

// A host whose firewall drops what it forwards (as Docker sets it up) does not stop us, and its rules are not touched.
func TestForwardPolicyDrop(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	sh(t, "iptables -P FORWARD DROP; iptables -N THEIRS; iptables -A FORWARD -i their0 -j THEIRS; iptables -t nat -A PREROUTING -p tcp --dport 9999 -j REDIRECT --to-ports 1")
	theirs := sh(t, "iptables-save | grep -e THEIRS -e 9999 -e 'FORWARD DROP' | sed 's/ .[0-9:]*.$//'")
	must(t, "image", "bootstrap")
	must(t, "network", "create", "br0")
	server, client := web(t, "server", "-net", "br0", "-p", "8080:80"), sleeper(t, "client", "-net", "br0")
	equal(t, "container to container", client.exec("wget", "-qO-", "http://"+server.ip()+"/"), "page of server")
	client.exec("ping", "-c1", "-W20", "203.0.113.9")
	equal(t, "neighbour to published port", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/"), "page of server")
	must(t, "rm", "-f", "server", "client")
	must(t, "network", "rm", "br0")
	equal(t, "their rules", sh(t, "iptables-save | grep -e THEIRS -e 9999 -e 'FORWARD DROP' | sed 's/ .[0-9:]*.$//'"), theirs)
	equal(t, "rules of br0 that are left", sh(t, "iptables-save | grep -c br0 || :"), "0")
}

// Two bridges do not reach each other; published ports work across.
func TestIsolationBetweenNetworks(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	makeNetwork(t, "br1")
	server, client := web(t, "server", "-net", "br0", "-p", "8080:80"), sleeper(t, "client", "-net", "br1")
	if r := my(t, "exec", client.name, "timeout", "1", "wget", "-qO-", "http://"+server.ip()+"/"); r.code == 0 {
		t.Errorf("a container of another network is reached directly: %s", r.out)
	}
	if r := my(t, "exec", client.name, "ping", "-c1", "-W1", server.ip()); r.code == 0 {
		t.Errorf("a container of another network answers ping: %s", r.out)
	}
	equal(t, "through the published port", client.exec("timeout", "60", "wget", "-qO-", "http://10.99.0.1:8080/"), "page of server")
}

// An internal network has no way out and no way in from the LAN.
func TestInternalNetwork(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "inside", "--internal")
	one, two := web(t, "inside-one", "-net", "inside"), sleeper(t, "inside-two", "-net", "inside")
	equal(t, "among themselves", two.exec("timeout", "60", "wget", "-qO-", "http://"+one.ip()+"/"), "page of inside-one")
	if r := my(t, "exec", two.name, "ping", "-c1", "-W1", "203.0.113.9"); r.code == 0 {
		t.Error("an internal network reaches the outside")
	}
}

// --network none is a namespace with lo; host is the host's own.
func TestNoneAndHost(t *testing.T) {
	cleanHost(t)
	none := sleeper(t, "nothing", "--network", "none")
	equal(t, "links with none", none.sh("ls /sys/class/net"), "lo")
	none.exec("ping", "-c1", "-W20", "127.0.0.1")
	equal(t, "IPAddress with none", none.inspect("{{.NetworkSettings.IPAddress}}"), "")

	host := start(t, "with-host", "--net", "host", "busybox", "sh", "-c", "mkdir /www; echo on the host > /www/index.html; exec httpd -f -h /www -p 127.0.0.1:8099")
	host.listens(8099)
	equal(t, "127.0.0.1", mustGet(t, "http://127.0.0.1:8099/"), "on the host")
	equal(t, "IPAddress with host", host.inspect("{{.NetworkSettings.IPAddress}}"), "")
	equal(t, "hostname with host", host.exec("hostname"), sh(t, "hostname"))
	match(t, "host's own links are seen", host.exec("ip", "link"), "mydocker0")
	equal(t, "its mounts are its own", host.sh("test -e /var/lib/mydocker || echo absent"), "absent")
	equal(t, "its processes are its own", host.sh("ps -o pid >/tmp/ps; grep -c . /tmp/ps"), "4") // heading, httpd, sh, ps
}

// The namespace of another container.
func TestContainerNetwork(t *testing.T) {
	cleanHost(t)
	server := web(t, "server")
	friend := sleeper(t, "friend", "--net", "container:server")
	equal(t, "the same namespace", sh(t, fmt.Sprintf("readlink /proc/%d/ns/net", friend.pid())), sh(t, fmt.Sprintf("readlink /proc/%d/ns/net", server.pid())))
	equal(t, "through lo", friend.exec("wget", "-qO-", "http://127.0.0.1/"), "page of server")
	equal(t, "the same hosts file", friend.exec("cat", "/etc/hosts"), server.exec("cat", "/etc/hosts"))
	must(t, "rm", "-f", "friend")
	equal(t, "the owner's network survives", mustGet(t, "http://"+server.ip()+"/"), "page of server")
	refused(t, 125, []string{"nobody"}, "run", "--rm", "--net", "container:nobody", "busybox", "true")
}
