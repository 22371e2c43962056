package cli

import (
	"bytes"
	_ "embed"
	"fmt"
	"sort"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// differences are what one sees that Docker shows otherwise. `make compare` does the same things with both and fails on a
// difference that is not in this list.
//
//go:embed differences.md
var differences string

// compatTable writes docs/docker-compat.md: every command and flag of Docker's, and what became of it here. A test compares
// the file with what this writes.
func compatTable() []byte {
	var b bytes.Buffer
	b.WriteString(`# Docker's command line, and ours

Made by ` + "`mydocker docs compat docs/docker-compat.md`" + ` from the same tables as --help. The other side is the command line of Docker 28.
What is not supported is refused by name, with the reason that stands here, before anything is done.

`)
	var have, missing []string
	var details bytes.Buffer
	for line := range strings.Lines(docker28) {
		words, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if words == "-" {
			compatFlags(&details, "Global options", "", globalFlags())
			continue
		}
		v := find(words)
		if v == nil {
			missing = append(missing, words)
			continue
		}
		have = append(have, words)
		if v.children == nil && sameAs(words) == "" {
			compatFlags(&details, words, words, v.flagList())
		}
	}
	fmt.Fprintf(&b, "## Commands\n\nSupported: %s.\n\n| not supported | why |\n|---|---|\n", codeList(have))
	for _, words := range topmost(missing) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", words, cell(commandReason(words)))
	}
	fmt.Fprintf(&b, "\nOurs alone: %s.\n\n## Flags\n\nThe commands of the groups container, image and system that also exist without the group have the same flags in both places.\n%s",
		codeList(ours()), details.Bytes())
	b.WriteString("\n" + differences)
	return b.Bytes()
}

// find finds a command by its words; nil when there is none.
func find(words string) *verb {
	v := commands()
	for _, w := range strings.Fields(words) {
		if v = v.child(w); v == nil {
			return nil
		}
	}
	return v
}

// sameAs is the command without a group that a group's command equals: `container ls` is ps. "" when there is none.
func sameAs(words string) string {
	group, last, ok := strings.Cut(words, " ")
	if !ok {
		return ""
	}
	short := map[string]string{"container ls": "ps", "image ls": "images", "image rm": "rmi"}[words]
	if short == "" && (group == "container" || group == "image" || group == "system") && last != "inspect" && last != "prune" {
		short = last
	}
	if _, there := dockerCommand(short); short == "" || !there {
		return ""
	}
	return short
}

// topmost leaves out the commands of a group that is missing as a whole.
func topmost(commands []string) (list []string) {
	for _, words := range commands {
		group, _, isChild := strings.Cut(words, " ")
		if isChild && find(group) == nil {
			continue
		}
		list = append(list, words)
	}
	return list
}

// ours are the commands that Docker does not have.
func ours() (list []string) {
	var visit func(v *verb)
	visit = func(v *verb) {
		for _, c := range v.children {
			if c.hidden {
				continue
			}
			if _, ok := dockerCommand(c.words()); !ok {
				list = append(list, c.words())
			} else {
				visit(c)
			}
		}
	}
	visit(commands())
	sort.Strings(list)
	return list
}

// compatFlags writes the flags of one command: those that both have, those that only Docker has, those that only we have.
func compatFlags(b *bytes.Buffer, title, command string, mine []urfave.Flag) {
	r := &reader{flags: mine}
	docker, _ := dockerCommand(command)
	theirs := make(map[string]bool)
	var both []string
	var refused bytes.Buffer
	for _, f := range docker {
		for _, n := range f.names {
			theirs[n] = true
		}
		if f.names[0] == "help" {
			continue
		}
		if r.find(f.names[0]) != nil {
			both = append(both, "--"+f.names[0])
		} else {
			fmt.Fprintf(&refused, "| `--%s` | %s |\n", f.names[0], cell(flagReason(command, f.names[0])))
		}
	}
	var own []string
	for _, f := range mine {
		if !theirs[names(f)[0]] {
			own = append(own, "--"+names(f)[0])
		}
	}
	if len(both)+len(own)+refused.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n", title)
	if len(both) > 0 {
		fmt.Fprintf(b, "\nSupported: %s.\n", codeList(both))
	}
	if len(own) > 0 {
		fmt.Fprintf(b, "\nOurs alone: %s.\n", codeList(own))
	}
	if refused.Len() > 0 {
		fmt.Fprintf(b, "\n| not supported | why |\n|---|---|\n%s", refused.Bytes())
	}
}

func codeList(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
