package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/container"
)

// The command line of an OCI runtime, as engines call it: runc's verbs, flags and outputs. It is the lower half of
// mydocker alone: bundles in, no images, no networks, no names.

// ociProgram is the name under which this program is an OCI runtime: `ln -s mydocker mydocker-runtime`.
const ociProgram = "mydocker-runtime"

// IsOCI says whether the program was called as an OCI runtime: by its name, or as `mydocker oci`.
func IsOCI(args []string) bool {
	return filepath.Base(args[0]) == ociProgram || len(args) > 1 && args[1] == "oci"
}

// OCIMain runs one command of the OCI runtime and returns the status to exit with.
func OCIMain(args []string, version string) int {
	if filepath.Base(args[0]) != ociProgram {
		args = args[1:] // "oci" stands for the program's name
	}
	o := &ociSession{out: os.Stdout, err: os.Stderr}
	app := o.app(version)
	if err := app.Run(args); err != nil {
		return o.report(err)
	}
	return o.code
}

// ociSession is one call.
type ociSession struct {
	out, err io.Writer
	log      io.Writer
	json     bool
	systemd  bool
	runtime  *container.Runtime
	code     int // a container's or a process's own exit status
	failure  int // the status of a failure; 0 is 1
}

func (o *ociSession) app(version string) *urfave.App {
	return &urfave.App{
		Name: ociProgram, Usage: "an OCI runtime", HideVersion: true,
		UsageText:                 ociProgram + " [global options] command [command options] [arguments]",
		DisableSliceFlagSeparator: true,
		Writer:                    o.out, ErrWriter: o.err,
		ExitErrHandler: func(*urfave.Context, error) {}, // the error is reported once, by OCIMain
		OnUsageError:   func(_ *urfave.Context, err error, _ bool) error { return err },
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "root", Value: ociRoot(), Usage: "directory for the state of containers (on a tmpfs)"},
			&urfave.StringFlag{Name: "log", Usage: "file for messages, besides standard error"},
			&urfave.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"},
			&urfave.BoolFlag{Name: "debug", Usage: "taken for compatibility; every failure is told anyway"},
			&urfave.BoolFlag{Name: "systemd-cgroup", Usage: "let systemd make the cgroups; linux.cgroupsPath is SLICE:PREFIX:NAME"},
			&urfave.StringFlag{Name: "rootless", Value: "auto", Usage: "taken for compatibility: true, false or auto"},
			&urfave.StringFlag{Name: "criu", Hidden: true}, // runc's old name of a program for checkpoints, which are refused
			&urfave.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"},
		},
		Before: o.before,
		Action: func(c *urfave.Context) error {
			if c.Bool("version") {
				fmt.Fprintf(o.out, "%s version %s\nspec: %s\n", ociProgram, version, specVersion())
				return nil
			}
			if c.NArg() > 0 {
				return fmt.Errorf("unknown command %q: see %s --help", c.Args().First(), ociProgram)
			}
			return urfave.ShowAppHelp(c)
		},
		Commands: slices.Concat(o.lifecycleCommands(), o.processCommands(), o.infoCommands(version), refusedCommands()),
	}
}

// ociRoot is where the records are: for a user who is not root among those things of his that end with his session.
func ociRoot() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && os.Geteuid() != 0 {
		return filepath.Join(dir, ociProgram)
	}
	return "/run/" + ociProgram
}

func (o *ociSession) before(c *urfave.Context) error {
	if path := c.String("log"); path != "" && path != "/dev/stderr" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
		o.log = f
	}
	switch c.String("log-format") {
	case "text":
	case "json":
		o.json = true
	default:
		return fmt.Errorf("unknown log-format %q", c.String("log-format"))
	}
	if text := c.String("rootless"); text != "true" && text != "false" && text != "auto" {
		return fmt.Errorf("--rootless %s: it is true, false or auto", text)
	}
	o.systemd = c.Bool("systemd-cgroup")
	root, err := filepath.Abs(c.String("root"))
	if err != nil {
		return err
	}
	o.runtime = &container.Runtime{Root: root, Warn: o.warn}
	return nil
}

// report tells a failure where engines look for it: in the log, in its format, and on standard error.
func (o *ociSession) report(err error) int {
	fmt.Fprintf(o.err, "%s: %s\n", ociProgram, printable(err.Error()))
	o.write("error", err)
	return max(o.failure, 1)
}

func (o *ociSession) warn(err error) {
	fmt.Fprintf(o.err, "%s: warning: %s\n", ociProgram, printable(err.Error()))
	o.write("warning", err)
}

func (o *ociSession) write(level string, err error) {
	if o.log == nil {
		return
	}
	now := time.Now().UTC().Format(time.RFC3339)
	if !o.json {
		fmt.Fprintf(o.log, "time=%q level=%s msg=%q\n", now, level, err.Error())
		return
	}
	line, _ := json.Marshal(map[string]string{"level": level, "msg": err.Error(), "time": now}) // strings always encode
	fmt.Fprintln(o.log, string(line))
}

// ociCommand is a command with a fixed number of arguments, or with at least so many (most < 0).
func ociCommand(name, usage, arguments string, least, most int, flags []urfave.Flag, run func(c *urfave.Context) error) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: arguments, Flags: flags, HideHelpCommand: true,
		Action: func(c *urfave.Context) error {
			if c.NArg() < least || most >= 0 && c.NArg() > most {
				return fmt.Errorf("%s: wrong number of arguments: usage: %s %s %s", name, ociProgram, name, arguments)
			}
			return run(c)
		},
	}
}

// refusedCommands are those of runc that are not here. Engines ask `checkpoint --help` whether a runtime can do it: that fails, too.
func refusedCommands() (list []*urfave.Command) {
	for _, name := range []string{"checkpoint", "restore"} {
		list = append(list, &urfave.Command{
			Name: name, Hidden: true, SkipFlagParsing: true, HideHelp: true,
			Action: func(*urfave.Context) error {
				return fmt.Errorf("%s: the state of processes is not written to files here: a runtime with criu does that (runc, crun)", name)
			},
		})
	}
	return list
}

// load finds the container that the first argument names.
func (o *ociSession) load(c *urfave.Context) (*container.Container, error) {
	found, err := o.runtime.Load(c.Args().First())
	if err != nil && strings.Contains(err.Error(), "file does not exist") {
		return nil, fmt.Errorf("%w: container does not exist", err) // the words that engines look for
	}
	return found, err
}
