package cli

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/network"
)

// readExtras reads --gw-priority, --driver-opt and --link-local-ip; a command that has no such flag has none of it.
func readExtras(c *urfave.Context) (x network.Extras, err error) {
	for _, name := range []string{"link-local-ip", "driver-opt"} {
		for _, value := range c.StringSlice(name) {
			if err := readExtra(&x, name, value); err != nil {
				return x, fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	x.GwPriority = int(c.Int64("gw-priority"))
	return x, nil
}

// readExtra reads one of them.
func readExtra(x *network.Extras, name, value string) (err error) {
	switch name {
	case "gw-priority":
		if x.GwPriority, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("gw-priority %q is not a number", value)
		}
	case "link-local-ip":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return fmt.Errorf("invalid IP address: %s", value)
		}
		x.LinkLocalIPs = append(x.LinkLocalIPs, a)
	case "driver-opt":
		key, text, given := strings.Cut(value, "=")
		if !given {
			return fmt.Errorf("invalid key value pair format in driver options: %s", value)
		}
		if x.DriverOpts == nil {
			x.DriverOpts = map[string]string{}
		}
		x.DriverOpts[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(text)
	}
	return nil
}
