package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/network"
)

func networkPlanVerb() *verb {
	return &verb{
		name: "plan", summary: "Print networks as a shell script", usage: "NETWORK [NETWORK...]", min: 1, max: -1, complete: "network",
		about: `The script makes the same network on a host that has none: the bridge, its rules, and the namespaces, cables and
published ports of its containers, each command with what it is for.

Examples:
  $ mydocker network plan br0
  $ mydocker network plan br0 > br0.sh`,
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			script, err := e.Networks().Plan(context.Background(), c.Args().Slice()...)
			if err != nil {
				return err
			}
			return s.writeScript(script)
		},
	}
}

// writeScript prints a script with the reasons above its commands in the user's language.
func (s *session) writeScript(script string) error {
	texts, err := s.catalogue()
	if err != nil {
		return err
	}
	lines := strings.Split(script, "\n")
	for i, line := range lines {
		if reason, ok := strings.CutPrefix(line, "# "); ok {
			lines[i] = "# " + texts.Translated("reason", reason)
		}
	}
	_, err = s.streams.Out.WriteString(strings.Join(lines, "\n"))
	return err
}

func networkSyncVerb() *verb {
	return &verb{
		name: "sync", summary: "Repair bridges, cables and rules that others have damaged", usage: "[OPTIONS]",
		about: `The kernel is compared with what the records say should be there: after "iptables -F", a firewall that reloads, a
deleted bridge, a link that was taken down, an address, a route, an MTU, a port's flag or a rate (--net-rate) that
somebody has changed. What is missing is made, and printed as the command that it equals.

Examples:
  $ mydocker network sync --dry-run
  $ mydocker network sync`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("dry-run", "Only print what would be done"),
				yes("quiet,q", "Print nothing"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			commands, err := e.Networks().Sync(context.Background(), c.Bool("dry-run"))
			if !c.Bool("quiet") {
				for _, line := range commands {
					if _, err := fmt.Fprintln(s.streams.Out, line); err != nil {
						return err
					}
				}
			}
			return err
		},
	}
}

// planCreate is `network create --dry-run`.
func (s *session) planCreate(o network.CreateOptions) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	script, err := e.Networks().PlanCreate(context.Background(), o)
	if err != nil {
		return err
	}
	return s.writeScript(script)
}

// planRun is `run --dry-run`: the networks that the container would be on as they are now, and then the container's own place on
// them. Nothing is made, and no image is needed.
func (s *session) planRun(o engine.CreateOptions) error {
	if o.Network != "" && o.Network != "default" && !isNetworkName(o.Network) {
		_, err := fmt.Fprintf(s.streams.Out, "#!/bin/sh\n# --network %s: no bridge, cable, address or rule is made\n", o.Network)
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	name := o.Name
	if name == "" {
		name = "container"
	}
	places, err := e.Places(o, dryRunID, name)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range places {
		names = append(names, p.Network)
	}
	there, err := e.Networks().Plan(context.Background(), names...)
	if err != nil {
		return err
	}
	mine, err := e.Networks().PlanAttach(context.Background(), name, places...)
	if err != nil {
		return err
	}
	return s.writeScript(scriptHead + strings.TrimPrefix(there, scriptHead) + strings.TrimPrefix(mine, scriptHead))
}

const (
	scriptHead = "#!/bin/sh\nset -e\n"
	// dryRunID stands for the id of a container that is not made.
	dryRunID = "d000000000000000000000000000000000000000000000000000000000000000"
)

// checkDryRun refuses what a script of the network cannot tell.
func checkDryRun(o engine.CreateOptions) error {
	if o.PublishAll {
		return errors.New("conflicting options: --dry-run and --publish-all, whose ports are the image's and chosen at the start; name them with -p")
	}
	return nil
}
