package world

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Where an nftables rule leads a packet.

// translation reads where dnat, snat and redirect lead: an address and a port, or a map of them.
func (n *nftReader) translation(r *Rule, value json.RawMessage) {
	var t struct {
		Addr json.RawMessage
		Port json.RawMessage
	}
	if json.Unmarshal(value, &t) != nil {
		return // redirect without a port is null
	}
	var byMap struct {
		Map struct{ Data json.RawMessage }
	}
	if json.Unmarshal(t.Addr, &byMap) == nil && byMap.Map.Data != nil {
		var name string
		if json.Unmarshal(byMap.Map.Data, &name) == nil && n.sets[strings.TrimPrefix(name, "@")] != nil {
			r.Map = n.mapEntries(n.sets[strings.TrimPrefix(name, "@")])
			return
		}
		r.Match.Partial = true
		return
	}
	if v, ok := n.values(t.Addr); ok && len(v) == 1 {
		r.To.Addr, _ = netip.ParseAddr(v[0])
	}
	if v, ok := n.values(t.Port); ok && len(v) == 1 {
		var m PortMatch
		if ports(&m, v, false) && len(m.Ranges) == 1 {
			r.To.PortMin, r.To.PortMax = m.Ranges[0][0], m.Ranges[0][1]
		}
	}
}

// mapEntries reads [[key, value], …] with keys "proto . port" or "address . proto . port".
func (n *nftReader) mapEntries(s *nftSet) (all []MapEntry) {
	for _, raw := range s.Elem {
		var pair []json.RawMessage
		if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
			continue
		}
		key, okKey := n.values(pair[0])
		value, okValue := n.values(pair[1])
		if !okKey || !okValue || len(key) < 2 || len(value) != 2 {
			continue
		}
		var e MapEntry
		if len(key) == 3 {
			e.Addr, _ = netip.ParseAddr(key[0])
			key = key[1:]
		}
		port, errPort := strconv.ParseUint(key[1], 10, 16)
		to, errTo := netip.ParseAddr(value[0])
		toPort, errToPort := strconv.ParseUint(value[1], 10, 16)
		if errPort != nil || errTo != nil || errToPort != nil {
			continue
		}
		e.Proto, e.Port, e.To = protoName(key[0]), uint16(port), netip.AddrPortFrom(to, uint16(toPort))
		var elem struct{ Elem struct{ Comment string } }
		if json.Unmarshal(pair[0], &elem) == nil {
			e.Comment = elem.Elem.Comment
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b MapEntry) int { return int(a.Port) - int(b.Port) })
	return all
}
