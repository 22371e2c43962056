package network

import (
	"bytes"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Intact asks the kernel for the rules of two of its chains and looks for the jumps into ours: `iptables -F`, or a firewall
// that reloads, has taken them away together with everything else. Two netlink messages cost a twentieth of starting iptables.
// The legacy flavour has no such question: there Publish checks.
func (t *ipTables) Intact(n *Network) bool {
	if t.v4.legacy {
		return true
	}
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return false
	}
	defer s.Close()
	hooked := func(family uint8) bool {
		return nftJumps(s, family, "filter", "FORWARD", forwardChain.name) && nftJumps(s, family, "nat", "PREROUTING", natChain.name)
	}
	return (!n.EnableIPv4() || hooked(unix.AF_INET)) && (!n.EnableIPv6 || hooked(unix.AF_INET6))
}

// nftJumps says whether some rule of a chain names another chain. It equals: nft list chain ip TABLE CHAIN | grep 'jump TARGET'.
func nftJumps(s *nl.NetlinkSocket, family uint8, table, chain, target string) bool {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(table)))
	req.AddData(nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(chain)))
	rules, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return false // the closer look that follows says what is wrong
	}
	for _, r := range rules {
		if bytes.Contains(r, append([]byte(target), 0)) {
			return true
		}
	}
	return false
}
