package cli

import (
	"context"
	"errors"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/network"
)

// shapeFlags slow a container's network down.
func shapeFlags() []urfave.Flag {
	return []urfave.Flag{
		str("net-burst", "bytes", "Bytes that may go at once above --net-rate"),
		str("net-delay", "duration", "Delay what the container sends (e.g., 100ms; needs netem in the kernel)"),
		str("net-loss", "percent", "Lose so many per cent of what the container sends (e.g., 1%; needs netem)"),
		str("net-rate", "bits", "Limit the container's network in each direction (e.g., 10mbit)"),
	}
}

func shapeTexts(c *urfave.Context) network.ShapeTexts {
	return network.ShapeTexts{Rate: c.String("net-rate"), Burst: c.String("net-burst"), Delay: c.String("net-delay"), Loss: c.String("net-loss")}
}

func networkShapeVerb() *verb {
	return &verb{
		name: "shape", summary: "Slow down a container's traffic on a network", usage: "[OPTIONS] NETWORK CONTAINER", min: 2, max: 2, complete: "network container",
		about: `A running container feels it at once, and it holds for the next start. What is not named stays as it is; 0 takes it
away. The rate is a limit in each direction; delay and loss are for what the container sends.

Examples:
  $ mydocker network shape --net-rate 10mbit br0 web
  $ mydocker network shape --net-delay 100ms --net-loss 1% br0 web
  $ mydocker network shape --net-rate 0 br0 web`,
		flags: shapeFlags,
		run: func(s *session, c *urfave.Context) error {
			texts := shapeTexts(c)
			if texts.Empty() {
				return s.bad(errors.New("you must provide one or more flags when using this command"))
			}
			if err := checkShape(texts); err != nil {
				return s.bad(err)
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			return e.Shape(context.Background(), c.Args().Get(1), c.Args().Get(0), texts.Apply)
		},
	}
}

// checkShape finds what is wrong with each value, before it is known what they change.
func checkShape(t network.ShapeTexts) error {
	if t.Rate == "" {
		t.Rate = "1mbit" // there may be one that a burst belongs to
	}
	_, err := t.Apply(network.Shape{})
	return err
}

// updateShape is the part of `update` that is about the network: the first one.
func updateShape(e *engine.Engine, ref string, t network.ShapeTexts) error {
	if t.Empty() {
		return nil
	}
	return e.Shape(context.Background(), ref, "", t.Apply)
}
