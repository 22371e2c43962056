package cli

import (
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
)

func healthFlags() []urfave.Flag {
	return []urfave.Flag{
		str("health-cmd", "string", "Command to run to check health"),
		duration("health-interval", "Time between running the check (ms|s|m|h) (default 0s)"),
		number("health-retries", "Consecutive failures needed to report unhealthy"),
		duration("health-start-interval", "Time between running the check during the start period (ms|s|m|h) (default 0s)"),
		duration("health-start-period", "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)"),
		duration("health-timeout", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
		yes("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
	}
}

// readHealth reads --health-… and --no-healthcheck. What is not given is the image's.
func readHealth(c *urfave.Context, o *engine.CreateOptions) error {
	var h image.Healthcheck
	given := false
	if cmd := c.String("health-cmd"); cmd != "" {
		h.Test, given = []string{"CMD-SHELL", cmd}, true
	}
	for _, d := range []struct {
		flag string
		to   *time.Duration
	}{{"health-interval", &h.Interval}, {"health-timeout", &h.Timeout}, {"health-start-period", &h.StartPeriod}, {"health-start-interval", &h.StartInterval}} {
		*d.to = c.Duration(d.flag)
		switch {
		case *d.to < 0:
			return fmt.Errorf("--%s cannot be negative", d.flag)
		case *d.to != 0 && *d.to < time.Millisecond:
			return fmt.Errorf("--%s cannot be less than 1ms", d.flag)
		}
		given = given || *d.to != 0
	}
	if h.Retries = c.Int("health-retries"); h.Retries < 0 {
		return fmt.Errorf("--health-retries cannot be negative")
	}
	given = given || h.Retries != 0
	switch {
	case c.Bool("no-healthcheck") && given:
		return fmt.Errorf("conflicting options: --no-healthcheck conflicts with --health-* options")
	case c.Bool("no-healthcheck"):
		o.Health = &image.Healthcheck{Test: []string{"NONE"}}
	case given:
		o.Health = &h
	}
	return nil
}
