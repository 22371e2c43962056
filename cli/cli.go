// Package cli is mydocker's command line: flags become the engine's plain option structs, its answers become tables,
// templates and exit codes. It makes no system call on a container's behalf; all of that is behind package engine.
//
// A command is a verb (verb.go). commands.go lists all of them; each family has a file: run.go, lifecycle.go, ps.go, ….
// What a user typed is read by args.go, then handed to urfave/cli in canonical form.
//
// Every usage error is found before the first effect.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/step"
)

// Main runs one command and returns the status to exit with.
func Main(args []string, version string) int {
	s := &session{
		streams: engine.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
		lookup:  os.LookupEnv,
		version: version,
		root:    state.DefaultRoot(),
	}
	return s.report(s.dispatch(args[1:]))
}

// session is one call of the command line: whom it talks to and what the global options said.
type session struct {
	streams engine.Streams
	lookup  func(name string) (string, bool) // the caller's environment
	version string

	root     state.Root
	firewall string
	explain  bool
	stepper  *step.Stepper // asks before each operation: `step`
	globals  []string      // the global options in canonical form
	lang     string        // of the texts for learners; "" for what the environment says
	verb     *verb         // the one that runs
	opened   *engine.Engine
}

// engine opens the engine at its first use: a command that fails on its flags never gets that far.
func (s *session) engine() (*engine.Engine, error) {
	if s.opened != nil {
		return s.opened, nil
	}
	c := engine.Config{Root: s.root, Firewall: s.firewall, Warn: func(message string) { s.warn([]string{message}) }}
	switch {
	case s.stepper != nil:
		c.Watch = s.stepper
	case s.explain:
		c.Watch = s.explainer(s.streams.Err)
	}
	logrus.Debugf("records are under %s and %s", s.root.Lib, s.root.Run)
	e, err := engine.Open(c)
	s.opened = e
	return e, err
}

// color says whether a stream may be coloured: it is a terminal, and the user has not said no (https://no-color.org).
func (s *session) color(f *os.File) bool {
	no, _ := s.lookup("NO_COLOR")
	term, _ := s.lookup("TERM")
	return no == "" && term != "dumb" && isTerminal(f)
}

func globalFlags() []urfave.Flag {
	root := state.DefaultRoot()
	return []urfave.Flag{
		str("config", "dir", "Directory of config.json: credentials for registries, formats of lists, detach keys, proxies (default: $DOCKER_CONFIG or ~/.docker)"),
		yes("debug,D", "Print what is going on behind the scenes, as --log-level debug does"),
		yes("explain", "Print each kernel operation as the shell command that it equals, as it is done"),
		firewallFlag(),
		langFlag(),
		strDefault("log-level,l", "string", "info", `Level of messages about mydocker itself ("debug", "info", "warn", "error", "fatal")`),
		strDefault("root", "dir", root.Lib, "Where images, containers and networks are kept"),
		strDefault("run-root", "dir", root.Run, "Where the state of running containers is kept; gone after a reboot"),
		yes("version,v", "Print version information and quit"),
	}
}

func firewallFlag() urfave.Flag {
	return str("firewall", "string", `Firewall backend for new rules ("iptables", "nftables")`)
}

// useFirewall takes over --firewall, from before the verb or behind it.
func (s *session) useFirewall(v *verb, name string) error {
	if name != "" && name != "iptables" && name != "nftables" {
		return usagef(v, "invalid --firewall %q: iptables or nftables", name)
	}
	s.firewall = name
	return nil
}

