package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// neighbourRoutes looks for the routes that the kernel makes together with an address, and that `ip route flush` takes away without it.
// They come before the default route: it can only be added where its gateway is a neighbour.
func (x *exam) neighbourRoutes() error {
	for _, s := range x.segments {
		for _, p := range s.subnets() {
			x.neighbourRoute(s.bridge, p, s.name(), s.about())
		}
		for _, st := range s.stations {
			if st.addr().IsValid() {
				x.neighbourRoute(st.inner, st.prefix(), st.name(), st.about())
			}
		}
	}
	return nil
}

func (x *exam) neighbourRoute(l *world.Link, address netip.Prefix, object string, about []string) {
	subnet, n := address.Masked(), l.Namespace
	if !l.Up || address.IsSingleIP() || slices.ContainsFunc(n.Routes, func(r world.Route) bool { return r.To == subnet && r.Dev == l }) {
		return
	}
	six := subnet.Addr().Is6()
	command := fmt.Sprintf("%s add %s dev %s proto kernel", x.route(n, six), subnet, l.Name)
	if !six {
		command += fmt.Sprintf(" scope link src %s", address.Addr())
	} else {
		command += " metric 256"
	}
	x.add(Finding{ID: "no-neighbour-route", Object: object, About: about, Values: []any{"link", l.Name, "namespace", object, "address", address, "subnet", subnet},
		Evidence: []Evidence{{x.route(n, six), routeList(n, six)}}, Commands: []string{command}})
}
