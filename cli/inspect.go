package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func inspectVerb() *verb {
	return &verb{
		name: "inspect", summary: "Return low-level information on mydocker objects",
		usage: "[OPTIONS] NAME|ID [NAME|ID...]", min: 1, max: -1, complete: "object",
		about: `A name is looked for among the containers, then the images, the networks and the volumes; --type says which.

Examples:
  $ mydocker inspect web
  $ mydocker inspect -f '{{.State.Pid}} {{.NetworkSettings.IPAddress}}' web
  $ mydocker inspect -f '{{json .Config.Env}}' busybox
  $ mydocker inspect --type network -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' br0`,
		flags: func() []urfave.Flag {
			return append(inspectFlags(),
				sizeFlag(),
				str("type", "string", "Only inspect objects of the given type (container, image, network, volume)"))
		},
		run: func(s *session, c *urfave.Context) error {
			kind := c.String("type")
			if _, ok := inspectors()[kind]; !ok && kind != "" {
				return s.bad(fmt.Errorf("%q is not a valid value for --type: container, image, network or volume is expected", kind))
			}
			return s.inspect(c, kind)
		},
	}
}

func inspectFlags() []urfave.Flag {
	return []urfave.Flag{str("format,f", "string", "Format output using a custom template:\n"+
		"'json':             Print in JSON format\n"+
		"'TEMPLATE':         Print output using the given Go template")}
}

// inspectKind makes the inspect command of a group: `network inspect`.
func inspectKind(kind, summary, usage, about string) *verb {
	flags := inspectFlags
	switch kind {
	case "container":
		flags = func() []urfave.Flag { return append(inspectFlags(), sizeFlag()) }
	case "network":
		flags = func() []urfave.Flag {
			return append(inspectFlags(), yes("verbose,v", "Verbose output for diagnostics (of Swarm's networks; of others there is no more to show)"))
		}
	case "image":
		flags = func() []urfave.Flag {
			return append(inspectFlags(), platformFlag("Inspect the image only if it is made for this platform"))
		}
	}
	return &verb{
		name: "inspect", summary: summary, usage: "[OPTIONS] " + usage, about: about, min: 1, max: -1, complete: kind, flags: flags,
		run: func(s *session, c *urfave.Context) error { return s.inspect(c, kind) },
	}
}

// inspector finds one object and gives what inspect shows of it. Not found is an fs.ErrNotExist.
type inspector func(ctx context.Context, s *session, ref string) (any, error)

func inspectors() map[string]inspector {
	return map[string]inspector{
		"container": inspectContainer, "image": inspectImage, "network": inspectNetwork, "volume": inspectVolume,
	}
}

// inspectOrder is the order in which a name without a type is looked for.
func inspectOrder() []string { return []string{"container", "image", "network", "volume"} }

func inspectContainer(ctx context.Context, s *session, ref string) (any, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	return e.Inspect(ctx, ref)
}

func sizeFlag() urfave.Flag {
	return yes("size,s", "Display total file sizes if the type is container")
}

// addSizes is inspect --size: what the container has written, and that with all its layers, in bytes.
func addSizes(s *session, v any) error {
	j, ok := v.(*engine.ContainerJSON)
	if !ok {
		return nil
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	written, layers, err := containerSizes(e, filepath.Dir(j.LogPath), j.Image)
	if err != nil {
		return err
	}
	all := written + layers
	j.SizeRw, j.SizeRootFs = &written, &all
	return nil
}

// lookUp finds an object of one kind, or of the first kind that knows the name.
func (s *session) lookUp(ctx context.Context, kind, ref string) (any, error) {
	if kind != "" {
		return inspectors()[kind](ctx, s, ref)
	}
	for _, kind := range inspectOrder() {
		v, err := inspectors()[kind](ctx, s, ref)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return v, err
		}
	}
	return nil, fmt.Errorf("no such object: %s (mydocker ps -a, images, network ls and volume ls list them)", ref)
}

// inspect prints all that can be found, and then fails for what cannot.
func (s *session) inspect(c *urfave.Context, kind string) error {
	show, err := inspectPrinter(c.String("format"))
	if err != nil {
		return &usageError{s.verb, err.Error(), 64} // Docker's status for a template
	}
	inOne := c.String("format") == "json"
	if inOne {
		show = nil // Docker's is a list of all objects, too
	}
	var found []any
	var out bytes.Buffer
	failed := s.each(c.Args().Slice(), func(ref string) error {
		if err := s.wantPlatform(c.String("platform"), ref); err != nil {
			return err
		}
		v, err := s.lookUp(context.Background(), kind, ref)
		if err == nil && c.Bool("size") {
			err = addSizes(s, v)
		}
		if err != nil {
			return err
		}
		found = append(found, v)
		if show != nil {
			return show(&out, v)
		}
		return nil
	})
	if show == nil {
		if found == nil {
			found = []any{}
		}
		write := writeIndented
		if inOne {
			write = writeOneLine
		}
		if err := write(&out, found); err != nil {
			return err
		}
	}
	if _, err := s.streams.Out.Write(out.Bytes()); err != nil {
		return err
	}
	return failed
}

// writeOneLine writes a value as JSON, and the end of the line.
func writeOneLine(w io.Writer, v any) error {
	line, err := toJSON(v)
	if err == nil {
		_, err = fmt.Fprintln(w, line)
	}
	return err
}

// inspectPrinter is what --format asks for, or nil for the usual indented list.
func inspectPrinter(format string) (func(io.Writer, any) error, error) {
	switch format {
	case "":
		return nil, nil
	case "json":
		return writeOneLine, nil
	}
	t, err := parseTemplate(format, templateFunctions())
	if err != nil {
		return nil, err
	}
	raw, err := parseTemplate(format, templateFunctions())
	if err != nil {
		return nil, err
	}
	raw.Option("missingkey=error")
	return func(w io.Writer, v any) error {
		var out bytes.Buffer
		if err := t.Execute(&out, v); err != nil {
			// The Go fields and the JSON keys differ here and there (ID and Id): users know the keys, so these work too.
			decoded, decodeErr := decode(v)
			if decodeErr != nil {
				return decodeErr
			}
			out.Reset()
			if err := raw.Execute(&out, decoded); err != nil {
				return templateError(err)
			}
		}
		out.WriteByte('\n')
		_, err := w.Write(out.Bytes())
		return err
	}, nil
}

// decode turns an object into the maps and lists of its JSON.
func decode(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var decoded any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return decoded, d.Decode(&decoded)
}
