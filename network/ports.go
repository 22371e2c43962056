package network

import "net/netip"
import "os"
import "fmt"

// PortMapping is one -p: a host port, or a run of them, that leads to a container's.
type PortMapping struct {
	HostIP        netip.Addr `json:",omitzero"` // the zero Addr means every address of the host
	HostPort      uint16     // 0: one is chosen
	ContainerPort uint16
	Count         uint16 // length of the range, at least 1
	Proto         string // tcp, udp, sctp
}

func (p PortMapping) String() string { return fmt.Sprint(p.HostPort) }

func ParsePort(s string) ([]PortMapping, error) { return nil, fmt.Errorf("not there yet") }

type heldPort struct{ file *os.File }