// global takes over the global options.
func (s *session) global(c *urfave.Context) error {
	s.root.Lib, s.root.Run = c.String("root"), c.String("run-root")
	s.explain = c.Bool("explain")
	if dir := c.String("config"); dir != "" { // those who read the file, or run the helper that does, look here
		if err := os.Setenv("DOCKER_CONFIG", dir); err != nil {
			return fmt.Errorf("--config: %w", err)
		}
	}
	top := commands()
	if s.root.Lib == "" || s.root.Run == "" {
		return usagef(top, "--root and --run-root need a directory")
	}
	if err := s.useFirewall(top, c.String("firewall")); err != nil {
		return err
	}
	name := c.String("log-level")
	if c.Bool("debug") {
		name = "debug"
	}
	level, err := logrus.ParseLevel(name)
	if err != nil {
		return usagef(top, "invalid --log-level %q: debug, info, warn, error or fatal", name)
	}
	logrus.SetLevel(level)
	return nil
}

// dispatch finds the verb, reads its arguments, and runs it through urfave/cli.
func (s *session) dispatch(args []string) error {
	v := commands()
	line, help, err := canonical(v, globalFlags(), args)
	if err != nil {
		s.lang = languageIn(args)
		return err
	}
	if help {
		return s.help(v, args)
	}
	line, rest := splitArguments(line)
	s.globals = line
	s.lang = valueOf(line, "lang") // before anything can be wrong
	if on(line, "version") {
		return s.printVersion()
	}
	app := s.app(v, line)
	line = append([]string{v.name}, line...)
	var leaf *urfave.Command
	for next := &app.Commands; v.children != nil; {
		if len(rest) == 0 {
			return s.helpForNothing(v)
		}
		if rest[0] == "--help" || rest[0] == "-h" {
			return s.help(v, args)
		}
		if rest[0] == "help" { // help network create
			for _, name := range rest[1:] {
				if v, err = s.descend(v, name); err != nil {
					return err
				}
			}
			return s.help(v, args)
		}
		if v, err = s.descend(v, rest[0]); err != nil {
			return err
		}
		rest = rest[1:]
		leaf = v.command(s)
		*next, next = []*urfave.Command{leaf}, &leaf.Subcommands
		line = append(line, "--", leaf.Name)
	}
	flags := v.flagList()
	words, help, err := canonical(v, flags, rest)
	if err != nil {
		return err
	}
	if help {
		return s.help(v, args)
	}
	if err := v.checkCount(words); err != nil {
		return err
	}
	options, _ := splitArguments(words)
	leaf.Flags = needed(flags, options)
	s.verb = v
	return app.RunContext(context.Background(), append(line, words...))
}

// splitArguments parts canonical arguments into the options and what follows the "--".
func splitArguments(words []string) (options, arguments []string) {
	for i, w := range words {
		if w == "--" {
			return words[:i], words[i+1:]
		}
	}
	return words, nil
}

func on(options []string, name string) bool {
	for _, o := range options {
		if o == "--"+name+"=true" {
			return true
		}
	}
	return false
}

// descend goes from a group to the command of the given name.
func (s *session) descend(v *verb, name string) (*verb, error) {
	if child := v.child(name); child != nil {
		return child, nil
	}
	if strings.HasPrefix(name, "-") {
		return nil, (&reader{verb: v}).unknown(strings.TrimLeft(name, "-"), "unknown flag: "+name)
	}
	full := strings.TrimSpace(v.words() + " " + name)
	if reason := refusedCommand(full); reason != "" {
		return nil, &usageError{v, reason, 1}
	}
	var names []string
	for _, c := range v.children {
		if !c.hidden {
			names = append(append(names, c.name), c.aliases...)
		}
	}
	text := fmt.Sprintf("unknown command: %s %s", v.path(), name)
	if best := nearest(name, names); best != "" {
		text = fmt.Sprintf("%s (did you mean '%s'?)", text, v.path()+" "+best)
	}
	return nil, &usageError{v, text, 1}
}

