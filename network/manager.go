package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Options say where records live and who watches.
type Options struct {
	Root     state.Root
	Watch    plan.Watcher
	Firewall string // iptables; "" is iptables
	Config   Config // the configuration file: see ReadConfig
	// Reread reads that file as it is now; nil: Config is no file's. A process that stays may have read it long ago, and what it said
	// then is not to be put into effect again.
	Reread func() (Config, error)
	Warn   func(message string) // nil: nobody wants to know
	Etc    string               // where other programs have their configuration; "" is /etc
	// Hold keeps a running container from being started anew, connected and disconnected until release is called. With wait it waits
	// for those who do so now; else, and where the container does not run, release is nil. Nil: nobody does any of that.
	Hold func(containerID string, wait bool) (release func() error, err error)
}

// Manager makes and removes networks, sandboxes and endpoints. It holds no state of its own: everything is in records and
// in the kernel, so any number of processes may each have one.
type Manager struct {
	root     state.Root
	watch    plan.Watcher
	backend  string
	config   Config
	reread   func() (Config, error)
	warn     func(string)
	etc      string
	hold     func(containerID string, wait bool) (release func() error, err error)
	executor func() executor
	flavour  func(alsoNFTables bool) string // of iptables, found out once
}

// Open has no effect.
func Open(o Options) *Manager {
	m := &Manager{
		root: o.Root, watch: o.Watch, backend: o.Firewall, config: o.Config, reread: o.Reread, warn: eachOnce(o.Warn),
		etc: cmp.Or(o.Etc, "/etc"), hold: o.Hold, executor: func() executor { return newKernel(o.Root) },
	}
	var once sync.Once
	var found string
	m.flavour = func(alsoNFTables bool) string {
		once.Do(func() { found = flavour(alsoNFTables) })
		return found
	}
	return m
}

// current is the manager with the configuration as the file has it now.
func (m *Manager) current() (*Manager, error) {
	if m.reread == nil {
		return m, nil
	}
	now := *m
	var err error
	now.config, err = m.reread()
	return &now, err
}

// eachOnce lets each message through once: what several steps of one command come upon is said once.
func eachOnce(warn func(string)) func(string) {
	if warn == nil {
		return nil
	}
	var said sync.Map
	return func(message string) {
		if _, again := said.LoadOrStore(message, nil); !again {
			warn(message)
		}
	}
}

// EndpointOptions say how a container joins a network.
type EndpointOptions struct {
	ContainerID, ContainerName string
	Network                    string // name, id or unique prefix
	Interface                  string // "" means the next free ethN
	IP, IP6, MAC               string
	Aliases                    []string
	Links                      map[string]string // names of other containers by what they are called for this one alone
	Ports                      []PortMapping
	Proxy                      bool // publish them by a proxy, without rules
	Shape                      Shape
	Extras                     Extras
}

// Attach gives a container a place on a network: a record, an address, its host ports; then a cable, a route and rules. If
// any of it fails, all of it is released.
func (m *Manager) Attach(ctx context.Context, sb *Sandbox, o EndpointOptions) (e *Endpoint, err error) {
	n, err := m.Network(o.Network)
	if err != nil {
		return nil, err
	}
	if err := n.CheckJoin(o.IP, o.IP6, o.MAC); err != nil {
		return nil, err
	}
	if n.bridged() {
		// Before there is anything whose removal would need it too.
		if _, err := m.firewall(m.backendOf(n)); err != nil {
			return nil, fmt.Errorf("attach %s to network %s: %w", o.ContainerName, n.Name, err)
		}
	} else if len(o.Ports) > 0 {
		return nil, fmt.Errorf("network %s (%s) publishes no ports: its containers are on the wire with addresses of their own", n.Name, n.Driver)
	}
	e, old, err := m.claim(n, sb, o)
	if err != nil {
		return nil, fmt.Errorf("attach %s to network %s: %w", o.ContainerName, n.Name, err)
	}
	defer func() {
		if err != nil {
			e.closeHeld()
			err = fmt.Errorf("attach %s to network %s: %w", o.ContainerName, n.Name, err)
			err = errors.Join(err, m.releaseEndpoint(context.WithoutCancel(ctx), e))
			if len(e.displaces) > 0 {
				back := m.executor()
				err = errors.Join(err, m.giveRoutesBack(context.WithoutCancel(ctx), back, e, sb))
				back.close()
			}
			e = nil
		}
	}()
	x := m.executor()
	defer x.close()
	for _, o := range old {
		if err = m.dismantle(ctx, x, o); err != nil {
			return e, err
		}
	}
	if err = m.realise(ctx, x, n); err != nil {
		return e, err
	}
	if err = m.connect(ctx, x, n, e, sb); err == nil {
		err = m.displace(e)
	}
	return e, err
}

