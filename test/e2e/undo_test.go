package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Kill everything of ours at a random moment of a run, fifty times; then one gc, and the host is as it was.
func TestKilledAtRandomMoments(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/28") // so few addresses that lost ones would soon be missed
	must(t, "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "killed-tmpfs")
	t.Cleanup(func() { my(t, "volume", "rm", "killed-tmpfs") })
	see(t, "-v", "killed-tmpfs:/v", "busybox", "true")
	before := restingHost(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// How long a run takes here bounds the moment.
	began := time.Now()
	see(t, "-net", "br0", "-p", "8080:80", "-v", "killed-tmpfs:/v", "busybox", "true")
	took := time.Since(began)

	for i := range 50 {
		args := []string{"run", "--rm", "--name", "victim", "-net", "br0", "-p", "8080:80", "-v", "killed-tmpfs:/v", "busybox", "true"}
		if i%2 == 1 {
			args = []string{"run", "-d", "--name", "victim", "-net", "br0", "-p", "8080:80", "-v", "killed-tmpfs:/v", "busybox", "sleep", "3600"}
		}
		// Names and ports that a killed run leaves behind are refused to the next one until gc; so each has its own.
		args[3] = fmt.Sprintf("victim-%d", i)
		args[7] = fmt.Sprintf("%d:80", 8100+i)
		cmd := exec.Command(binary, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(took) * 3 / 2)))
		killAll(t)
		cmd.Wait()
	}
	must(t, "gc")
	// What was completely made before the kill is a stopped container, a thing that was asked for.
	if left := strings.Fields(must(t, "ps", "-aq")); len(left) > 0 {
		must(t, append([]string{"rm", "-f"}, left...)...)
	}
	must(t, "gc")
	sameHost(t, before)

	// All thirteen addresses can be had, so the bitmap has lost none.
	for i := range 13 {
		sleeper(t, fmt.Sprintf("after-%d", i), "-net", "br0")
	}
}

// killAll kills every process of mydocker and of its containers, at once.
func killAll(t testing.TB) {
	t.Helper()
	for range 3 { // one of them may just be forking
		for _, p := range processes(t) {
			if p.ours || p.parent == os.Getpid() {
				syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
	}
}

// gc on a host where all is well removes nothing and says nothing; what foreigners own is never touched.
func TestGCTouchesNothingAlive(t *testing.T) {
	cleanHost(t)
	web(t, "alive", "-p", "8080:80")
	sh(t, "ip netns add foreign; ip link add veth0f0f0f type veth peer name other; iptables -t nat -A PREROUTING -p tcp --dport 9 -j RETURN")
	t.Cleanup(func() {
		sh(t, "ip netns del foreign; ip link del veth0f0f0f; iptables -t nat -D PREROUTING -p tcp --dport 9 -j RETURN")
	})
	before := restingHost(t)
	must(t, "gc")
	sameHost(t, before)
	equal(t, "page", mustGet(t, "http://127.0.0.1:8080/"), "page of alive")
	refused(t, 125, []string{"foreign"}, "run", "--rm", "--name", "foreign", "busybox", "true")
}

// The firewall flushed, the veth deleted, the namespace unpinned by somebody else: removal still works.
func TestRemovalNeedsNothingAlive(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	must(t, "image", "bootstrap")
	must(t, "network", "create", "br0")
	for i, harm := range []string{
		"iptables -F; iptables -t nat -F; iptables -t nat -X",
		"ip link del " + "$(ip -br link show type veth master br0 | sed 's/@.*//')",
		"umount /run/netns/victim; rm /run/netns/victim",
		"ip link del br0",
	} {
		c := sleeper(t, "victim", "-net", "br0", "-p", "8080:80")
		pid := c.pid()
		sh(t, harm)
		if r := my(t, "rm", "-f", "victim"); r.code != 0 {
			t.Errorf("%d. rm after %q: %s", i, harm, r.err)
		}
		if syscall.Kill(pid, 0) == nil && !isZombie(t, pid) {
			t.Errorf("%d. after %q and rm the process is alive", i, harm)
		}
		must(t, "gc")
	}
	see(t, "-net", "br0", "-p", "8080:80", "busybox", "true") // br0 is made anew
	must(t, "network", "rm", "br0")
	equal(t, "rules for br0", sh(t, "iptables-save | grep ^-A | grep -c -e br0 -e 8080 || :"), "0")
}

func isZombie(t testing.TB, pid int) bool {
	t.Helper()
	for _, p := range processes(t) {
		if p.pid == pid {
			return p.state == "Z"
		}
	}
	return true // buried meanwhile
}
