package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// The legacy flavour of iptables has a FORWARD that nf_tables knows nothing of (x_tables), and packets pass through both. Where somebody
// drops there, it needs the same as iptables-nft's: see nftPass.

// legacyPass are the operations that let the bridges of networks with the nftables backend through that FORWARD: none where nobody has
// rules or a policy in it. behind says that networks with the iptables backend have their rules at its beginning.
func legacyPass(f nftFamily, networks []*Network, behind bool) ([]operation, error) {
	tool := legacyTool(f)
	if tool == nil {
		return nil, nil
	}
	there, err := tool.forwardRules()
	if err != nil {
		return nil, err
	}
	pass := nftPassFor(f, networks, behind)
	var want, ours []string
	for _, link := range pass.bridges {
		mark := comment(link+": decided in table "+nftTable) + " -j ACCEPT"
		want = append(want, "-i "+link+mark, "-o "+link+mark)
	}
	first := 1
	if slices.Contains(there, "-A FORWARD -j "+forwardChain.name) || behind {
		first = 2
	}
	same, foreign := true, false
	for i, line := range there {
		rule, appended := strings.CutPrefix(line, "-A FORWARD ")
		switch {
		case !appended: // -P FORWARD POLICY
			foreign = foreign || line != "-P FORWARD ACCEPT"
		case strings.HasSuffix(commentOf(rule), ": decided in table "+nftTable):
			same, ours = same && i == first+len(ours), append(ours, rule)
		default:
			foreign = foreign || rule != "-j "+forwardChain.name
		}
	}
	if !foreign {
		want = nil
	}
	if same && slices.Equal(ours, want) {
		return nil, nil
	}
	change := tableChange{table: "filter"}
	for _, r := range ours {
		change.commands = append(change.commands, "-D FORWARD "+r)
	}
	for i, r := range want {
		change.commands = append(change.commands, fmt.Sprintf("-I FORWARD %d %s", first+i, r))
	}
	pass.bridges = pass.bridges[:min(len(want), len(pass.bridges))]
	return []operation{iptablesBatch{tool: tool, tables: []tableChange{change}, reason: pass.Why()}}, nil
}

// legacyTool is the legacy program of a family, nil where the kernel has no such table or the host no such program: then there is nobody
// who could have put a rule there.
func legacyTool(f nftFamily) *ipTool {
	names := map[bool]string{false: "ip_tables_names", true: "ip6_tables_names"}[f.v6]
	tables, err := state.ReadFile("/proc/thread-self/net/" + names)
	if err != nil || !slices.Contains(strings.Fields(string(tables)), "filter") {
		return nil
	}
	for _, name := range []string{firewallIPTablesLegacy, FirewallIPTables} {
		t, err := newIPTables(name)
		if err != nil || !t.v4.legacy {
			continue
		}
		if f.v6 && t.CheckIPv6() != nil {
			return nil
		}
		if f.v6 {
			return t.v6
		}
		return t.v4
	}
	return nil
}

// forwardRules equals: iptables -S FORWARD. The policy comes first.
func (t *ipTool) forwardRules() ([]string, error) {
	ipt, err := t.open()
	if err != nil {
		return nil, err
	}
	lines, err := ipt.List("filter", "FORWARD")
	return lines, wrap(err, "list the rules of %s' FORWARD", t.name)
}
