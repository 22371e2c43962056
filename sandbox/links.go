package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Addresses. Those of the internet are documentation addresses (RFC 5737, RFC 3849), which stand in for public ones; the LAN's
// are private (RFC 1918, RFC 4193).
const (
	hostAddress   = "10.99.0.1"
	lanAddress    = "10.99.0.2"
	secondAddress = "10.99.0.3"
	webAddress    = "203.0.113.80"
	dnsAddress    = "203.0.113.53"
	pingAddress   = "203.0.113.9"
	routerOutside = "198.51.100.1"
	internetHome  = "198.51.100.2"

	hostAddress6   = "fd99::1"
	lanAddress6    = "fd99::2"
	secondAddress6 = "fd99::3"
	webAddress6    = "2001:db8:113::80"
	dnsAddress6    = "2001:db8:113::53"
	pingAddress6   = "2001:db8:113::9"
	routerOutside6 = "2001:db8:100::1"
	internetHome6  = "2001:db8:100::2"
)

// haveIPv6 says whether this kernel speaks IPv6: built without, or started with ipv6.disable=1, it has no settings of it. The sandbox
// is one of IPv4 then.
func haveIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf/all/forwarding")
	return err == nil
}

// Address is a place of a sandbox, or a server there, and what it is reached by.
type Address struct{ Place, Name, IPv4, IPv6 string }

// Addresses are those that a learner works with.
func (sb *Sandbox) Addresses() []Address {
	all := []Address{
		{Host, "", hostAddress, hostAddress6}, {LAN, "", lanAddress, lanAddress6},
		{Internet, "www.example.com", webAddress, webAddress6}, {Internet, "dns.example.com", dnsAddress, dnsAddress6}, {Internet, "ping.example.com", pingAddress, pingAddress6},
	}
	if sb.Hosts == 2 {
		all = slices.Insert(all, 1, Address{Second, "", secondAddress, secondAddress6})
	}
	for i := range all {
		if !haveIPv6() {
			all[i].IPv6 = "-"
		}
	}
	return all
}

// newNetns makes a network namespace and pins it: ip netns add NAME, but in a directory that `ip netns` does not list, because
// on a real machine one does not see the neighbour's namespaces either.
func newNetns(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make the network namespace of %s: %w", name, err)
		}
		return do("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
}

// inNetns runs fn on a thread that is in a pinned namespace.
func inNetns(name string, fn func() error) error {
	ns, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return err
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network of %s: %w", name, err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own, which is thrown away afterwards: it is in another namespace. The main thread is not
// thrown away but kept as it is, and what it is in, /proc/PID/ns shows as the whole process's: it is never used.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(fn) // while this one is held, it can only be another
			runtime.UnlockOSThread()
			return
		}
		done <- fn() // and never unlocked
	}()
	return <-done
}

// wire builds the network of the drawing in doc.go. It runs in the host's namespace.
func wire(hosts int) error {
	for _, name := range []string{"lan", "internet"} {
		if err := newNetns(name); err != nil {
			return err
		}
	}
	lan, err := os.Open(netnsDir + "/lan")
	if err != nil {
		return err
	}
	defer lan.Close()
	internet, err := os.Open(netnsDir + "/internet")
	if err != nil {
		return err
	}
	defer internet.Close()
	inner := "eth0"
	if hosts == 2 {
		inner = "port1" // there, eth0 is a switch with a port for each host
	}
	if err := cable("eth0", inner, int(lan.Fd())); err != nil {
		return err
	}
	if err := inNetns("lan", func() error { return wireLAN(hosts, int(internet.Fd())) }); err != nil {
		return fmt.Errorf("set up lan: %w", err)
	}
	if err := inNetns("internet", wireInternet); err != nil {
		return fmt.Errorf("set up internet: %w", err)
	}
	return wireHost(hostAddress, hostAddress6)
}

// wireHost gives a host its end of the cable to the LAN.
func wireHost(address, address6 string) error {
	return errors.Join(
		sysctls(false),
		up("lo"),
		addresses("eth0", address+"/24", address6+"/64"),
		up("eth0"),
		routes("", lanAddress, lanAddress6),
		settled("eth0"))
}

// settled waits until a link that has been set up is also shown as up: the kernel notices a carrier a moment later.
func settled(name string) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
	}
	return fmt.Errorf("%s has no carrier", name)
}