// app is the urfave application with the global options and no command yet. Help, suggestions and exit codes are ours.
func (s *session) app(top *verb, options []string) *urfave.App {
	return &urfave.App{
		Name: top.name, HideHelp: true, HideHelpCommand: true, HideVersion: true,
		DisableSliceFlagSeparator: true, // -e A=b,c is one value
		Flags:                     needed(globalFlags(), options),
		Before:                    s.global,
		Writer:                    s.streams.Out, ErrWriter: s.streams.Err,
		ExitErrHandler: func(*urfave.Context, error) {}, // only main exits
	}
}

// command is the verb as urfave knows it, but for its flags, which depend on what was typed.
func (v *verb) command(s *session) *urfave.Command {
	c := &urfave.Command{
		Name: v.name, Aliases: v.aliases, Usage: v.summary, ArgsUsage: v.usage, Description: v.about,
		HideHelp: true, HideHelpCommand: true,
	}
	if v.run != nil {
		c.Action = func(ctx *urfave.Context) error {
			if name := ctx.String("firewall"); v.rules && name != "" {
				if err := s.useFirewall(v, name); err != nil {
					return err
				}
			}
			return v.run(s, ctx)
		}
	}
	return c
}

// checkCount refuses too few and too many arguments.
func (v *verb) checkCount(words []string) error {
	_, args := splitArguments(words)
	want := ""
	switch {
	case len(args) < v.min && v.min == v.max, v.max > 0 && len(args) > v.max && v.min == v.max:
		want = fmt.Sprintf("requires %d argument%s", v.min, plural(v.min))
	case len(args) < v.min:
		want = fmt.Sprintf("requires at least %d argument%s", v.min, plural(v.min))
	case v.max == 0 && len(args) > 0:
		want = "accepts no arguments"
	case v.max > 0 && len(args) > v.max:
		want = fmt.Sprintf("requires at most %d argument%s", v.max, plural(v.max))
	default:
		return nil
	}
	return &usageError{v, fmt.Sprintf("'%s' %s: %s %s", v.path(), want, v.path(), v.usage), 1}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// usageError is a command line that makes no sense. Docker's status for it is 125 where a flag is wrong, 1 where the
// number of arguments is.
type usageError struct {
	verb *verb
	text string
	code int
}

func (u *usageError) Error() string { return u.text }

func usagef(v *verb, format string, args ...any) error {
	return &usageError{v, fmt.Sprintf(format, args...), 125}
}

// bad is a value that makes no sense where Docker leaves it to its daemon to say so: the status is then 1.
func (s *session) bad(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{s.verb, err.Error(), 1}
}

// refuse is the error of a flag, of status 125.
func (s *session) refuse(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{s.verb, err.Error(), 125}
}

// exitStatus ends the process with a status and without a further word.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// status is the error for a container's exit code; 0 is none.
func status(code int, err error) error {
	if err != nil || code == 0 {
		return err
	}
	return exitStatus(code)
}

// report tells the user about an error and returns the status to exit with.
func (s *session) report(err error) int {
	if err == nil {
		return 0
	}
	var code exitStatus
	if errors.As(err, &code) {
		return int(code)
	}
	s.sayError(err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(s.streams.Err, "See '%s --help'.\n", usage.verb.path())
		return usage.code
	}
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return 1
}

// warn prints a warning as Docker does.
func (s *session) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(s.streams.Err, "WARNING:", w)
	}
}

// each does something to every argument. One that fails does not keep the others from their turn; the status is then 1.
func (s *session) each(refs []string, do func(ref string) error) error {
	failed := false
	for _, ref := range refs {
		if err := do(ref); err != nil {
			failed = true
			if s.stepper != nil && s.stepper.Leaving() {
				break // the person who walks through it has had enough, and knows
			}
			s.report(err)
		}
	}
	if failed {
		return exitStatus(1)
	}
	return nil
}

// eachPrinted is each that prints the argument after its success, as Docker's start, stop, rm and others do.
func (s *session) eachPrinted(refs []string, do func(ref string) error) error {
	return s.each(refs, func(ref string) error {
		if err := do(ref); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.streams.Out, ref)
		return err
	})
}
