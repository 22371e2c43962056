package network

import (
	"fmt"
	"os"
)

// hasIPv6 says whether this host has IPv6 at all. A kernel without it, and one that was started with ipv6.disable=1, has none of its
// settings. A host that has them and no address still makes networks with IPv6.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf")
	return err == nil
}

// checkIPv6 refuses a network that this host cannot have: before anything is made of it, as half of it would be worse than nothing.
func (m *Manager) checkIPv6(n *Network) error {
	if !n.EnableIPv6 {
		return nil
	}
	if !hasIPv6() {
		return fmt.Errorf("network %s: this host has no IPv6: see `ls /proc/sys/net/ipv6` and `cat /proc/cmdline` (ipv6.disable=1), or make a network without it", n.Name)
	}
	if !n.bridged() {
		return nil
	}
	fw, err := m.firewall(m.backendOf(n))
	if err != nil {
		return err
	}
	return fw.CheckIPv6()
}
