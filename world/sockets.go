package world

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// readSockets equals: ss -lntu.
//
// It asks by sock_diag(7), where the kernel sorts out what waits. /proc/net/tcp would do, but with each look at it the kernel walks through
// its table of all connections of the machine, some milliseconds long: too slow for a hundred namespaces.
func (n *Namespace) readSockets() {
	for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
		sockets, err := askSockets(file)
		if err != nil { // a kernel without it, or without IPv6
			data, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				continue
			}
			sockets = parseSockets(string(data), strings.TrimSuffix(file, "6"))
			for i := range sockets {
				sockets[i].Only6 = n.Sysctls["net/ipv6/bindv6only"] == "1"
			}
		}
		n.Sockets = append(n.Sockets, sockets...)
	}
}

// askSockets sends an inet_diag_req_v2 and reads inet_diag_msg: linux/inet_diag.h. The socket is one of this thread's namespace.
func askSockets(file string) (sockets []Socket, err error) {
	const byFamily, waitingTCP, waitingUDP = 20, 1 << 10, 1 << 7 // SOCK_DIAG_BY_FAMILY; the bits of TCP_LISTEN and TCP_CLOSE
	request := make([]byte, 56)
	request[0], request[1] = unix.AF_INET, unix.IPPROTO_TCP
	states := uint32(waitingTCP)
	proto := strings.TrimSuffix(file, "6")
	if proto == "udp" {
		request[1], states = unix.IPPROTO_UDP, waitingUDP
	}
	if proto != file {
		request[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(request[4:], states)
	req := nl.NewNetlinkRequest(byFamily, unix.NLM_F_DUMP)
	req.AddRawData(request)
	messages, err := dump(func() ([][]byte, error) { return req.Execute(unix.NETLINK_SOCK_DIAG, 0) })
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if len(m) < 72 {
			return nil, fmt.Errorf("an answer of %d bytes about a socket: too short", len(m))
		}
		size := 4
		if m[0] == unix.AF_INET6 {
			size = 16
		}
		a, _ := netip.AddrFromSlice(m[8 : 8+size])
		s := Socket{Proto: proto, Address: netip.AddrPortFrom(a, binary.BigEndian.Uint16(m[4:])), Inode: uint64(binary.NativeEndian.Uint32(m[68:]))}
		if s.Only6, err = only6(m[72:]); err != nil {
			return nil, fmt.Errorf("the attributes of a socket: %w", err)
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// only6 reads the option IPV6_V6ONLY of a socket, which comes unasked for those that wait.
func only6(attributes []byte) (bool, error) {
	const v6only = 11 // INET_DIAG_SKV6ONLY: linux/inet_diag.h
	list, err := nl.ParseRouteAttr(attributes)
	for _, a := range list {
		if a.Attr.Type == v6only && len(a.Value) > 0 {
			return a.Value[0] != 0, nil
		}
	}
	return false, err
}

// parseSockets takes those that wait for anybody: TCP_LISTEN is 0A; a UDP socket without a partner is in state 07.
func parseSockets(table, proto string) (sockets []Socket) {
	waiting := map[string]string{"tcp": "0A", "udp": "07"}[proto]
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != waiting {
			continue
		}
		address, err := parseHexAddress(f[1])
		if err != nil {
			continue
		}
		inode, err := strconv.ParseUint(f[9], 10, 64)
		if err != nil {
			continue
		}
		sockets = append(sockets, Socket{Proto: proto, Address: address, Inode: inode})
	}
	return sockets
}

// parseHexAddress reads 0100007F:0050: 32-bit words in the machine's byte order, which is little-endian on all machines that mydocker
// is built for.
func parseHexAddress(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q of a socket has no port", s)
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("address %q of a socket is not 4 or 16 bytes in hexadecimal", s)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port of %q: %w", s, err)
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a, uint16(number)), nil
}

// Holder is a process that has the socket open. The descriptors of all processes are read, once, when somebody asks for the first time.
func (w *World) Holder(inode uint64) (Process, bool) {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	if w.cache.holders == nil {
		w.cache.holders = map[uint64]Process{}
		for _, n := range w.Namespaces {
			for _, p := range n.Processes {
				p.sockets(w.cache.holders)
			}
		}
	}
	p, ok := w.cache.holders[inode]
	return p, ok
}

// sockets notes what a process has open: /proc/PID/fd, proc(5). The first process that is met keeps a socket that several have.
func (p Process) sockets(holders map[uint64]Process) {
	dir := filepath.Join("/proc", strconv.Itoa(p.Pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it has ended
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		number, ok := strings.CutPrefix(target, "socket:[")
		if err != nil || !ok {
			continue
		}
		inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
		if _, known := holders[inode]; err == nil && !known {
			holders[inode] = p
		}
	}
}
