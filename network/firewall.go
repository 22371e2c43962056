package network

import (
	"context"
	"fmt"
)

// Backends.
const (
	FirewallIPTables = "iptables"
	FirewallNFTables = "nftables"
)

// Firewall turns intents into rules. Adding is for what is not there yet, removing takes absent as success, and each method
// returns operations, which are done by the loop that does all others; none means that there is nothing to do.
type Firewall interface {
	// Name is what the endpoint's record remembers, so that whoever made the rules removes them.
	Name() string
	// Networks makes up the difference between the network-level rules that are there and those that exactly these
	// networks need. Without networks, nothing of ours is left.
	Networks(ctx context.Context, networks []*Network) ([]operation, error)
	// Intact is a quick look at whether the network-level rules are still hooked in. It may miss damage, never invent it.
	Intact(v6 bool) bool
	// Publish adds the rules of an endpoint's ports, before those of others: an old rule for the same port that has not
	// been removed yet does not win.
	Publish(e *Endpoint) []operation
	// Unpublish removes the rules of endpoints, which are named by the first 12 digits of their ids.
	Unpublish(ctx context.Context, endpoints ...string) ([]operation, error)
	// Published names the endpoints that have rules, and how many.
	Published(ctx context.Context) (map[string]int, error)
	// Count is how many of them an endpoint should have.
	Count(e *Endpoint) int
	// Fresh makes the rules of one network on a host that has none of ours. It looks at nothing.
	Fresh(n *Network) []operation
}

// firewall is the backend of that name; "" is the default.
func (m *Manager) firewall(name string) (Firewall, error) {
	switch name {
	case "", FirewallIPTables:
		return newIPTables()
	case FirewallNFTables:
		return &nfTables{}, nil
	}
	return nil, fmt.Errorf("firewall %q is not known: iptables and nftables are", name)
}
