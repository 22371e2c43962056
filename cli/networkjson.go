package cli

import (
	"context"
	"net/netip"
	"time"

	"github.com/mydocker/mydocker/network"
)

// networkJSON is what `network inspect` shows, with Docker's keys.
type networkJSON struct {
	Name       string
	ID         string `json:"Id"`
	Created    string
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       ipamJSON
	Internal   bool
	Attachable bool
	Ingress    bool
	ConfigFrom struct{ Network string }
	ConfigOnly bool
	Containers map[string]networkContainerJSON
	Options    map[string]string
	Labels     map[string]string
}

type ipamJSON struct {
	Driver  string
	Options map[string]string
	Config  []ipamConfigJSON
}

type ipamConfigJSON struct {
	Subnet       string
	IPRange      string            `json:",omitempty"`
	Gateway      string            `json:",omitempty"`
	AuxAddresses map[string]string `json:"AuxiliaryAddresses,omitempty"`
}

type networkContainerJSON struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
}

func inspectNetwork(_ context.Context, s *session, ref string) (any, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	n, err := e.Networks().Network(ref)
	if err != nil {
		return nil, err
	}
	endpoints, err := e.Networks().Endpoints(n.ID)
	if err != nil {
		return nil, err
	}
	return networkToJSON(n, endpoints), nil
}

func networkToJSON(n *network.Network, endpoints []*network.Endpoint) *networkJSON {
	j := &networkJSON{
		Name: n.Name, ID: n.ID, Created: n.Created.Format(time.RFC3339Nano), Scope: n.Scope, Driver: n.Driver, EnableIPv4: n.EnableIPv4(),
		EnableIPv6: n.EnableIPv6, Internal: n.Internal, Attachable: n.Attachable,
		IPAM:       ipamJSON{Driver: "default", Config: []ipamConfigJSON{}},
		Containers: make(map[string]networkContainerJSON), Options: orEmpty(n.Options), Labels: orEmpty(n.Labels),
	}
	if !n.BuiltIn() {
		j.IPAM.Options = map[string]string{} // as Docker's client makes them
	}
	if n.Subnet.IsValid() {
		c := ipamConfigJSON{Subnet: n.Subnet.String()}
		if n.Gateway.IsValid() {
			c.Gateway = n.Gateway.String()
		}
		if n.IPRange.IsValid() && n.IPRange != n.Subnet {
			c.IPRange = n.IPRange.String()
		}
		c.AuxAddresses = auxWithin(n, n.Subnet)
		j.IPAM.Config = append(j.IPAM.Config, c)
	}
	if n.Subnet6.IsValid() {
		c := ipamConfigJSON{Subnet: n.Subnet6.String()}
		if n.Gateway6.IsValid() {
			c.Gateway = n.Gateway6.String()
		}
		if n.IPRange6.IsValid() && n.IPRange6 != n.Subnet6 {
			c.IPRange = n.IPRange6.String()
		}
		c.AuxAddresses = auxWithin(n, n.Subnet6)
		j.IPAM.Config = append(j.IPAM.Config, c)
	}
	for _, ep := range endpoints {
		c := networkContainerJSON{Name: ep.ContainerName, EndpointID: ep.ID, MacAddress: ep.MAC.String()}
		if ep.Address.IsValid() {
			c.IPv4Address = ep.Address.String()
		}
		if ep.Address6.IsValid() {
			c.IPv6Address = ep.Address6.String()
		}
		j.Containers[ep.ContainerID] = c
	}
	return j
}

// auxWithin are the auxiliary addresses of one of the network's subnets; nil if it has none.
func auxWithin(n *network.Network, subnet netip.Prefix) (aux map[string]string) {
	for name, a := range n.AuxAddresses {
		if !subnet.Contains(a) {
			continue
		}
		if aux == nil {
			aux = make(map[string]string)
		}
		aux[name] = a.String()
	}
	return aux
}

// orEmpty makes {} of what would be null in JSON.
func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
