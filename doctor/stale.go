package doctor

import (
	"fmt"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// staleFlows: the kernel asks the rules once for each connection, and UDP's never end while somebody keeps sending.
func (x *exam) staleFlows() error {
	byRouter := map[*world.Namespace][]*publication{}
	for _, p := range x.pubs {
		if !p.lost {
			byRouter[p.router] = append(byRouter[p.router], p)
		}
	}
	for n, pubs := range byRouter {
		flows, err := x.w.Flows(n)
		if err != nil {
			x.report.Unread = append(x.report.Unread, n.Name()+": "+err.Error())
			continue
		}
		for _, f := range flows {
			if f.Proto != "udp" || !n.Owns(f.Dst.Addr()) {
				continue
			}
			i := slices.IndexFunc(pubs, func(p *publication) bool {
				return p.proto == f.Proto && p.port == f.Dst.Port() && (!p.hostIP.IsValid() || p.hostIP == f.Dst.Addr())
			})
			if i < 0 || f.From == pubs[i].target || f.Src.Addr().IsLoopback() && pubs[i].rule != nil {
				continue
			}
			p := pubs[i]
			x.add(Finding{ID: "conntrack-stale", Object: p.name(), About: p.about(), Values: []any{"port", p.name(), "client", f.Src, "old", f.From, "target", p.target},
				Evidence: []Evidence{{fmt.Sprintf("%sconntrack -L -p udp --orig-port-dst %d", x.in(n), p.port), fmt.Sprintf("src=%s dst=%s dport=%d, src=%s", f.Src.Addr(), f.Dst.Addr(), f.Dst.Port(), f.From.Addr())}},
				Commands: []string{fmt.Sprintf("%sconntrack -D -p udp --orig-port-dst %d", x.in(n), p.port)}})
		}
	}
	return nil
}
