package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/mydocker/mydocker/doctor"
	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/topology"
)

func topologyVerb() *verb {
	return &verb{
		name: "topology", aliases: []string{"topo"}, summary: "Draw the networks of this host as they are in the kernel", usage: "[OPTIONS]",
		about: `Namespaces, cables, bridges, addresses, routes and published ports are drawn, whoever made them. A dotted cable does not carry
packets: one of its ends is down. A number behind an exclamation mark leads to a fault under the drawing; "mydocker doctor" tells how
to mend it.

Examples:
  $ mydocker topology
  $ mydocker topology --watch
  $ mydocker topology --format html > topology.html
  $ mydocker topology --format dot | dot -Tpng > topology.png`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				strDefault("format", "string", "text", `What to write ("text", "svg", "html", "json", "dot", "mermaid")`),
				yesDefault("faults", true, "Look for faults, as \"mydocker doctor\" does, and mark them"),
				yes("watch,w", "Draw again whenever something has changed, until ctrl-c"),
				numberDefault("width", 0, "Columns of the text; by default those of the terminal, or 100"),
				langFlag(),
			}
		},
		run: runTopology,
	}
}

func runTopology(s *session, c *urfave.Context) error {
	texts, err := s.texts(c)
	if err != nil {
		return err
	}
	format := c.String("format")
	forms := topologyForms(s.columns(c.Int("width")))
	form, ok := forms[format]
	if !ok {
		return s.refuse(fmt.Errorf("invalid --format %q: text, svg, html, json, dot or mermaid", format))
	}
	if c.Int("width") < 0 {
		return s.refuse(errors.New("--width cannot be negative"))
	}
	draw := func(ctx context.Context) (string, error) {
		v, err := s.topology(ctx, texts, c.Bool("faults"))
		if err != nil {
			return "", err
		}
		return form(v, texts)
	}
	if !c.Bool("watch") {
		text, err := draw(context.Background())
		if err != nil {
			return err
		}
		_, err = s.streams.Out.WriteString(text)
		return err
	}
	return s.watchTopology(draw)
}

// topologyForms are the ways to write a view.
func topologyForms(columns int) map[string]func(*topology.View, *lang.Catalogue) (string, error) {
	plain := func(write func(*topology.View, *lang.Catalogue) string) func(*topology.View, *lang.Catalogue) (string, error) {
		return func(v *topology.View, texts *lang.Catalogue) (string, error) { return write(v, texts), nil }
	}
	return map[string]func(*topology.View, *lang.Catalogue) (string, error){
		"text": func(v *topology.View, texts *lang.Catalogue) (string, error) {
			return topology.Text(v, texts, columns), nil
		},
		"svg":     plain(topology.SVG),
		"html":    plain(topology.HTML),
		"dot":     plain(topology.Dot),
		"mermaid": plain(topology.Mermaid),
		"json":    func(v *topology.View, _ *lang.Catalogue) (string, error) { return topology.JSON(v) },
	}
}

// columns is how wide a drawing may be.
func (s *session) columns(asked int) int {
	if asked > 0 {
		return asked
	}
	if width, _, err := term.GetSize(int(s.streams.Out.Fd())); err == nil && width > 20 {
		return width
	}
	return 100
}

// topology looks at the host, and marks what the doctor finds wrong with it.
func (s *session) topology(ctx context.Context, texts *lang.Catalogue, faults bool) (*topology.View, error) {
	w, err := s.readWorld(ctx)
	if err != nil {
		return nil, err
	}
	v, err := topology.Look(ctx, w)
	if err != nil || !faults {
		return v, err
	}
	report, err := doctor.Examine(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("%w (--faults=false draws without looking for faults)", err)
	}
	for _, f := range report.Findings {
		v.Mark(f.Object, f.About, texts.Text("doctor."+f.ID+".cause", f.Values...))
	}
	return v, nil
}

// watchTopology draws until ctrl-c. On a terminal each drawing takes the place of the one before; elsewhere it follows it.
func (s *session) watchTopology(draw func(context.Context) (string, error)) error {
	ctx, stop := interruptible()
	defer stop()
	last := ""
	for {
		text, err := draw(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if text != last {
			head := ""
			switch {
			case isTerminal(s.streams.Out):
				head = "\x1b[H\x1b[2J" // home, clear: ECMA-48
			case last != "":
				head = strings.Repeat("-", 40) + "\n"
			}
			if _, err := s.streams.Out.WriteString(head + text); err != nil {
				return err
			}
			last = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}
