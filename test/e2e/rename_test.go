package e2e

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestRename(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "old-name")
	other := sleeper(t, "other-name")
	refused(t, 1, []string{"other-name"}, "rename", "old-name", other.name)
	must(t, "rename", "old-name", "new-name")
	t.Cleanup(func() { my(t, "rm", "-f", "new-name") })
	equal(t, "name", must(t, "inspect", "-f", "{{.Name}}", c.id), "/new-name")
	refused(t, 1, []string{"old-name"}, "inspect", "old-name")
	match(t, "ip netns list follows", sh(t, "ip netns list"), `(?m)^new-name( |$)`)
	equal(t, "exec", must(t, "exec", "new-name", "echo", "hi"), "hi")
	must(t, "rm", "-f", "new-name")
	sleeper(t, "old-name")
}

// A container's new name is that of its rules and claims, and its ports answer while they get it.
func TestRenamePublished(t *testing.T) {
	cleanHost(t)
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			makeNetwork(t, "br0", "--ipv6", "--firewall", backend)
			c := web(t, "first-name", "-net", "br0", "-p", "8080-8081:80-81", "-p", "[::]:8082:80")
			stop, failed := make(chan bool), make(chan error, 1)
			go func() {
				var errs []error
				for {
					select {
					case <-stop:
						failed <- errors.Join(errs...)
						return
					default:
					}
					conn, err := net.DialTimeout("tcp", "10.99.0.1:8080", patience(time.Minute))
					if err == nil {
						conn.Close()
					}
					errs = append(errs, err)
				}
			}()
			for _, name := range []string{"second-name", "third-name"} {
				must(t, "rename", c.id, name)
				rules := sh(t, "iptables-save; ip6tables-save; nft list ruleset")
				if strings.Contains(rules, "first-name") || strings.Count(rules, "mydocker "+name+" ") < 3 {
					t.Errorf("rules of %s:\n%s", name, rules)
				}
				equal(t, "sync", must(t, "network", "sync", "--dry-run"), "")
				refused(t, 125, []string{"to container " + name + ":"}, "run", "--rm", "-p", "8080:80", "busybox", "true")
			}
			close(stop)
			if err := <-failed; err != nil {
				t.Errorf("while it was renamed: %v", err)
			}
			must(t, "rm", "-f", "third-name")
			must(t, "network", "rm", "br0")
		})
	}
}
