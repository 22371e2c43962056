package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func logsVerb() *verb {
	return &verb{
		name: "logs", summary: "Fetch the logs of a container",
		usage: "[OPTIONS] CONTAINER", min: 1, max: 1, complete: "container",
		about: `What the container wrote to its standard output comes out on standard output, its standard error on standard error.

Examples:
  $ mydocker logs -f --tail 10 web
  $ mydocker logs --since 10m -t web
  $ mydocker run -d --name web --label tier=front --log-opt labels=tier busybox httpd -f -v && mydocker logs --details web
  $ mydocker logs --since 2026-01-02T15:04:05Z --until 2026-01-03 web`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("details", "Show extra details provided to logs"),
				yes("follow,f", "Follow log output"),
				str("since", "string", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`),
				strDefault("tail,n", "string", "all", "Number of lines to show from the end of the logs"),
				yes("timestamps,t", "Show timestamps"),
				str("until", "string", `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			o, err := logOptions(c, time.Now())
			if err != nil {
				return s.bad(err)
			}
			o.Stdout, o.Stderr = s.streams.Out, s.streams.Err
			e, err := s.engine()
			if err != nil {
				return err
			}
			return e.Logs(context.Background(), c.Args().First(), o)
		},
	}
}

func logOptions(c *urfave.Context, now time.Time) (o engine.LogOptions, err error) {
	o = engine.LogOptions{Follow: c.Bool("follow"), Timestamps: c.Bool("timestamps"), Details: c.Bool("details"), Tail: -1}
	if tail := c.String("tail"); tail != "all" && tail != "" {
		n, err := strconv.Atoi(tail)
		if err != nil {
			return o, fmt.Errorf("invalid --tail '%s': a number of lines or \"all\" is expected", tail)
		}
		o.Tail = max(n, -1)
	}
	if o.Since, err = parseTime(c.String("since"), now); err != nil {
		return o, fmt.Errorf("invalid --since: %w", err)
	}
	if o.Until, err = parseTime(c.String("until"), now); err != nil {
		return o, fmt.Errorf("invalid --until: %w", err)
	}
	return o, nil
}

// parseTime reads a point in time as Docker does: a duration is so long ago; a Unix time with or without a fraction; or an
// RFC 3339 date, whose time, seconds, fraction and zone may be left out. A time without a zone is the machine's.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if seconds, err := strconv.ParseInt(whole, 10, 64); err == nil {
		nanos, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		if err == nil {
			return time.Unix(seconds, nanos), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15Z07:00", "2006-01-02Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-01-02T15:04:05Z nor a duration such as 10m", text)
}
