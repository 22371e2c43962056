package network

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// A VPN that is up has routes, and its ranges are avoided like any other's (subnet.go). One that is down has none yet, and a
// bridge that sits on its range would take its place, for as long as the bridge is there. So the configuration files of WireGuard
// and OpenVPN are looked at, too, when a subnet is chosen. One that is asked for by name is given all the same.

// vpnRanges are the ranges that the VPN configurations below a directory (/etc) speak of. What cannot be read says nothing.
func vpnRanges(etc string) []taken {
	var all []taken
	for pattern, parse := range map[string]func([]string) []string{
		"wireguard/*.conf": wireguardRanges,
		"openvpn/*.conf":   openvpnRanges, "openvpn/*.ovpn": openvpnRanges,
		"openvpn/*/*.conf": openvpnRanges, "openvpn/*/*.ovpn": openvpnRanges,
	} {
		files, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			continue
		}
		for _, file := range files {
			for _, p := range rangesIn(file, parse) {
				all = append(all, taken{prefix: p, by: "the VPN of " + file})
			}
		}
	}
	return all
}

func rangesIn(file string, parse func(fields []string) []string) []netip.Prefix {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var ranges []netip.Prefix
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(strings.TrimSpace(lines.Text()), "#")
		if strings.HasPrefix(line, ";") {
			continue
		}
		for _, text := range parse(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t,=", r) })) {
			p, err := netip.ParsePrefix(text)
			if err == nil && p.Bits() > 3 { // not "everything", nor half of it
				ranges = append(ranges, p.Masked())
			}
		}
	}
	return ranges
}

// wireguardRanges reads `Address = 10.0.0.2/24` and `AllowedIPs = 10.0.0.0/24, fd00::/64`: wg-quick(8), wg(8).
func wireguardRanges(f []string) []string {
	if len(f) > 1 && (strings.EqualFold(f[0], "Address") || strings.EqualFold(f[0], "AllowedIPs")) {
		return f[1:]
	}
	return nil
}

// openvpnRanges reads `server 10.8.0.0 255.255.255.0`, `route …` and `push "route …"`: openvpn(8).
func openvpnRanges(f []string) []string {
	for i, word := range f {
		f[i] = strings.Trim(word, `"`)
	}
	if len(f) > 1 && f[0] == "push" {
		f = f[1:]
	}
	if len(f) < 2 || f[0] != "server" && f[0] != "route" {
		return nil
	}
	ones := 32
	if len(f) > 2 {
		mask := net.ParseIP(f[2]).To4()
		if mask == nil {
			return nil
		}
		ones, _ = net.IPMask(mask).Size()
	}
	a, err := netip.ParseAddr(f[1])
	if err != nil {
		return nil
	}
	return []string{netip.PrefixFrom(a, ones).String()}
}

// nameServers are the host's own. A bridge with the subnet of one would take its place, and the host would find no name any more.
func nameServers(etc string) (all []taken) {
	data, err := resolvConfBelow(etc)
	if err != nil {
		return nil // who has no servers loses none
	}
	for _, s := range parseResolv(data).servers {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsLoopback() && a.Zone() == "" {
			all = append(all, taken{prefix: netip.PrefixFrom(a, a.BitLen()), by: "the host's name server"})
		}
	}
	return all
}
