package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/state"
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
	day := buildDay()
	var write func(v *verb) error
	write = func(v *verb) error {
		if v.hidden {
			return nil
		}
		if err := os.WriteFile(filepath.Join(dir, manName(v)+".1"), manPage(v, version, day), 0o644); err != nil {
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

// buildDay is the day of the commit that this program was built of, so that the pages of one version are the same everywhere;
// today, where the build does not know.
func buildDay() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.time" && len(setting.Value) >= len(time.DateOnly) {
				return setting.Value[:len(time.DateOnly)]
			}
		}
	}
	return time.Now().UTC().Format(time.DateOnly)
}

// manName is the page's name: mydocker-network-create.
func manName(v *verb) string { return strings.ReplaceAll(v.path(), " ", "-") }

// manPage writes one page in the man macros of groff_man(7), with the sections of man-pages(7) in their order.
func manPage(v *verb, version, day string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %s 1 %s \"mydocker %s\" \"mydocker manual\"\n", roff(strings.ToUpper(manName(v))), day, roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(v)), roff(v.summary))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(v.usageLine()))
	about, exit, examples := v.manTexts()
	if about != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roffText(about))
	}
	manCommands(&b, v)
	manOptions(&b, v)
	fmt.Fprintf(&b, ".SH EXIT STATUS\n%s\n", roffText(exit))
	if v.parent == nil {
		manSurroundings(&b)
	}
	fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(examples)) // each line begins with two blanks, never with a request
	manSeeAlso(&b, v)
	return b.Bytes()
}

// manTexts parts the text of --help into what the sections of a page want. A group's examples are the first ones of its commands.
func (v *verb) manTexts() (about, exit, examples string) {
	about, examples, _ = strings.Cut(v.about, "Examples:\n")
	var rest []string
	for _, paragraph := range strings.Split(strings.TrimSpace(about), "\n\n") {
		at := strings.Index(paragraph, "The exit status is ")
		if at < 0 {
			rest = append(rest, paragraph)
			continue
		}
		exit = paragraph[at:]
		if before := strings.TrimSpace(paragraph[:at]); before != "" {
			rest = append(rest, before)
		}
	}
	if exit == "" {
		exit = "The exit status is 0 when everything was done, 1 when something was not, and 125 when an option makes no sense; nothing was done then."
	}
	if examples == "" {
		for _, c := range v.children {
			if _, first, ok := strings.Cut(c.about, "  $ "); ok && !c.hidden {
				first, _, _ = strings.Cut(first, "\n")
				examples += "  $ " + first + "\n"
			}
		}
	}
	return strings.Join(rest, "\n\n"), exit, strings.TrimRight(examples, "\n")
}

func manCommands(b *bytes.Buffer, v *verb) {
	if v.children == nil {
		return
	}
	b.WriteString(".SH COMMANDS\n")
	for _, c := range v.children {
		if !c.hidden {
			fmt.Fprintf(b, ".TP\n.BR %s (1)\n%s\n", roff(manName(c)), roffText(c.summary))
		}
	}
}

func manOptions(b *bytes.Buffer, v *verb) {
	b.WriteString(".SH OPTIONS\n")
	flags := v.flagList()
	if v.parent == nil {
		flags = globalFlags()
	}
	for _, f := range append(flags, yes("help", "Print usage")) {
		head, kind := strings.TrimSpace(flagHead(f)), flagKind(f)
		if kind != "" {
			head = strings.TrimSuffix(head, " "+kind)
			kind = ` \fI` + roff(kind) + `\fR`
		}
		lines := strings.Split(flagUsage(f), "\n")
		for i, line := range lines {
			lines[i] = roffText(strings.Join(strings.Fields(line), " "))
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR%s\n%s\n", roff(head), kind, strings.Join(lines, "\n.br\n"))
	}
}

// manSurroundings are what the program as a whole reads beside its command line.
func manSurroundings(b *bytes.Buffer) {
	write := func(section string, items ...[2]string) {
		fmt.Fprintf(b, ".SH %s\n", section)
		for _, item := range items {
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(item[0]), roffText(item[1]))
		}
	}
	root := state.DefaultRoot()
	write("ENVIRONMENT",
		[2]string{"DOCKER_CONFIG", "Directory of config.json, instead of ~/.docker"},
		[2]string{"HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "Proxies for registries"},
		[2]string{"LC_ALL, LC_MESSAGES, LANG", "Language of the texts for learners, English or Chinese"},
		[2]string{"MYDOCKER_LABS", "Directories with more labs, with colons between"},
		[2]string{"NO_COLOR", "No colours, where it is set and not empty; nor are there any where the output is no terminal"},
	)
	write("FILES",
		[2]string{root.Lib, "Images, containers, networks and volumes: what was asked for"},
		[2]string{root.Run, "What was put into the kernel for them; gone after a reboot"},
		[2]string{"~/.docker/config.json", "What Docker keeps there: passwords for registries, formats of lists (psFormat …), detachKeys, pruneFilters, and the proxies of containers"},
	)
}

// manSeeAlso names the page above, and that of the same command under its other name (ps and container ls).
func manSeeAlso(b *bytes.Buffer, v *verb) {
	var pages []string
	if v.parent != nil {
		pages = append(pages, manName(v.parent))
		for _, twin := range twins(v) {
			pages = append(pages, manName(twin))
		}
	} else {
		for _, c := range v.children {
			if c.children != nil && !c.hidden {
				pages = append(pages, manName(c))
			}
		}
	}
	slices.Sort(pages)
	b.WriteString(".SH SEE ALSO\n")
	for i, page := range pages {
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		fmt.Fprintf(b, ".BR %s (1)%s\n", roff(page), comma)
	}
}

// twins are the other places of the tree where the same command stands.
func twins(v *verb) (list []*verb) {
	var visit func(other *verb)
	visit = func(other *verb) {
		if mine, its := sameAs(v.words()), sameAs(other.words()); mine != "" && mine == other.words() || its != "" && its == v.words() {
			list = append(list, other)
		}
		for _, c := range other.children {
			visit(c)
		}
	}
	visit(commands())
	return list
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
