package e2e

import (
	"fmt"
	"testing"
)

// Two of Docker's keys make the default network safer: icc=false holds at once for whoever runs, ip is where ports are published that
// name no address, from the next start on. Both go away with the keys.
func TestDefaultNetworkIsClosed(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	must(t, "image", "bootstrap")
	sh(t, "mkdir -p /etc/mydocker && mount -t tmpfs tmpfs /etc/mydocker")
	for _, backend := range []string{"iptables", "nftables"} {
		configure := func(keys string) {
			t.Helper()
			write(t, "/etc/mydocker/daemon.json", fmt.Sprintf(`{"firewall-backend": %q%s}`, backend, keys))
		}
		configure("")
		one, two := web(t, "one-"+backend, "-p", "8080:80"), sleeper(t, "two-"+backend)
		talks := func(what string, from, to *ctr, want bool) {
			t.Helper()
			patience := map[bool]string{true: "60", false: "0.5"}[want]
			if r := my(t, "exec", from.name, "timeout", patience, "wget", "-qO-", "http://"+to.ip()+"/"); (r.code == 0) != want {
				t.Errorf("%s, %s: %s asks %s: status %d\n%s", backend, what, from.name, to.name, r.code, r.err)
			}
		}
		talks("before", two, one, true)
		configure(`, "icc": false, "ip": "127.0.0.1"`)
		late := web(t, "late-"+backend, "-p", "8081:80")
		talks("closed", two, one, false)
		talks("closed", two, late, false)
		talks("closed", late, one, false)
		equal(t, "a port from before", must(t, "port", one.name), "80/tcp -> 0.0.0.0:8080")
		equal(t, "a port from now on", must(t, "port", late.name), "80/tcp -> 127.0.0.1:8081")
		equal(t, "it is published", mustGet(t, "http://127.0.0.1:8081/"), "page of "+late.name)
		equal(t, "so is the one from before", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/"), "page of "+one.name)
		equal(t, "nothing is left to be done", must(t, "network", "sync", "--dry-run"), "")
		configure("")
		must(t, "restart", "-t", "0", late.name)
		late.listens(80)
		talks("open again", two, late, true)
		equal(t, "open again", must(t, "port", late.name), "80/tcp -> 0.0.0.0:8081")
		must(t, "rm", "-f", one.name, two.name, late.name)
	}
}
