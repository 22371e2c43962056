// Package doctor names what is wrong with the networks of this host: the cause, the evidence, and the commands that mend it.
//
// It judges a world.World, so what somebody made by hand with `ip` and `iptables` is judged as well as what mydocker made. Rules are
// judged by what they do to packets that matter (world.Ruleset.At), not by comparing texts: another way to the same end is no fault.
//
// What it is not: it sends no packet (trace does), and it does not know what is behind the host's own links. A rule that asks for
// something it does not understand makes it silent about the packets in question, not wrong.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// Finding is one fault of one object.
type Finding struct {
	ID     string // of the fault: see Faults
	Object string // what is at fault: "web", "br0", "port 8080/tcp"
	// About are the names by which somebody may ask for it: containers, networks, links, ports, "host".
	About    []string
	Evidence []Evidence
	// Commands mend it, in this order. Without any, the text of the fault says what somebody has to decide.
	Commands []string
	// Values fill the placeholders of the fault's texts: names and values in turn.
	Values []any
}

// Evidence is something that anybody can look at.
type Evidence struct {
	Command string `json:"command"`
	Shows   string `json:"shows"`
}

// Key is what tells two findings apart.
func (f Finding) Key() string { return f.ID + " " + f.Object }

// check finds the faults of one kind. They are asked in the order of the table, which is that of a packet's way.
type check struct {
	ids  []string
	find func(*exam) error
}

func checks() []check {
	return []check{
		{[]string{"bridge-missing", "link-missing", "address-missing", "ipv6-disabled"}, (*exam).missing},
		{[]string{"bridge-down", "veth-down", "lo-down"}, (*exam).down},
		{[]string{"veth-not-enslaved", "veths-without-bridge"}, (*exam).unplugged},
		{[]string{"nic-in-bridge"}, (*exam).nicInBridge},
		{[]string{"no-neighbour-route"}, (*exam).neighbourRoutes},
		{[]string{"bridge-without-address", "wrong-gateway", "no-default-route", "blackhole-route"}, (*exam).gateways},
		{[]string{"wrong-netmask", "wrong-subnet", "duplicate-address", "duplicate-mac", "wrong-neighbor"}, (*exam).addresses},
		{[]string{"dad-failed"}, (*exam).dadFailed},
		{[]string{"overlapping-subnets", "route-overlap"}, (*exam).overlaps},
		{[]string{"accept-ra"}, (*exam).acceptRA},
		{[]string{"no-way-out"}, (*exam).wayOut},
		{[]string{"mtu"}, (*exam).mtu},
		{[]string{"ip-forward-off", "ip6-forward-off", "link-forward-off", "rp-filter"}, (*exam).routing},
		{[]string{"neighbor-discovery"}, (*exam).neighborsAsked},
		{[]string{"forward-policy", "foreign-drop", "bridge-nf", "legacy-split", "masquerade-missing", "masquerade-misplaced", "snat-wrong",
			"isolation-missing", "guard-missing"}, (*exam).flows},
		{[]string{"dnat-missing", "dnat-shadowed", "dnat-wrong", "dnat-wrong-chain", "hairpin", "route-localnet"}, (*exam).publications},
		{[]string{"not-listening", "listens-on-loopback", "listens-on-ipv4-only", "port-taken"}, (*exam).services},
		{[]string{"conntrack-stale"}, (*exam).staleFlows},
		{[]string{"resolver-unreachable", "names-on-default-bridge"}, (*exam).names},
		{[]string{"addresses-exhausted"}, (*exam).exhausted},
		{[]string{"leaked-link", "leaked-rule", "leaked-namespace", "leaked-endpoint"}, (*exam).leaks},
		{[]string{"memory-limit", "pids-limit", "cpu-limit"}, (*exam).limits},
	}
}

// Faults are the ids of all faults that can be named.
func Faults() (ids []string) {
	for _, c := range checks() {
		ids = append(ids, c.ids...)
	}
	return ids
}

// Report is what an examination found.
type Report struct {
	Findings []Finding
	// Unread says what could not be looked at.
	Unread []string
}

// Examine looks for every fault. Its error says that it could not look, not that something is wrong.
func Examine(ctx context.Context, w *world.World) (*Report, error) {
	x := newExam(ctx, w)
	for _, c := range checks() {
		if err := c.find(x); err != nil {
			return nil, fmt.Errorf("look for %s: %w", strings.Join(c.ids, ", "), err)
		}
	}
	for _, n := range w.Namespaces {
		if n.Err != nil {
			x.report.Unread = append(x.report.Unread, n.Name()+": "+n.Err.Error())
		}
	}
	return &x.report, nil
}

// Confirm keeps the findings that an earlier look has had, too.
func (r *Report) Confirm(earlier *Report) {
	seen := map[string]bool{}
	for _, f := range earlier.Findings {
		seen[f.Key()] = true
	}
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return !seen[f.Key()] })
}

// Only keeps the findings about a container, a network, a port ("8080", "8080/udp"), a namespace or a link, and those of the host that
// concern everybody. A name that means nothing is an error.
func (r *Report) Only(w *world.World, ref string) (*Report, error) {
	names, err := concerned(w, ref)
	if err != nil {
		return nil, err
	}
	few := &Report{Unread: r.Unread}
	for _, f := range r.Findings {
		if slices.ContainsFunc(f.About, func(a string) bool { return slices.Contains(names, a) }) {
			few.Findings = append(few.Findings, f)
		}
	}
	return few, nil
}

// concerned are the names whose faults also concern ref.
func concerned(w *world.World, ref string) ([]string, error) {
	names := []string{"host"}
	if c := w.Container(ref); c != nil {
		return append(names, containerNames(c)...), nil
	}
	if n := w.Network(ref); n != nil {
		names = append(names, n.Name, n.Bridge)
		for _, e := range w.Endpoints {
			if e.NetworkID == n.ID {
				names = append(names, e.ContainerName)
				names = append(names, portNames(e)...)
			}
		}
		return names, nil
	}
	if port, proto, ok := portRef(ref); ok {
		names = append(names, PortName(port, proto))
		for _, e := range w.Endpoints {
			if slices.Contains(portNames(e), PortName(port, proto)) {
				names = append(names, e.ContainerName, e.NetworkName, e.Bridge)
			}
		}
		return names, nil
	}
	if n := w.Namespace(ref); n != nil {
		return append(append(names, n.Names...), masters(n)...), nil
	}
	found := false
	w.Links(func(l *world.Link) {
		if l.Name == ref {
			found = true
			names = append(names, l.Namespace.Names...)
		}
	})
	if !found {
		return nil, fmt.Errorf("no container, network, port, namespace or link is called %s: see `mydocker ps -a`, `mydocker network ls`, `ip -br link`", ref)
	}
	return append(names, ref), nil
}

// masters are the bridges that a namespace is plugged into.
func masters(n *world.Namespace) (names []string) {
	for _, l := range n.Links {
		if l.Peer != nil && l.Peer.Master != nil {
			names = append(names, l.Peer.Master.Name, l.Peer.Name)
		}
	}
	return names
}

func containerNames(c *world.Container) []string {
	names := []string{c.Name}
	for _, e := range c.Endpoints {
		names = append(names, e.NetworkName, e.Bridge, e.HostLink)
		names = append(names, portNames(e)...)
	}
	return names
}
