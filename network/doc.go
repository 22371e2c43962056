// Package network gives containers their networks: pinned network namespaces, bridges, veth pairs, addresses from a
// bitmap, and the firewall rules that publish ports.
//
//	          the host's namespace                          the container's namespace (/run/netns/<name>)
//	┌─────────────────────────────────────────┐             ┌──────────────────────────────┐
//	│  eth0 ── routing, NAT ── br0 ── vethX ══╪═════════════╪══ eth0  172.18.0.2/16        │
//	│          (rules.go)   172.18.0.1/16     │  one cable  │   lo    default via .1       │
//	└─────────────────────────────────────────┘             └──────────────────────────────┘
//
// Read in this order: network.go (what is remembered), plan.go (a network and an endpoint as a list of operations),
// manager.go (the story: attach and release), then the mechanisms: bridge.go, veth.go, sandbox.go, ipam.go, ports.go,
// rules.go with iptables.go, sysctl.go. docs/packets.md follows packets through the rules.
//
// What it is not: it does not watch the kernel. What somebody else takes away stays away until the next command that
// needs it, or `mydocker network sync`.
package network