func wireLAN(hosts, internet int) error {
	if err := errors.Join(sysctls(true), up("lo")); err != nil {
		return err
	}
	if hosts == 2 {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}); err != nil {
			return fmt.Errorf("make the switch of the LAN: %w", err)
		}
		if err := errors.Join(plug("port1"), up("port1")); err != nil {
			return err
		}
	}
	return errors.Join(
		cable("wan", "eth0", internet),
		addresses("eth0", lanAddress+"/24", lanAddress6+"/64"),
		addresses("wan", routerOutside+"/24", routerOutside6+"/64"),
		up("eth0"), up("wan"),
		routes("203.0.113.0/24", internetHome), routes("2001:db8:113::/64", internetHome6))
}

func wireInternet() error {
	return errors.Join(
		sysctls(false),
		up("lo"),
		addresses("eth0", internetHome+"/24", internetHome6+"/64"),
		addresses("lo", webAddress+"/32", dnsAddress+"/32", pingAddress+"/32", webAddress6+"/128", dnsAddress6+"/128", pingAddress6+"/128"),
		up("eth0"),
		routes("10.99.0.0/24", routerOutside), routes("fd99::/64", routerOutside6)) // nothing else: it knows no network behind the host
}

// plugSecond leads a cable from lan's switch to a second host, whose first process is pid.
func plugSecond(pid int) error {
	return inNetns("lan", func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		return errors.Join(cable("port2", "eth0", int(ns.Fd())), plug("port2"), up("port2"))
	})
}

// cable is: ip link add NAME type veth peer name PEER netns NS
func cable(name, peer string, ns int) error {
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer, PeerNamespace: netlink.NsFd(ns)})
	if err != nil {
		return fmt.Errorf("make the cable between %s and %s: %w", name, peer, err)
	}
	return nil
}

func plug(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(link, eth0)
}

// up is: sysctl net.ipv6.conf.NAME.accept_dad=0; ip link set NAME up. Otherwise the link's own address, by which neighbours are asked
// for, may not be used for a second: it might belong to somebody else already.
func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if haveIPv6() {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0); err != nil {
			return fmt.Errorf("let %s have its address at once: %w", name, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// addresses is, for each: ip addr add CIDR dev NAME nodad
func addresses(name string, cidrs ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, cidr := range cidrs {
		address, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if address.IP.To4() == nil {
			if !haveIPv6() {
				continue
			}
			address.Flags = unix.IFA_F_NODAD // at once, without asking around for two seconds
		}
		if err := netlink.AddrAdd(link, address); err != nil {
			return fmt.Errorf("give %s the address %s: %w", name, cidr, err)
		}
	}
	return nil
}

// routes is, for the gateway of each family: ip route add DESTINATION via GATEWAY; no destination is the default route.
func routes(destination string, gateways ...string) error {
	for _, text := range gateways {
		gateway := netip.MustParseAddr(text)
		r := &netlink.Route{Gw: gateway.AsSlice(), Family: nl.FAMILY_V4}
		if gateway.Is6() {
			if !haveIPv6() {
				continue
			}
			r.Family = nl.FAMILY_V6
		}
		if destination != "" {
			net, err := netlink.ParseIPNet(destination)
			if err != nil {
				return err
			}
			r.Dst = net
		}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("add a route to %s via %s: %w", cmp.Or(destination, "everywhere"), gateway, err)
		}
	}
	return nil
}

// sysctls sets what a new namespace would copy from the real machine: the sandbox is the same everywhere.
func sysctls(forward bool) error {
	on := "0"
	if forward {
		on = "1"
	}
	values := []struct{ name, value string }{
		{"ipv4/ip_forward", on}, // first: it resets others
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/route_localnet", "0"}, {"ipv4/conf/default/route_localnet", "0"},
		{"ipv4/conf/all/accept_local", "0"}, {"ipv4/conf/all/arp_ignore", "0"},
	}
	if haveIPv6() {
		values = append(values, []struct{ name, value string }{
			{"ipv6/conf/all/disable_ipv6", "0"}, {"ipv6/conf/default/disable_ipv6", "0"}, {"ipv6/conf/all/forwarding", on},
		}...)
	}
	for _, v := range values {
		if err := os.WriteFile("/proc/sys/net/"+v.name, []byte(v.value), 0); err != nil {
			return err
		}
	}
	return nil
}
