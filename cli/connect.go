package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func connectVerb() *verb {
	return &verb{
		name: "connect", summary: "Connect a container to a network", usage: "[OPTIONS] NETWORK CONTAINER", rules: true, min: 2, max: 2, complete: "network container",
		about: `A running container gets one more interface at once; another one at its next start.

Examples:
  $ mydocker network connect back web
  $ mydocker network connect --ip 10.5.0.7 --alias db lab web`,
		flags: func() []urfave.Flag {
			return append([]urfave.Flag{
				list("alias", "Add network-scoped alias for the container"),
				listOf("driver-opt", "stringSlice", "driver options for the network"),
				number("gw-priority", "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
				str("ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
				str("ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
				list("link", "Add link to another container"),
				listOf("link-local-ip", "stringSlice", "Add a link-local address for the container"),
			}, shapeFlags()...)
		},
		run: func(s *session, c *urfave.Context) error {
			a := engine.NetworkAttachment{Network: c.Args().Get(0), IP: c.String("ip"), IP6: c.String("ip6"), Aliases: c.StringSlice("alias"), Links: c.StringSlice("link")}
			var err error
			if a.Extras, err = readExtras(c); err != nil {
				return s.bad(err)
			}
			if a.Shape, err = shapeTexts(c).Apply(a.Shape); err != nil {
				return s.bad(err)
			}
			if err := checkAttachment(a); err != nil {
				return s.bad(err)
			}
			if err := checkUserDefined(a); err != nil {
				return s.bad(err)
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			return e.Connect(context.Background(), c.Args().Get(1), a)
		},
	}
}

func disconnectVerb() *verb {
	return &verb{
		name: "disconnect", summary: "Disconnect a container from a network", usage: "[OPTIONS] NETWORK CONTAINER", min: 2, max: 2, complete: "network container",
		about: `Examples:
  $ mydocker network disconnect back web`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{yes("force,f", "Force the container to disconnect from a network")}
		},
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return e.Disconnect(context.Background(), c.Args().Get(1), c.Args().Get(0), c.Bool("force"))
		},
	}
}
