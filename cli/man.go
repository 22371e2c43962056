package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

func docsVerb() *verb {
	return &verb{
		name: "docs", summary: "Write the man pages and the compatibility table", usage: "man DIR | compat FILE", min: 2, max: 2, hidden: true,
		about: `They are made from what --help shows.

Examples:
  $ mydocker docs man /usr/local/share/man/man1
  $ mydocker docs compat docs/docker-compat.md`,
		run: func(s *session, c *urfave.Context) error {
			to := c.Args().Get(1)
			switch c.Args().First() {
			case "man":
				return writeManPages(to, s.version)
			case "compat":
				return os.WriteFile(to, compatTable(), 0o644)
			}
			return s.bad(fmt.Errorf("unknown document %q: man or compat is expected", c.Args().First()))
		},
	}
}

// writeManPages writes a page for every command: mydocker.1, mydocker-run.1, mydocker-network-create.1, ….
func writeManPages(dir, version string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var write func(v *verb) error
	write = func(v *verb) error {
		if v.hidden {
			return nil
		}
		name := strings.ReplaceAll(v.path(), " ", "-") + ".1"
		if err := os.WriteFile(filepath.Join(dir, name), manPage(v, version), 0o644); err != nil {
			return err
		}
		for _, c := range v.children {
			if err := write(c); err != nil {
				return err
			}
		}
		return nil
	}
	return write(commands())
}

// manPage writes one page in the man macros of groff_man(7).
func manPage(v *verb, version string) []byte {
	var b bytes.Buffer
	page := strings.ReplaceAll(v.path(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"mydocker %s\" \"mydocker manual\"\n", roff(strings.ToUpper(page)), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(page), roff(v.summary))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(v.usageLine()))
	if about, examples, _ := strings.Cut(v.about, "Examples:\n"); v.about != "" {
		if about = strings.TrimSpace(about); about != "" {
			fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roffText(about))
		}
		if examples != "" {
			fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roffText(strings.TrimRight(examples, "\n")))
		}
	}
	manCommands(&b, v)
	flags := v.flagList()
	if v.parent == nil {
		flags = globalFlags()
	}
	if len(flags) > 0 {
		b.WriteString(".SH OPTIONS\n")
	}
	for _, f := range flags {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(flagHead(f))), roffText(flagUsage(f)))
	}
	if v.parent != nil {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(strings.ReplaceAll(v.parent.path(), " ", "-")))
	}
	return b.Bytes()
}

func manCommands(b *bytes.Buffer, v *verb) {
	if v.children == nil {
		return
	}
	b.WriteString(".SH COMMANDS\n")
	for _, c := range v.children {
		if !c.hidden {
			fmt.Fprintf(b, ".TP\n.BR %s (1)\n%s\n", roff(strings.ReplaceAll(c.path(), " ", "-")), roffText(c.summary))
		}
	}
}

// roff escapes what means something to troff: backslashes, and hyphens, which would become typographic
// ones, and all that is not ASCII.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	var b strings.Builder
	for _, r := range text {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

// roffText escapes whole lines: a dot or a quote at the beginning would be a request; an empty line is a paragraph.
func roffText(text string) string {
	lines := strings.Split(roff(text), "\n")
	for i, line := range lines {
		switch {
		case line == "":
			lines[i] = ".PP"
		case line[0] == '.' || line[0] == '\'':
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
