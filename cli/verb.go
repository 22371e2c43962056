package cli

import (
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// verb is one command, as data: the parser, --help, the man pages, the shell completion and docs/docker-compat.md are
// all made from it, so they cannot disagree.
//
// Its flags are behind a function because a process runs one command: the flags of the other hundred are not built.
type verb struct {
	name    string
	aliases []string
	// summary is one line, without a full stop.
	summary string
	// usage is what follows the name: "[OPTIONS] CONTAINER [CONTAINER...]".
	usage string
	// about is the text under the usage line: paragraphs, and examples as indented lines that begin with "$ ".
	about string
	// min and max bound the number of arguments; max -1 means any number.
	min, max int
	// passthrough ends the options at the first argument, so that `run IMAGE ls -l` hands -l to ls. Otherwise options may
	// stand behind arguments (`rm web -f`).
	passthrough bool
	// bare commands take their arguments as they are, options too.
	bare bool
	// rules are made: --firewall, which is a global option, may also stand behind the verb.
	rules bool
	flags func() []urfave.Flag
	run   func(s *session, c *urfave.Context) error
	// complete says what the arguments are, for the shells, a word for each; the last one goes for all that follow:
	// "network container". The words are those of values in complete.go.
	complete string
	// filters are the keys that --filter takes, for the parser and for the shells.
	filters string
	// children make a verb a group: `mydocker network …`.
	children []*verb
	hidden   bool
	// management groups are listed apart in --help.
	parent *verb
}

// path is the words that lead to the verb: "mydocker network create".
func (v *verb) path() string {
	if v.parent == nil {
		return v.name
	}
	return v.parent.path() + " " + v.name
}

// words is the path without the program: "network create".
func (v *verb) words() string {
	_, rest, _ := strings.Cut(v.path(), " ")
	return rest
}

func (v *verb) child(name string) *verb {
	for _, c := range v.children {
		if c.name == name {
			return c
		}
		for _, alias := range c.aliases {
			if alias == name {
				return c
			}
		}
	}
	return nil
}

func (v *verb) flagList() (flags []urfave.Flag) {
	if v.flags != nil {
		flags = v.flags()
	}
	if v.rules {
		flags = append(flags, firewallFlag())
	}
	return flags
}

// as is the same verb under another name: `container ls` is `ps`.
func (v *verb) as(name string, aliases ...string) *verb {
	twin := *v
	twin.name, twin.aliases = name, aliases
	return &twin
}

// group makes a verb of verbs.
func group(name, summary string, children ...*verb) *verb {
	return &verb{name: name, summary: summary, usage: "COMMAND", children: children, max: -1}
}

// adopt tells every child its parent.
func (v *verb) adopt() *verb {
	for _, c := range v.children {
		c.parent = v
		c.adopt()
	}
	return v
}

// names are a flag's names, the first of which is the main one. urfave's own Names() runs a regular expression over each
// name at each call: with a hundred flags that took longer than starting the container's process.
func names(f urfave.Flag) []string {
	switch f := f.(type) {
	case *urfave.StringFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *urfave.StringSliceFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *urfave.BoolFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *urfave.Int64Flag:
		return append([]string{f.Name}, f.Aliases...)
	case *urfave.DurationFlag:
		return append([]string{f.Name}, f.Aliases...)
	}
	return f.Names()
}

func isCalled(f urfave.Flag, name string) bool {
	switch f := f.(type) {
	case *urfave.StringFlag:
		return f.Name == name || slices.Contains(f.Aliases, name)
	case *urfave.StringSliceFlag:
		return f.Name == name || slices.Contains(f.Aliases, name)
	case *urfave.BoolFlag:
		return f.Name == name || slices.Contains(f.Aliases, name)
	case *urfave.Int64Flag:
		return f.Name == name || slices.Contains(f.Aliases, name)
	case *urfave.DurationFlag:
		return f.Name == name || slices.Contains(f.Aliases, name)
	}
	return slices.Contains(f.Names(), name)
}

// needed are the flags that urfave has to know of for one command line: those that are on it, in canonical form, and those
// with a default. A flag that it does not know reads as zero, which is what the others are. It spends time on each flag with
// the square of their number.
func needed(flags []urfave.Flag, options []string) (few []urfave.Flag) {
	given := make(map[string]bool, len(options))
	for _, o := range options {
		name, _, _ := strings.Cut(strings.TrimPrefix(o, "--"), "=")
		given[name] = true
	}
	for _, f := range flags {
		if given[names(f)[0]] || flagDefault(f) != "" {
			few = append(few, f)
		}
	}
	return few
}

// The kinds of flags, as Docker's help names them: `-e, --env list`. The word in the back quotes of a usage text would
// do the same in urfave; it stands apart here because tables of flags read better so.

func str(names, kind, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.StringFlag{Name: name, Aliases: aliases, Usage: usage, Category: kind}
}

func strDefault(names, kind, value, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.StringFlag{Name: name, Aliases: aliases, Usage: usage, Category: kind, Value: value}
}

func list(names, usage string) urfave.Flag { return listOf(names, "list", usage) }

func listOf(names, kind, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.StringSliceFlag{Name: name, Aliases: aliases, Usage: usage, Category: kind}
}

func yes(names, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.BoolFlag{Name: name, Aliases: aliases, Usage: usage}
}

func yesDefault(names string, value bool, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.BoolFlag{Name: name, Aliases: aliases, Usage: usage, Value: value}
}

func number(names, usage string) urfave.Flag { return numberDefault(names, 0, usage) }

func numberDefault(names string, value int64, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.Int64Flag{Name: name, Aliases: aliases, Usage: usage, Category: "int", Value: value}
}

func duration(names, usage string) urfave.Flag {
	name, aliases := flagNames(names)
	return &urfave.DurationFlag{Name: name, Aliases: aliases, Usage: usage, Category: "duration"}
}

// flagNames reads "network,net" or "env,e": the first is the name, the others mean the same.
func flagNames(names string) (string, []string) {
	name, rest, more := strings.Cut(names, ",")
	if !more {
		return name, nil
	}
	return name, strings.Split(rest, ",")
}
