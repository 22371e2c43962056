package network

import (
	"context"
	"errors"
	"os"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Options say where records live and who watches. The zero Firewall means iptables.
type Options struct {
	Root     state.Root
	Watch    plan.Watcher
	Firewall string // iptables (default), nftables
}

// Manager makes and removes networks, sandboxes and endpoints. It holds no state of its own: everything is in records and
// in the kernel, so any number of processes may each have one.
type Manager struct {
	root  state.Root
	watch plan.Watcher
}

// Open has no effect.
func Open(o Options) *Manager { return &Manager{root: o.Root, watch: o.Watch} }

// CreateOptions are the flags of `network create`. Empty means: choose.
type CreateOptions struct {
	Name, Driver         string
	Subnet, Gateway      string // IPv4
	IPRange              string
	Subnet6, Gateway6    string
	AuxAddresses         map[string]string
	Internal, EnableIPv6 bool
	Attachable           bool
	Labels, Options      map[string]string
}

// EndpointOptions say how a container joins a network.
type EndpointOptions struct {
	ContainerID, ContainerName string
	Network                    string // name, id or unique prefix
	Interface                  string // "" means the next free ethN
	IP, IP6, MAC               string
	Aliases                    []string
	Ports                      []PortMapping
}

// Sandbox is a pinned network namespace.
type Sandbox struct{ Name, Path string }

var errNotYet = errors.New("not there yet")

func (m *Manager) Create(ctx context.Context, o CreateOptions) (*Network, error) {
	return nil, errNotYet
}
func (m *Manager) Networks() ([]*Network, error)                              { return nil, errNotYet }
func (m *Manager) Network(ref string) (*Network, error)                       { return nil, errNotYet }
func (m *Manager) Remove(ctx context.Context, ref string) error               { return errNotYet }
func (m *Manager) Endpoints(networkID string) ([]*Endpoint, error)            { return nil, errNotYet }
func (m *Manager) ContainerEndpoints(containerID string) ([]*Endpoint, error) { return nil, errNotYet }
func (m *Manager) CreateSandbox(ctx context.Context, name, containerID string) (*Sandbox, error) {
	return nil, errNotYet
}
func (m *Manager) DeleteSandbox(name string) error     { return errNotYet }
func (m *Manager) RenameSandbox(old, new string) error { return errNotYet }
func (s *Sandbox) Do(fn func() error) error            { return errNotYet }
func (m *Manager) Attach(ctx context.Context, sb *Sandbox, o EndpointOptions) (*Endpoint, error) {
	return nil, errNotYet
}
func (e *Endpoint) Hold() []*os.File                                     { return nil }
func (m *Manager) ReleaseClaims(containerID string) error                { return errNotYet }
func (m *Manager) Release(ctx context.Context, containerID string) error { return errNotYet }
func (m *Manager) GC(ctx context.Context, alive func(containerID string) bool) (removed []string, err error) {
	return nil, errNotYet
}

// HostsOptions are what /etc/hosts inside a container says.
type HostsOptions struct {
	Hostname, Domainname string
	Addresses            []string // the container's own
	Extra                []string // name:address
	Links                []string // whole lines
	IPv6                 bool
}

func HostsFile(o HostsOptions) []byte { return nil }

// ResolvOptions are what /etc/resolv.conf inside a container says.
type ResolvOptions struct {
	Host                     []byte // the host's file
	Servers, Search, Options []string
	Embedded                 bool // the resolver at 127.0.0.11 serves this container
}

func ResolvConf(o ResolvOptions) ([]byte, error) { return nil, errNotYet }
