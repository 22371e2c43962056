package network

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The three networks that are always there.
const (
	DefaultName = "bridge" // a container joins it when nothing else is said
	HostName    = "host"   // the host's own network namespace
	NoneName    = "none"   // a namespace with lo and nothing else
)

// Drivers.
const (
	DriverBridge  = "bridge"
	DriverMacvlan = "macvlan"
	DriverIPvlan  = "ipvlan"
	DriverHost    = "host"
	DriverNull    = "null"
)

// The link of the default network, and what Docker's option keys are called.
const (
	defaultLink = "mydocker0"

	OptBridgeName    = "com.docker.network.bridge.name"
	OptMTU           = "com.docker.network.driver.mtu"
	OptICC           = "com.docker.network.bridge.enable_icc"
	OptMasquerade    = "com.docker.network.bridge.enable_ip_masquerade"
	OptHostBinding   = "com.docker.network.bridge.host_binding_ipv4"
	OptDefaultBridge = "com.docker.network.bridge.default_bridge"
)

// Network is what was asked for: the record LIB/networks/<id>.json. Nothing in it describes the kernel's present state.
type Network struct {
	ID         string    // 64 hex digits
	Name       string    // unique
	Driver     string    // bridge, macvlan, ipvlan, host, null
	Created    time.Time // UTC
	Scope      string    // always "local"
	Internal   bool      // no way in or out besides the other containers
	EnableIPv6 bool
	Attachable bool // accepted for Docker's sake, means nothing here

	Bridge string `json:",omitempty"` // link name
	// Parent is the link that the containers of a macvlan or ipvlan network are on, and ParentMade says that it is the
	// network's own, to be removed with it.
	Parent     string       `json:",omitempty"`
	ParentMade bool         `json:",omitempty"`
	Mode       string       `json:",omitempty"` // of macvlan and ipvlan
	Subnet     netip.Prefix // invalid for host, none and networks that have IPv6 only
	Gateway    netip.Addr   // the bridge's address
	IPRange    netip.Prefix // addresses are handed out from here; invalid means the whole subnet
	Subnet6    netip.Prefix
	IPRange6   netip.Prefix
	Gateway6   netip.Addr
	// AuxAddresses are never handed out: name -> address.
	AuxAddresses map[string]netip.Addr `json:",omitempty"`
	MTU          int                   // bytes
	Labels       map[string]string
	Options      map[string]string
	// Settings are the configuration file's settings that the default network was made by.
	Settings string `json:",omitempty"`
	// Former are the default network's subnets under earlier settings, each as the address that the bridge keeps there: containers
	// from then still run. MAC is the bridge's, if it comes from an earlier gateway.
	Former []netip.Prefix `json:",omitempty"`
	MAC    HardwareAddr   `json:",omitempty"`
	// Firewall is the backend that made the network's rules. It stands only in the record of what is in the kernel.
	Firewall string `json:",omitempty"`
	// Unguarded says that the kernel cannot look at frames on a bridge (see Guard). It stands where Firewall does.
	Unguarded bool `json:",omitempty"`
}

// BuiltIn says whether the network is there without having been made, and cannot be removed.
func (n *Network) BuiltIn() bool {
	return n.Name == DefaultName || n.Name == HostName || n.Name == NoneName
}

// EnableIPv4 says whether containers on the network have IPv4 addresses. The record has no key for it: the subnet tells.
func (n *Network) EnableIPv4() bool { return n.Subnet.IsValid() || !n.EnableIPv6 }

// speaks says whether the network has a family.
func (n *Network) speaks(v6 bool) bool {
	if v6 {
		return n.EnableIPv6
	}
	return n.EnableIPv4()
}

// Endpoint is one container's place on one network: the record RUN/endpoints/<network id>/<container id>.json.
type Endpoint struct {
	ID            string // 64 hex digits, new at each start; the name of the host's link comes from it
	NetworkID     string
	NetworkName   string
	ContainerID   string
	ContainerName string
	Sandbox       string // name of the pinned namespace
	Interface     string // inside: eth0
	HostLink      string // outside: veth…; "" on macvlan and ipvlan networks
	Bridge        string
	Address       netip.Prefix // the container's address with the subnet's prefix length
	Gateway       netip.Addr   // invalid on an internal network
	Address6      netip.Prefix
	Gateway6      netip.Addr
	Routed        bool `json:",omitempty"` // the default route needs no gateway
	MAC           HardwareAddr
	MTU           int               // bytes
	Ports         []PortMapping     `json:",omitempty"`
	Proxy         bool              `json:",omitempty"` // the ports are served by the monitor, not by rules
	Proxied6      bool              `json:",omitempty"` // and on the host's IPv6 addresses, too: it has IPv6
	Aliases       []string          `json:",omitempty"`
	Links         map[string]string `json:",omitempty"` // names of other containers by what --link calls them for this one
	Shape         Shape             `json:",omitzero"`
	Extras        Extras            `json:",omitzero"`
	DefaultRoute  bool              // this endpoint carries the container's IPv4 default route
	DefaultRoute6 bool              `json:",omitempty"` // and the IPv6 one, which may be another's
	Firewall      string            // the backend that made the rules, and must remove them
	Guard         *Guard            `json:",omitempty"` // what its link is held to
	Released      bool              `json:"-"`          // its claims are given back, its kernel objects may still be there

	held      []HostSocket // see Hold
	displaces []*Endpoint  // see seek
}

// HardwareAddr is a MAC address that is text in JSON.
type HardwareAddr net.HardwareAddr

func (a HardwareAddr) String() string { return net.HardwareAddr(a).String() }

// MarshalText writes 02:42:ac:11:00:02.
func (a HardwareAddr) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (a *HardwareAddr) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = nil
		return nil
	}
	mac, err := net.ParseMAC(string(text))
	*a = HardwareAddr(mac)
	return err
}

// newID makes a random id of 64 hex digits.
func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

// builtInID is the id of a network that is always there: the same on every host, so that it needs no record to be found.
func builtInID(name string) string {
	sum := sha256.Sum256([]byte("mydocker network " + name))
	return hex.EncodeToString(sum[:])
}

// hostLink is the name of the host's end of an endpoint's veth pair. It comes from the endpoint's id, which is new at each
// start: the link of the run before may still be dying. 15 characters, the most that a link name can have.
func hostLink(endpointID string) string { return "veth" + endpointID[:11] }

// bridgeLink is the name of a network's bridge: the network's own name where a link can be called so, otherwise, as Docker
// does, br- and the start of the id.
func bridgeLink(name, id string) string {
	if name == DefaultName {
		return defaultLink
	}
	if validLinkName(name) {
		return name
	}
	return "br-" + id[:12]
}

// validLinkName is the kernel's dev_valid_name (net/core/dev.c), and a little stricter: no character that would need
// quoting in a shell or mean something to iptables (a trailing + matches any ending; % is a pattern).
func validLinkName(name string) bool {
	if name == "" || len(name) > 15 || name == "." || name == ".." || name[0] == '-' || name == "lo" {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == ""
}

// macFor is 02:42 and the address: Docker's rule, so that an address that is given again has the MAC that its neighbours
// remember. An IPv6 address stands for it only where there is no other: then it is a sum of all its bytes, because subnets differ at
// the front and two links on one wire must not have the same.
func macFor(a, a6 netip.Addr) HardwareAddr {
	if a.IsValid() {
		return append(HardwareAddr{0x02, 0x42}, a.AsSlice()...)
	}
	sum := sha256.Sum256(a6.AsSlice())
	return append(HardwareAddr{0x02, 0x42}, sum[:4]...)
}
