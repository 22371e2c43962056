package world

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// What an nftables rule asks of a packet.

// match understands `left op right` for the fields that decide where packets of containers go.
func (n *nftReader) match(r *Rule, value json.RawMessage) bool {
	var m struct {
		Op    string
		Left  map[string]json.RawMessage
		Right json.RawMessage
	}
	if json.Unmarshal(value, &m) != nil || m.Op != "==" && m.Op != "!=" && m.Op != "in" {
		return false
	}
	not := m.Op == "!="
	if astray(m.Left, m.Right) {
		r.Match.Astray = map[bool]string{false: "yes", true: "no"}[not]
		return true
	}
	values, ok := n.values(m.Right)
	if !ok {
		return false
	}
	for kind, raw := range m.Left {
		var f struct {
			Key, Protocol, Field, Result string
			Flags                        []string
		}
		if json.Unmarshal(raw, &f) != nil {
			return false
		}
		return r.Match.set(kind, f.Protocol, f.Key+f.Field+f.Result+strings.Join(f.Flags, ","), values, not)
	}
	return false
}

// astray knows `fib saddr . iif oif missing`: the sender is not where the packet comes from (nft(8), FIB EXPRESSIONS).
func astray(left map[string]json.RawMessage, right json.RawMessage) bool {
	var fib struct {
		Result string
		Flags  []string
	}
	if json.Unmarshal(left["fib"], &fib) != nil || fib.Result != "oif" && fib.Result != "check" || !slices.Equal(fib.Flags, []string{"saddr", "iif"}) {
		return false
	}
	text := strings.Trim(string(right), `"`)
	return text == "false" || text == "0" || text == "missing"
}

// set notes one comparison.
func (m *Match) set(kind, proto, field string, values []string, not bool) bool {
	switch kind + " " + field {
	case "meta iifname", "meta iif":
		m.In = IfMatch{wildcards(values), not}
	case "meta oifname", "meta oif":
		m.Out = IfMatch{wildcards(values), not}
	case "meta l4proto", "payload protocol", "payload nexthdr":
		if len(values) != 1 {
			return false
		}
		m.Proto, m.NotProto = protoName(values[0]), not
	case "payload saddr":
		return addrs(&m.Src, values, not)
	case "payload daddr":
		return addrs(&m.Dst, values, not)
	case "payload sport", "payload dport":
		if proto != "th" {
			m.Proto = proto
		}
		to := &m.SPort
		if field == "dport" {
			to = &m.DPort
		}
		return ports(to, values, not)
	case "ct state":
		m.States, m.NotStates = append(m.States, upper(values)...), not
	case "ct status":
		m.States, m.NotStates = append(m.States, upper(values)...), not
		for _, v := range values {
			if v != "dnat" && v != "snat" {
				return false
			}
		}
	case "fib typedaddr":
		m.DstType, m.NotDstType = strings.ToUpper(values[0]), not
	case "fib typesaddr":
		m.SrcType, m.NotSrcType = strings.ToUpper(values[0]), not
	case "meta nfproto":
		return true // the packets that are asked about here are of the chain's family
	default:
		return false
	}
	return true
}

func wildcards(names []string) []string {
	for i, name := range names {
		if rest, ok := strings.CutSuffix(name, "*"); ok {
			names[i] = rest + "+"
		}
	}
	return names
}

func upper(values []string) (all []string) {
	for _, v := range values {
		all = append(all, strings.ToUpper(v))
	}
	return all
}

func protoName(s string) string {
	switch s {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	case "58", "ipv6-icmp":
		return "icmpv6"
	}
	return s
}

func addrs(to *AddrMatch, values []string, not bool) bool {
	to.Not = not
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			a, err := netip.ParseAddr(v)
			if err != nil {
				return false
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		to.Nets = append(to.Nets, p.Masked())
	}
	return true
}

func ports(to *PortMatch, values []string, not bool) bool {
	to.Not = not
	for _, v := range values {
		first, last, isRange := strings.Cut(v, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 16)
		until, errTo := strconv.ParseUint(last, 10, 16)
		if errFrom != nil || errTo != nil {
			return false
		}
		to.Ranges = append(to.Ranges, [2]uint16{uint16(from), uint16(until)})
	}
	return true
}

// values flattens a right-hand side: a word, a number, {"prefix":…}, {"range":[a,b]}, {"set":[…]}, ["a","b"], "@set".
func (n *nftReader) values(raw json.RawMessage) ([]string, bool) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	return n.flatten(v)
}

func (n *nftReader) flatten(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		if name, ok := strings.CutPrefix(v, "@"); ok {
			return n.elements(name)
		}
		return []string{v}, true
	case float64:
		return []string{strconv.Itoa(int(v))}, true
	case []any:
		return n.flattenAll(v)
	case map[string]any:
		if p, ok := v["prefix"].(map[string]any); ok {
			addr, _ := p["addr"].(string)
			bits, _ := p["len"].(float64)
			return []string{fmt.Sprintf("%s/%d", addr, int(bits))}, true
		}
		if r, ok := v["range"].([]any); ok && len(r) == 2 {
			ends, ok := n.flattenAll(r)
			return []string{strings.Join(ends, "-")}, ok && len(ends) == 2
		}
		if s, ok := v["set"].([]any); ok {
			return n.flattenAll(s)
		}
		if e, ok := v["elem"].(map[string]any); ok {
			return n.flatten(e["val"])
		}
		if c, ok := v["concat"].([]any); ok {
			return n.flattenAll(c)
		}
	}
	return nil, false
}

func (n *nftReader) flattenAll(list []any) (all []string, ok bool) {
	for _, one := range list {
		some, ok := n.flatten(one)
		if !ok {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}

func (n *nftReader) elements(set string) (all []string, ok bool) {
	s := n.sets[set]
	if s == nil {
		return nil, false
	}
	for _, raw := range s.Elem {
		some, ok := n.values(raw)
		if !ok {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}