// connect wires the endpoint and publishes its ports: at the same time, because starting iptables takes longer than
// everything else together; one after the other when somebody watches.
func (m *Manager) connect(ctx context.Context, x executor, n *Network, e *Endpoint, sb *Sandbox) error {
	fw, err := m.firewallFor(e)
	if err != nil {
		return err
	}
	wire := func() error { return m.run(ctx, x, endpointPlan(n, e, sb)...) }
	publish := func() error {
		if elements := guardElements(e); len(elements) > 0 {
			if err := m.run(ctx, x, guardLink{elements}); err != nil {
				return err
			}
		}
		return m.publish(ctx, x, fw, e)
	}
	var wireErr, publishErr error
	if m.watch == nil && (fw != nil || e.Guard != nil) {
		done := make(chan error, 1)
		go func() { done <- publish() }()
		wireErr = wire()
		publishErr = <-done
	} else if wireErr = wire(); wireErr == nil {
		publishErr = publish()
	}
	// A bridge that somebody has deleted, rules that somebody has flushed: make them again, once.
	var noBridge *bridgeMissing
	var noChain *refused
	bridgeGone, chainGone := errors.As(wireErr, &noBridge), errors.As(publishErr, &noChain)
	if !bridgeGone && !chainGone {
		return errors.Join(wireErr, publishErr)
	}
	if err := m.repair(ctx, x, n); err != nil {
		return errors.Join(wireErr, publishErr, err)
	}
	if err := m.withoutGuard(ctx, x, n, e, !bridgeGone); err != nil {
		return errors.Join(wireErr, publishErr, err)
	}
	if bridgeGone {
		wireErr = wire()
	}
	if chainGone || m.watch != nil && bridgeGone && wireErr == nil {
		publishErr = publish()
	}
	return errors.Join(wireErr, publishErr)
}

// publish makes the rules of an endpoint's ports. Without a backend there is none to make.
func (m *Manager) publish(ctx context.Context, x executor, fw Firewall, e *Endpoint) error {
	if fw == nil {
		return nil
	}
	if err := m.run(ctx, x, fw.Publish(e)...); err != nil {
		return err
	}
	if udp := udpPorts(e.Ports); len(udp) > 0 {
		return m.run(ctx, x, forgetUDP{udp})
	}
	return nil
}

// firewallFor is the backend that an endpoint with published ports needs, nil without.
func (m *Manager) firewallFor(e *Endpoint) (Firewall, error) {
	if !slices.ContainsFunc(e.Ports, e.ruled) {
		return nil, nil
	}
	return m.firewall(e.Firewall)
}

// claim takes everything that two containers could quarrel about, and writes the endpoint's record, all under the locks of
// the network's addresses and of the ports. old are endpoints that had the address before and have not left the kernel yet.
func (m *Manager) claim(n *Network, sb *Sandbox, o EndpointOptions) (e *Endpoint, old []*Endpoint, err error) {
	e, err = m.newEndpoint(n, sb, o)
	if err != nil {
		return nil, nil, err
	}
	books, err := m.openBooks(n)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, books.close()) }()
	if _, err := os.Stat(m.networkPath(n.ID)); err != nil {
		return nil, nil, absent("network %s has been removed", n.Name)
	}
	if _, err := os.Stat(m.endpointPath(n.ID, o.ContainerID)); err == nil {
		return nil, nil, exists("container %s is on the network already", o.ContainerName)
	}
	if err := books.take(m, n, e, o); err != nil {
		return nil, nil, err
	}
	if e.MAC == nil && n.Driver != DriverIPvlan {
		e.MAC = macFor(e.Address.Addr(), e.Address6.Addr())
	}
	if err := m.enter(e, n.HostSide(o.Ports, e.Proxy)); err != nil {
		return nil, nil, errors.Join(err, books.giveBack(e))
	}
	old, err = m.releasedAt(e)
	return e, old, err
}

