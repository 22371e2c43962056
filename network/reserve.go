package network

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// reserve binds a socket to a host port and does no more: connections to the port are refused as before, until rules lead
// them elsewhere, but no other program can bind it. Port 0 lets the kernel choose. EADDRINUSE says that somebody has it. A
// protocol that the kernel does not know is refused: no container could serve the port.
//
// A TCP socket is bound with SO_REUSEADDR, or connections of a former user in TIME_WAIT would keep the port from us for a
// minute. But two sockets that both have it may share a port unless one listens. So ours listens for a moment, which
// makes the kernel check that nobody shares the port and mark it as not to be shared (inet_csk_get_port); shutdown then ends
// the listening and keeps the port.
func reserve(p PortMapping, port uint16) (*os.File, uint16, error) {
	kind, proto := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch p.Proto {
	case "udp":
		kind, proto = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case "sctp":
		proto = unix.IPPROTO_SCTP
	}
	domain := unix.AF_INET
	if p.HostIP.Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
	if err == unix.EAFNOSUPPORT {
		return nil, 0, fmt.Errorf("publish %s: this host has no IPv6: %w", p, err)
	}
	if err == unix.EPROTONOSUPPORT || err == unix.ESOCKTNOSUPPORT {
		return nil, 0, fmt.Errorf("publish %s: this kernel has no %s, so no container can serve it: see `modprobe %s`", p, strings.ToUpper(p.Proto), p.Proto)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reserve host port %d/%s: %w", port, p.Proto, err)
	}
	chosen, err := bindReserved(fd, p, port)
	if err != nil {
		unix.Close(fd)
		if err == unix.EADDRNOTAVAIL {
			return nil, 0, fmt.Errorf("publish %s: %s is not an address of this host: see `ip addr`: %w", p, p.HostIP, err)
		}
		return nil, 0, fmt.Errorf("reserve host port %d/%s: %w", port, p.Proto, err)
	}
	return os.NewFile(uintptr(fd), "port "+strconv.Itoa(int(chosen))+"/"+p.Proto), chosen, nil
}

func bindReserved(fd int, p PortMapping, port uint16) (uint16, error) {
	if p.Proto == "tcp" {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return 0, err
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(port), Addr: v4(p.HostIP)}
	if p.HostIP.Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return 0, err
		}
		sa = &unix.SockaddrInet6{Port: int(port), Addr: p.HostIP.As16()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return 0, err
	}
	if p.Proto == "tcp" {
		if err := unix.Listen(fd, 0); err != nil {
			return 0, err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0); err != nil {
			return 0, err
		}
		if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
			return 0, err
		}
	}
	if port != 0 {
		return port, nil
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	switch got := got.(type) {
	case *unix.SockaddrInet4:
		return uint16(got.Port), nil
	case *unix.SockaddrInet6:
		return uint16(got.Port), nil
	}
	return 0, unix.EAFNOSUPPORT
}

func v4(a netip.Addr) [4]byte {
	if !a.Is4() {
		return [4]byte{}
	}
	return a.As4()
}

// portHolder finds out which program has a port: /proc/net names the socket's inode, /proc/<pid>/fd who has it open.
func portHolder(p PortMapping, port uint16) *PortTaken {
	one := p
	one.HostPort, one.ContainerPort, one.Count = port, p.ContainerPort+(port-p.HostPort), 1
	held := &PortTaken{Port: one}
	inodes := map[string]bool{}
	for _, table := range []string{p.Proto, p.Proto + "6"} {
		data, err := state.ReadFile("/proc/thread-self/net/" + table)
		if err != nil { // no such protocol
			continue
		}
		for _, line := range strings.Split(string(data), "\n")[1:] {
			f := strings.Fields(line) // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[9] != "0" {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	pids, err := readDirNames("/proc")
	if err != nil {
		return held
	}
	for _, pid := range pids {
		n, err := strconv.Atoi(pid)
		if err != nil || !holdsAny("/proc/"+pid+"/fd", inodes) {
			continue
		}
		if comm, err := state.ReadFile("/proc/" + pid + "/comm"); err == nil {
			held.PID, held.Program = n, strings.TrimSpace(string(comm))
			return held
		}
	}
	return held
}

func holdsAny(dir string, targets map[string]bool) bool {
	fds, err := readDirNames(dir)
	if err != nil || len(targets) == 0 { // the process is gone
		return false
	}
	for _, fd := range fds {
		if target, err := os.Readlink(dir + "/" + fd); err == nil && targets[target] {
			return true
		}
	}
	return false
}
