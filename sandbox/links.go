package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Addresses. Those of the internet are documentation addresses (RFC 5737), which stand in for public ones.
const (
	hostAddress   = "10.99.0.1"
	lanAddress    = "10.99.0.2"
	secondAddress = "10.99.0.3"
	webAddress    = "203.0.113.80"
	dnsAddress    = "203.0.113.53"
	pingAddress   = "203.0.113.9"
	routerOutside = "198.51.100.1"
	internetHome  = "198.51.100.2"
)

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
	return wireHost(hostAddress, "fd99::1")
}

// wireHost gives a host its end of the cable to the LAN.
func wireHost(address, address6 string) error {
	return errors.Join(
		sysctls(false),
		up("lo"),
		address1("eth0", address+"/24"), address1("eth0", address6+"/64"),
		up("eth0"),
		route("", lanAddress),
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
		address1("eth0", lanAddress+"/24"), address1("eth0", "fd99::2/64"),
		address1("wan", routerOutside+"/24"),
		up("eth0"), up("wan"),
		route("203.0.113.0/24", internetHome))
}

func wireInternet() error {
	return errors.Join(
		sysctls(false),
		up("lo"),
		address1("eth0", internetHome+"/24"),
		address1("lo", webAddress+"/32"), address1("lo", dnsAddress+"/32"), address1("lo", pingAddress+"/32"),
		up("eth0"),
		route("10.99.0.0/24", routerOutside)) // nothing else: it knows no network behind the host
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

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

// address1 is: ip addr add CIDR dev NAME nodad
func address1(name, cidr string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	address, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	if address.IP.To4() == nil {
		address.Flags = unix.IFA_F_NODAD // at once, without asking around for two seconds
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		if address.IP.To4() == nil && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
			return nil // this kernel is without IPv6, or has it switched off
		}
		return fmt.Errorf("give %s the address %s: %w", name, cidr, err)
	}
	return nil
}

// route is: ip route add DESTINATION via GATEWAY; no destination is the default route.
func route(destination, gateway string) error {
	r := &netlink.Route{Gw: netip.MustParseAddr(gateway).AsSlice(), Family: nl.FAMILY_V4}
	if destination != "" {
		net, err := netlink.ParseIPNet(destination)
		if err != nil {
			return err
		}
		r.Dst = net
	}
	if err := netlink.RouteAdd(r); err != nil {
		return fmt.Errorf("add a route to %s via %s: %w", destination, gateway, err)
	}
	return nil
}

// sysctls sets what a new namespace would copy from the real machine: the sandbox is the same everywhere.
func sysctls(forward bool) error {
	values := []struct{ name, value string }{
		{"ipv4/ip_forward", "0"}, // first: it resets others
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/route_localnet", "0"}, {"ipv4/conf/default/route_localnet", "0"},
		{"ipv4/conf/all/accept_local", "0"}, {"ipv4/conf/all/arp_ignore", "0"},
	}
	if forward {
		values[0].value = "1"
	}
	for _, v := range values {
		if err := os.WriteFile("/proc/sys/net/"+v.name, []byte(v.value), 0); err != nil {
			return err
		}
	}
	return nil
}