// enter claims the endpoint's ports and writes its record: all of it or nothing. Who asks whether a claim is good holds the
// lock on the ports, so that he never sees a claim whose record is about to be written.
func (m *Manager) enter(e *Endpoint, ports []PortMapping) error {
	if len(ports) == 0 {
		return m.saveEndpoint(e)
	}
	lock, err := m.lockPorts()
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := m.claimPorts(e, ports); err != nil {
		return err
	}
	if err := m.saveEndpoint(e); err != nil {
		e.closeHeld()
		return errors.Join(err, m.unclaimPorts(e))
	}
	return nil
}

// HostBinding is the address that the network's option names for ports without one; invalid if it is any.
func (n *Network) HostBinding() netip.Addr {
	a, err := netip.ParseAddr(n.Options[OptHostBinding])
	if err != nil || a.IsUnspecified() { // there is none: it was checked when the network was made
		return netip.Addr{}
	}
	return a
}

// HostSide puts ports without an address on the one that the network's option names. Rules lead from IPv6 to IPv6 only: all addresses
// of the host are those of IPv6 where the containers have no others.
func (n *Network) HostSide(ports []PortMapping, proxy bool) []PortMapping {
	a := n.HostBinding()
	if !a.IsValid() {
		if n.EnableIPv4() || proxy {
			return ports
		}
		a = netip.IPv6Unspecified()
	}
	ports = slices.Clone(ports)
	for i, p := range ports {
		if !p.HostIP.IsValid() || p.Split && p.HostIP.Is4() {
			ports[i].HostIP = a
		}
	}
	return ports
}

// newEndpoint is an endpoint before it has an address.
func (m *Manager) newEndpoint(n *Network, sb *Sandbox, o EndpointOptions) (*Endpoint, error) {
	e := &Endpoint{
		ID: newID(), NetworkID: n.ID, NetworkName: n.Name, Bridge: n.Bridge, MTU: n.MTU,
		ContainerID: o.ContainerID, ContainerName: o.ContainerName, Sandbox: sb.Name,
		Interface: o.Interface, Aliases: o.Aliases, Links: o.Links, Shape: o.Shape, Extras: o.Extras, Proxy: o.Proxy && len(o.Ports) > 0, Routed: n.routed() && !n.Internal,
	}
	if n.bridged() {
		e.HostLink, e.Firewall, e.Guard = hostLink(e.ID), m.backendOf(n), guardFor(n)
	}
	if err := errors.Join(o.Shape.check(e.MTU), m.CheckShape(o.Shape), n.CheckExtras(o.Extras)); err != nil {
		return nil, err
	}
	if o.MAC != "" {
		mac, err := net.ParseMAC(o.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return nil, fmt.Errorf("%q is not a MAC address that an interface can have", o.MAC)
		}
		e.MAC = HardwareAddr(mac)
	}
	others, err := m.ContainerEndpoints(o.ContainerID)
	if err != nil {
		return nil, err
	}
	e.DefaultRoute, e.DefaultRoute6 = !n.Internal && n.EnableIPv4(), !n.Internal && n.EnableIPv6
	e.seek(others)
	if e.Interface = cmp.Or(o.Extras.DriverOpts[OptEndpointIfname], e.Interface); e.Interface == "" {
		e.Interface = nextInterface(others)
	} else if !validLinkName(e.Interface) {
		return nil, fmt.Errorf("%q cannot be the name of an interface", e.Interface)
	}
	return e, nil
}

func nextInterface(others []*Endpoint) string {
	for i := 0; ; i++ {
		name := "eth" + strconv.Itoa(i)
		if !slices.ContainsFunc(others, func(e *Endpoint) bool { return e.Interface == name }) {
			return name
		}
	}
}

// releasedAt are the endpoints that had the same address: their links still answer for it until they are gone.
func (m *Manager) releasedAt(e *Endpoint) ([]*Endpoint, error) {
	released, err := m.releasedEndpoints()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(released, func(r *Endpoint) bool {
		same := r.Address.IsValid() && r.Address == e.Address || r.Address6.IsValid() && r.Address6 == e.Address6
		return r.NetworkID != e.NetworkID || !same && (r.HostLink == "" || r.HostLink != e.HostLink)
	}), nil
}
