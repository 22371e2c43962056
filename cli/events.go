package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func eventsVerb() *verb {
	return &verb{
		name: "events", summary: "Get real time events from mydocker", usage: "[OPTIONS]",
		filters: "container daemon event image label network plugin scope type volume",
		about: `Every command of mydocker writes its events down, so nothing has to run for them, and --since reaches back.
--filter takes container, event, image, label, network, scope, type and volume.

Examples:
  $ mydocker events --since 1h --until 0s
  $ mydocker events --filter type=container --filter event=die --format '{{.Actor.Attributes.name}}'`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				listOf("filter,f", "filter", "Filter output based on conditions provided"),
				str("format", "string", "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template"),
				str("since", "string", "Show all events created since timestamp"),
				str("until", "string", "Stream events until this timestamp"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			f, err := s.readFilters(c)
			if err != nil {
				return s.bad(err)
			}
			o := engine.EventOptions{Match: f.event}
			now := time.Now()
			if o.Since, err = parseTime(c.String("since"), now); err != nil {
				return s.bad(fmt.Errorf("invalid --since: %w", err))
			}
			if o.Until, err = parseTime(c.String("until"), now); err != nil {
				return s.bad(fmt.Errorf("invalid --until: %w", err))
			}
			show, err := eventPrinter(c.String("format"))
			if err != nil {
				return &usageError{s.verb, err.Error(), 64}
			}
			o.Each = func(ev engine.Event) error {
				err := show(s.streams.Out, ev)
				if err == nil || errors.As(err, new(*fs.PathError)) { // of the output, not of the template
					return err
				}
				return &usageError{s.verb, err.Error(), 64} // Docker's status for a template
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			return e.Events(context.Background(), o)
		},
	}
}

// event says whether the filters let an event through.
func (f filters) event(ev engine.Event) bool {
	actor := func(kind string) func(string) bool {
		return func(v string) bool {
			return ev.Type == kind && (ev.Actor.Attributes["name"] == v || ev.Actor.ID == v || v != "" && strings.HasPrefix(ev.Actor.ID, v)) ||
				ev.Type != kind && ev.Actor.Attributes[kind] == v
		}
	}
	return f.any("type", func(v string) bool { return ev.Type == v }) &&
		f.any("event", func(v string) bool { return ev.Action == v || strings.HasPrefix(ev.Action, v+":") }) &&
		f.any("scope", func(v string) bool { return ev.Scope == v }) &&
		f.any("container", actor("container")) && f.any("image", actor("image")) &&
		f.any("network", actor("network")) && f.any("volume", actor("volume")) &&
		f.any("daemon", actor("daemon")) && f.any("plugin", actor("plugin")) && // there are none of either
		f.labels(ev.Actor.Attributes)
}

// eventPrinter is what --format asks for; by default Docker's line: TIME TYPE ACTION ID (key=value, …).
func eventPrinter(format string) (func(io.Writer, engine.Event) error, error) {
	switch format {
	case "":
		return func(w io.Writer, ev engine.Event) error {
			pairs := make([]string, 0, len(ev.Actor.Attributes))
			for k, v := range ev.Actor.Attributes {
				pairs = append(pairs, k+"="+v)
			}
			sort.Strings(pairs)
			line := fmt.Sprintf("%s %s %s %s", time.Unix(0, ev.TimeNano).Format("2006-01-02T15:04:05.000000000Z07:00"), ev.Type, ev.Action, ev.Actor.ID)
			if len(pairs) > 0 {
				line += " (" + strings.Join(pairs, ", ") + ")"
			}
			_, err := fmt.Fprintln(w, line)
			return err
		}, nil
	case "json":
		return func(w io.Writer, ev engine.Event) error { return json.NewEncoder(w).Encode(ev) }, nil
	}
	t, err := parseTemplate(format, templateFunctions())
	if err != nil {
		return nil, err
	}
	return func(w io.Writer, ev engine.Event) error {
		var line strings.Builder
		if err := t.Execute(&line, ev); err != nil {
			return templateError(err)
		}
		_, err := fmt.Fprintln(w, line.String())
		return err
	}, nil
}
