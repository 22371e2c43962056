package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mydocker/mydocker/network"
)

// Network modes that are no network.
const (
	modeNone      = "none"
	modeHost      = "host"
	modeContainer = "container:"
	modePath      = "ns:"
)

// hasOwnSandbox says whether the container gets a network namespace of its own making.
func hasOwnSandbox(mode string) bool {
	return mode != modeHost && !strings.HasPrefix(mode, modeContainer) && !strings.HasPrefix(mode, modePath)
}

// isNetwork says whether the mode names a network to attach to.
func isNetwork(mode string) bool { return hasOwnSandbox(mode) && mode != modeNone }

// checkNetworks refuses what cannot work before anything is made.
func (e *Engine) checkNetworks(o *CreateOptions) error {
	if o.Network == "" || o.Network == "default" {
		o.Network = "bridge"
	}
	if !isNetwork(o.Network) && len(o.Networks) > 0 {
		return fmt.Errorf("conflicting options: --network %s cannot be combined with other networks", o.Network)
	}
	switch {
	case o.Network == modeHost && (len(o.Ports) > 0 || o.PublishAll):
		o.Ports, o.PublishAll = nil, false // as Docker: the ports are the host's already
	case strings.HasPrefix(o.Network, modeContainer):
		if len(o.Ports) > 0 || o.PublishAll {
			return errors.New("conflicting options: port publishing and the container type network mode; publish on the container whose network is joined")
		}
		target, err := e.Find(strings.TrimPrefix(o.Network, modeContainer))
		if err != nil {
			return fmt.Errorf("--network %s: %w", o.Network, err)
		}
		o.Network = modeContainer + target.ID
		o.Hostname = target.Options.Hostname
	case strings.HasPrefix(o.Network, modePath):
		p := strings.TrimPrefix(o.Network, modePath)
		if _, err := os.Stat(p); err != nil || !filepath.IsAbs(p) {
			return fmt.Errorf("--network %s: no network namespace is there (ip netns list shows the named ones under /run/netns)", o.Network)
		}
	}
	for _, l := range o.Links {
		ref, _, err := splitLink(l)
		if err == nil {
			_, err = e.Find(ref)
		}
		if err != nil {
			return fmt.Errorf("--link: %w", err)
		}
	}
	for _, x := range o.ExtraHosts {
		if err := network.CheckExtraHost(x); err != nil {
			return err
		}
	}
	for i, ref := range o.networkRefs() {
		n, err := e.networks.Network(ref)
		if err != nil {
			return err
		}
		ip, ip6, mac, extras := o.IP, o.IP6, o.MacAddress, o.Extras
		if i > 0 {
			a := o.Networks[i-1]
			ip, ip6, mac, extras = a.IP, a.IP6, a.MAC, a.Extras
		}
		if err := errors.Join(n.CheckJoin(ip, ip6, mac), n.CheckExtras(extras)); err != nil {
			return err
		}
	}
	if err := e.networks.CheckShape(o.Shape); err != nil {
		return err
	}
	for _, n := range o.Networks {
		if err := e.networks.CheckShape(n.Shape); err != nil {
			return err
		}
	}
	return nil
}

// networkRefs are the networks to attach to, in the order of their interfaces.
func (o *CreateOptions) networkRefs() []string {
	if !isNetwork(o.Network) {
		return nil
	}
	refs := []string{o.Network}
	for _, n := range o.Networks {
		refs = append(refs, n.Network)
	}
	return refs
}

// networksShown are the networks that a container is on as a person sees it: none and host are two of them.
func (o *CreateOptions) networksShown() []string {
	if isNetwork(o.Network) {
		return o.networkRefs()
	}
	if o.Unplugged {
		return nil
	}
	return []string{o.Network}
}

// proxied says whether the ports are published by a proxy.
func (e *Engine) proxied(o *CreateOptions) bool {
	if o.UserlandProxy != nil {
		return *o.UserlandProxy
	}
	return e.config.UserlandProxy
}

// endpoints are the attachments of a container.
func (e *Engine) endpoints(d *Definition, ports []network.PortMapping) []network.EndpointOptions {
	o := &d.Options
	if !isNetwork(o.Network) {
		return nil
	}
	unnamed, links := 0, e.linkNames(d)
	list := []network.EndpointOptions{{
		ContainerID: d.ID, ContainerName: d.Name, Network: o.Network, Interface: o.Extras.NextInterface(&unnamed),
		IP: o.IP, IP6: o.IP6, MAC: o.MacAddress, Aliases: o.Aliases, Links: links, Shape: o.Shape, Extras: o.Extras,
	}}
	for _, n := range o.Networks {
		list = append(list, network.EndpointOptions{
			ContainerID: d.ID, ContainerName: d.Name, Network: n.Network, Interface: n.Extras.NextInterface(&unnamed),
			IP: n.IP, IP6: n.IP6, MAC: n.MAC, Aliases: n.Aliases, Links: links, Shape: n.Shape, Extras: n.Extras,
		})
	}
	for i, s := range e.portsByPlace(o, ports) {
		list[i].Ports, list[i].Proxy = s.ports, e.proxied(o)
	}
	return list
}

// Places are the attachments that a container of these options would have. Nothing is made.
func (e *Engine) Places(o CreateOptions, id, name string) ([]network.EndpointOptions, error) {
	if err := e.checkNetworks(&o); err != nil {
		return nil, err
	}
	d := &Definition{ID: id, Name: name, Options: o}
	ports, err := e.portsToPublish(d)
	return e.endpoints(d, ports), err
}
