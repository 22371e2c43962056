package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// networkValues are those that come from the kernel's networks: package world.
func networkValues() map[string]live {
	return map[string]live{
		"veths":          links(func(l *world.Link) string { return vethLine(l) }),
		"bridges":        links(bridgeLine),
		"hairpins":       links(hairpinLine),
		"addresses":      links(addressLine),
		"routes":         routes,
		"forward-policy": chains(func(c *world.Chain) string { return policyLine(c) }),
		"masquerades":    rules("MASQUERADE", "SNAT"),
		"dnats":          rules("DNAT"),
		"iptables-kind":  iptablesKind,
		"iptables-rules": ruleCount,
		"nft-tables":     nftTables,
	}
}

// links makes values of the host's links; "" leaves one out.
func links(line func(*world.Link) string) live {
	return func(m *Machine) (list []string, err error) {
		w, err := m.see()
		if err != nil {
			return nil, err
		}
		for _, l := range w.Host.Links {
			if text := line(l); text != "" {
				list = append(list, text)
			}
		}
		return list, nil
	}
}

func vethLine(l *world.Link) string {
	switch {
	case l.Kind != "veth":
		return ""
	case l.Peer == nil:
		return l.Name
	}
	return l.Name + " = " + l.Peer.Name + " (" + l.Peer.Namespace.Name() + ")"
}

func bridgeLine(l *world.Link) string {
	if l.Kind != "bridge" {
		return ""
	}
	var ports []string
	for _, p := range l.Ports() {
		ports = append(ports, p.Name)
	}
	return l.Name + addresses(l) + " [" + strings.Join(ports, " ") + "]"
}

func hairpinLine(l *world.Link) string {
	if !l.Hairpin {
		return ""
	}
	return l.Name
}

func addressLine(l *world.Link) string {
	if text := addresses(l); text != "" && !l.Loopback {
		return l.Name + text
	}
	return ""
}

// addresses are the link's first of each family, with a blank before each.
func addresses(l *world.Link) (text string) {
	for _, six := range []bool{false, true} {
		if a := l.Address(six); a.IsValid() {
			text += " " + a.String()
		}
	}
	return text
}

// routes are those of the table main: ip route; ip -6 route.
func routes(m *Machine) (list []string, err error) {
	w, err := m.see()
	if err != nil {
		return nil, err
	}
	for _, six := range []bool{false, true} {
		for _, r := range w.Host.Routes {
			if r.Table != 254 || r.Dev == nil || r.To.Addr().Is6() != six || r.To.Addr().IsLinkLocalUnicast() {
				continue
			}
			text := r.To.String()
			if r.Default() {
				text = "default"
			}
			if r.Via.IsValid() {
				text += " via " + r.Via.String()
			}
			list = append(list, text+" dev "+r.Dev.Name)
		}
	}
	return list, nil
}

// chains makes values of the chains of the host's firewall.
func chains(line func(*world.Chain) string) live {
	return func(m *Machine) (list []string, err error) {
		set, err := m.rules()
		if err != nil {
			return nil, err
		}
		for _, c := range set.Chains {
			if text := line(c); text != "" {
				list = append(list, text)
			}
		}
		return list, nil
	}
}

func (m *Machine) rules() (*world.Ruleset, error) {
	w, err := m.see()
	if err != nil {
		return nil, err
	}
	return w.Rules(context.Background(), w.Host)
}

func policyLine(c *world.Chain) string {
	if c.Hook != "forward" || c.Policy == "" || c.Family == "bridge" || c.Family == "ip6" {
		return ""
	}
	return c.Place() + ": " + c.Policy
}

// rules are those with one of the targets.
func rules(targets ...string) live {
	return func(m *Machine) (list []string, err error) {
		set, err := m.rules()
		if err != nil {
			return nil, err
		}
		var six []string
		for _, c := range set.Chains {
			for _, r := range c.Rules {
				if !slices.Contains(targets, r.Target) {
					continue
				}
				text := c.Name + " " + strings.ReplaceAll(r.Text, ` -m comment --comment "`+r.Comment+`"`, "")
				if c.Family == "ip6" {
					six = append(six, "ip6 "+text)
				} else {
					list = append(list, text)
				}
			}
		}
		return append(list, six...), nil
	}
}

// iptablesKind says which of the two sets of tables the host has.
func iptablesKind(m *Machine) (list []string, err error) {
	set, err := m.rules()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, c := range set.Chains {
		if !seen[c.Backend] {
			seen[c.Backend] = true
			list = append(list, c.Backend)
		}
	}
	return append(list, set.Unread...), nil
}

func ruleCount(m *Machine) ([]string, error) {
	set, err := m.rules()
	if err != nil {
		return nil, err
	}
	n := 0
	for _, c := range set.Chains {
		n += len(c.Rules)
	}
	return []string{fmt.Sprint(n)}, nil
}

func nftTables(m *Machine) ([]string, error) {
	w, err := m.see()
	if err != nil {
		return nil, err
	}
	return w.Host.Tables, nil
}
