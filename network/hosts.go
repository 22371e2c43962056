package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// HostsOptions are what /etc/hosts inside a container says.
type HostsOptions struct {
	Hostname   string
	Domainname string
	Addresses  []netip.Addr // the container's own, in the order of its networks
	// Extra is --add-host: "name:address" or "name=address". The address may be host-gateway.
	Extra []string
	// HostGateway is what host-gateway stands for: the address of the host on the container's first network.
	HostGateway netip.Addr
	Links       []string // whole lines for --link: "172.17.0.2 db 18722c02cb87"
}

// HostsFile is the text of /etc/hosts, in Docker's order: the names of every machine, what was asked for, the container's
// own name. See hosts(5).
func HostsFile(o HostsOptions) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\n" +
		"ff00::0\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n")
	for _, extra := range o.Extra {
		if name, address, err := splitExtraHost(extra); err == nil {
			if address == "host-gateway" {
				address = o.HostGateway.String()
			}
			fmt.Fprintf(&b, "%s\t%s\n", address, name)
		}
	}
	for _, line := range o.Links {
		b.WriteString(line + "\n")
	}
	names := o.Hostname
	if o.Domainname != "" {
		names = o.Hostname + "." + o.Domainname + " " + o.Hostname
	}
	for _, a := range o.Addresses {
		if a.IsValid() && names != "" {
			fmt.Fprintf(&b, "%s\t%s\n", a, names)
		}
	}
	return b.Bytes()
}

// CheckExtraHost says what is wrong with an --add-host.
func CheckExtraHost(s string) error {
	_, _, err := splitExtraHost(s)
	return err
}

func splitExtraHost(s string) (name, address string, err error) {
	at := strings.IndexAny(s, ":=")
	if at <= 0 {
		return "", "", fmt.Errorf("bad format for add-host: %q: want name:address", s)
	}
	name, address = s[:at], strings.Trim(s[at+1:], "[]")
	if strings.ContainsAny(name, " \t\n#") {
		return "", "", fmt.Errorf("bad format for add-host: %q is not a name", name)
	}
	if address != "host-gateway" {
		if _, err := netip.ParseAddr(address); err != nil {
			return "", "", fmt.Errorf("invalid IP address in add-host: %q", address)
		}
	}
	return name, address, nil
}
