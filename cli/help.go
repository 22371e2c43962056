package cli

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// help prints a verb's help on standard output: it was asked for.
func (s *session) help(v *verb, args []string) error { return s.writeHelp(s.streams.Out, v, args) }

// helpForNothing prints a group's help where a command was expected: it was not asked for, so it is no output.
func (s *session) helpForNothing(v *verb) error { return s.writeHelp(s.streams.Err, v, nil) }

func (s *session) writeHelp(to io.Writer, v *verb, args []string) error {
	say, err := s.phrases(v, args)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(to)
	writeHelp(w, v, say)
	return w.Flush()
}

// writeHelp writes what --help shows, in the order and layout of Docker's.
func writeHelp(w io.Writer, v *verb, say phrases) {
	fmt.Fprintf(w, "%s  %s\n\n%s\n", say.head("usage"), v.usageLine(), say.of(v.summary))
	if names := v.alsoCalled(); len(names) > 1 {
		fmt.Fprintf(w, "\n%s\n  %s\n", say.head("aliases"), strings.Join(names, ", "))
	}
	if v.about != "" {
		fmt.Fprintf(w, "\n%s\n", say.about(v.about))
	}
	writeChildren(w, v, say)
	flags := v.flagList()
	title := "options"
	if v.parent == nil {
		flags, title = globalFlags(), "global"
	}
	if len(flags) > 0 {
		fmt.Fprintf(w, "\n%s\n", say.head(title))
		writeFlags(w, flags, say)
	}
	if v.children != nil {
		fmt.Fprintf(w, "\n%s\n", say.head("more", "command", v.path()))
	}
}

func (v *verb) usageLine() string {
	path := v.path()
	if v.parent == nil {
		return path + " [OPTIONS] COMMAND"
	}
	return strings.TrimSpace(path + " " + v.usage)
}

// alsoCalled is every way to call the verb, as full commands.
func (v *verb) alsoCalled() []string {
	if v.parent == nil {
		return nil
	}
	names := []string{v.path()}
	for _, a := range v.aliases {
		names = append(names, v.parent.path()+" "+a)
	}
	return names
}

func writeChildren(w io.Writer, v *verb, say phrases) {
	if v.children == nil {
		return
	}
	var groups, plain []*verb
	width := 0
	for _, c := range v.children {
		switch {
		case c.hidden:
			continue
		case c.children != nil:
			groups = append(groups, c)
		default:
			plain = append(plain, c)
		}
		width = max(width, len(c.name))
	}
	for _, part := range []struct {
		title string
		verbs []*verb
	}{{"groups", groups}, {"commands", plain}} {
		if len(part.verbs) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", say.head(part.title))
		for _, c := range part.verbs {
			fmt.Fprintf(w, "  %-*s  %s\n", width, c.name, say.of(c.summary))
		}
	}
}

// writeFlags writes one line for each flag: "  -e, --env list   Set environment variables".
func writeFlags(w io.Writer, flags []urfave.Flag, say phrases) {
	heads := make([]string, len(flags))
	width := 0
	for i, f := range flags {
		heads[i] = flagHead(f)
		width = max(width, len(heads[i]))
	}
	for i, f := range flags {
		fmt.Fprintf(w, "%-*s   %s\n", width, heads[i], strings.ReplaceAll(say.usage(f), "\n", "\n"+strings.Repeat(" ", width+3)))
	}
}

// flagHead is "  -e, --env list" or "      --rm".
func flagHead(f urfave.Flag) string {
	short, head := "    ", ""
	for _, n := range names(f) {
		if len(n) == 1 {
			short = "-" + n + ", "
			continue
		}
		if head == "" {
			head = "--" + n
		}
	}
	return strings.TrimRight("  "+short+head+" "+flagKind(f), " ")
}

func flagKind(f urfave.Flag) string {
	if c, ok := f.(urfave.CategorizableFlag); ok {
		return c.GetCategory()
	}
	return ""
}

// usage is the flag's text in the user's language, with its default.
func (p phrases) usage(f urfave.Flag) string {
	d, ok := f.(urfave.DocGenerationFlag)
	if !ok {
		return ""
	}
	text := p.of(d.GetUsage())
	if value := flagDefault(f); value != "" {
		text += " " + p.head("default", "value", value)
	}
	return text
}

// flagUsage is the usage text with the default, where that is not the zero value.
func flagUsage(f urfave.Flag) string {
	d, ok := f.(urfave.DocGenerationFlag)
	if !ok {
		return ""
	}
	text := d.GetUsage()
	if value := flagDefault(f); value != "" {
		text += " (default " + value + ")"
	}
	return text
}

func flagDefault(f urfave.Flag) string {
	switch f := f.(type) {
	case *urfave.StringFlag:
		if f.Value != "" {
			return strconv.Quote(f.Value)
		}
	case *urfave.BoolFlag:
		if f.Value {
			return "true"
		}
	case *urfave.Int64Flag:
		if f.Value != 0 {
			return strconv.FormatInt(f.Value, 10)
		}
	case *urfave.DurationFlag:
		if f.Value != 0 {
			return f.Value.String()
		}
	}
	return ""
}
