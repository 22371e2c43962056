package network

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/nftables"

	"github.com/mydocker/mydocker/state"
)

// Backends. The two flavours of iptables speak to different parts of the kernel; which of them "iptables" is, is the host's choice,
// and they are only chosen by name where the other one holds the host's rules.
const (
	FirewallIPTables       = "iptables"
	FirewallNFTables       = "nftables"
	firewallIPTablesNFT    = "iptables-nft"
	firewallIPTablesLegacy = "iptables-legacy"
)

// Firewall turns intents into rules. Adding is for what is not there yet, removing takes absent as success, and each method
// returns operations, which are done by the loop that does all others; none means that there is nothing to do.
type Firewall interface {
	// Name is what the endpoint's record remembers, so that whoever made the rules removes them.
	Name() string
	// Networks makes up the difference between the network-level rules that are there and those that exactly these
	// networks need. Without networks, nothing of ours is left.
	Networks(ctx context.Context, networks []*Network) ([]operation, error)
	// Intact is a quick look at whether the network-level rules of the network's families are still hooked in. It may miss damage, never invent it.
	Intact(n *Network) bool
	// Publish adds the rules of an endpoint's ports, before those of others: an old rule for the same port that has not
	// been removed yet does not win.
	Publish(e *Endpoint) []operation
	// Withdraw removes the rules of an endpoint whose record is at hand.
	Withdraw(e *Endpoint) []operation
	// Unpublish looks for the rules of endpoints, which are named by the first 12 digits of their ids, and removes them.
	Unpublish(ctx context.Context, endpoints ...string) ([]operation, error)
	// Published names the endpoints that have rules, and which.
	Published(ctx context.Context) (map[string]portsThere, error)
	// Mend makes up the difference between the rules that an endpoint has and those that it should have.
	Mend(e *Endpoint, there portsThere) []operation
	// Rename lets the rules of an endpoint's ports name its container as it is called now, without a moment in which none is there.
	Rename(e *Endpoint, there portsThere) []operation
	// CheckIPv6 says what the host lacks for rules of networks with IPv6.
	CheckIPv6() error
	// Fresh makes the rules of networks on a host that has none of ours. It looks at nothing.
	Fresh(networks ...*Network) []operation
}

// portsThere are the rules of one endpoint's ports as one of the backends has them in the kernel.
type portsThere struct {
	rules    map[bool][]string // of iptables, by whether they are for IPv6
	elements []nftElement
}

// without are those that others do not have, by what is the same in both.
func without[T any](some, others []T, key func(T) string) (left []T) {
	have := map[string]int{}
	for _, o := range others {
		have[key(o)]++
	}
	for _, s := range some {
		if have[key(s)]--; have[key(s)] < 0 {
			left = append(left, s)
		}
	}
	return left
}

// firewall is the backend of that name; "" is the default.
func (m *Manager) firewall(name string) (Firewall, error) {
	switch name {
	case "":
		return m.firewall(m.chosen())
	case FirewallIPTables, firewallIPTablesNFT, firewallIPTablesLegacy:
		return newIPTables(name)
	case FirewallNFTables:
		return &nfTables{behind: m.hooksForward}, nil
	}
	return nil, fmt.Errorf("firewall %q is not known: iptables and nftables are", name)
}

// FirewallBackend names the backend that networks get which are not in the kernel yet.
func (m *Manager) FirewallBackend() string { return m.chosen() }

// chosen is the backend for networks that are not in the kernel yet: what the command line or the configuration asks for;
// otherwise iptables, in the flavour of the host's rules; and nftables on a host without iptables.
func (m *Manager) chosen() string {
	backend := m.backend
	if backend == "" {
		backend = m.config.FirewallBackend
	}
	if backend != "" && backend != FirewallIPTables {
		return backend
	}
	return m.flavour(backend == "")
}

// flavour looks at the host, once for each manager. Where only one of the two kernel interfaces has rules, ours go there:
// packets pass through both, and what one of them drops the other cannot bring back. So where both have, it is the one that forwards
// nothing by itself.
func flavour(alsoNFTables bool) string {
	program, err := findProgram("iptables-restore")
	if err != nil {
		if alsoNFTables {
			return FirewallNFTables
		}
		return FirewallIPTables // whose absence is then said
	}
	legacy, legacyDrops := legacyRules()
	nft, nftDrops := nftRules()
	if legacy && nft {
		legacy, nft = legacyDrops, nftDrops
	}
	switch {
	case legacy == nft:
	case isLegacy(program) && nft:
		if _, err := findProgram("iptables-nft-restore"); err == nil {
			return firewallIPTablesNFT
		}
	case !isLegacy(program) && legacy:
		if _, err := findProgram("iptables-legacy-restore"); err == nil {
			return firewallIPTablesLegacy
		}
	}
	return FirewallIPTables
}

// legacyRules says whether x_tables holds rules, or drops in FORWARD what it has no rule for. The kernel names the tables that somebody
// has used; a table that was only looked at is empty.
func legacyRules() (some, drops bool) {
	names, err := state.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil || len(bytes.TrimSpace(names)) == 0 {
		return false, false
	}
	save, err := findProgram("iptables-legacy-save")
	if err != nil {
		return false, false
	}
	out, err := exec.Command(save).Output()
	drops = err == nil && bytes.Contains(out, []byte("\n:FORWARD DROP "))
	return drops || err == nil && bytes.Contains(out, []byte("\n-A ")), drops
}

// nftRules says the same of the tables that iptables-nft makes.
func nftRules() (some, drops bool) {
	c, err := nftables.New()
	if err != nil {
		return false, false
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, false
	}
	for _, ch := range chains {
		if ch.Table.Name != "filter" && ch.Table.Name != "nat" && ch.Table.Name != "raw" && ch.Table.Name != "mangle" {
			continue
		}
		if ch.Name == "FORWARD" && ch.Table.Name == "filter" && ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
			return true, true
		}
		if rules, err := c.GetRules(ch.Table, ch); err == nil && len(rules) > 0 {
			some = true
		}
	}
	return some, false
}

// isLegacy: both flavours are one program under many names, xtables-nft-multi or xtables-legacy-multi.
func isLegacy(program string) bool {
	real, err := filepath.EvalSymlinks(program)
	return err == nil && strings.Contains(real, "legacy")
}
