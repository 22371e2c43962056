package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/container"
)

func (o *ociSession) processCommands() []*urfave.Command {
	run := ociCommand("exec", "run one more process in a container", "ID COMMAND [ARGUMENT...]", 1, -1, []urfave.Flag{
		&urfave.StringFlag{Name: "console-socket", Usage: "unix socket that is sent the terminal"},
		&urfave.StringFlag{Name: "pidfd-socket", Usage: "unix socket that is sent a descriptor of the process"},
		&urfave.StringFlag{Name: "cwd", Usage: "working directory"},
		&urfave.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "NAME=value"},
		&urfave.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "with a terminal"},
		&urfave.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "UID[:GID]"},
		&urfave.Int64SliceFlag{Name: "additional-gids", Aliases: []string{"g"}, Usage: "additional groups"},
		&urfave.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "file with the process as JSON"},
		&urfave.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for the process"},
		&urfave.StringFlag{Name: "pid-file", Usage: "file for the process id"},
		&urfave.StringFlag{Name: "process-label", Usage: "SELinux label"},
		&urfave.StringFlag{Name: "apparmor", Usage: "AppArmor profile"},
		&urfave.BoolFlag{Name: "no-new-privs", Usage: "set-uid programs give no powers"},
		&urfave.StringSliceFlag{Name: "cap", Aliases: []string{"c"}, Usage: "one more capability"},
		&urfave.IntFlag{Name: "preserve-fds", Usage: "pass so many descriptors from 3 on"},
		&urfave.StringSliceFlag{Name: "cgroup", Usage: "[CONTROLLER[,CONTROLLER...]:]PATH: a cgroup below the container's"},
		&urfave.BoolFlag{Name: "ignore-paused", Usage: "in a paused container, too: it begins when that is resumed"},
	}, func(c *urfave.Context) error {
		o.failure = execFailed
		return o.exec(c)
	})
	return []*urfave.Command{
		run,
		ociCommand("ps", "list the processes of a container", "ID [PS OPTIONS]", 1, -1, []urfave.Flag{
			&urfave.StringFlag{Name: "format", Aliases: []string{"f"}, Value: "table", Usage: "table or json"},
		}, o.ps),
	}
}

// execFailed is the exit status of an exec that did not begin, as under runc: whoever asks can tell it from most commands' own.
const execFailed = 255

func (o *ociSession) exec(c *urfave.Context) error {
	found, err := o.load(c)
	if err != nil {
		return err
	}
	process, err := o.execProcess(c, found)
	if err != nil {
		return err
	}
	detach := c.Bool("detach")
	opts := container.ExecOptions{
		Process: process, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ConsoleSocket: c.String("console-socket"), PidfdSocket: c.String("pidfd-socket"), PidFile: c.String("pid-file"), IgnorePaused: c.Bool("ignore-paused"),
	}
	if opts.Cgroup, err = subCgroups(c.StringSlice("cgroup")); err != nil {
		return err
	}
	if err := checkConsole(opts.ConsoleSocket, detach, process.Terminal); err != nil {
		return err
	}
	// Not those of LISTEN_FDS, as under runc: LISTEN_PID would have to be a number that nobody knows yet.
	if opts.ExtraFiles, _, err = passedFiles(c.Int("preserve-fds"), ""); err != nil {
		return err
	}
	signals := relaySignals(detach)
	defer signals.stop()
	p, err := found.Exec(c.Context, opts)
	if err != nil || detach {
		return err
	}
	exit, err := o.attend(p.Console(), signals, p.Signal, p.Wait)
	o.code = exit.Code
	return err
}

// subCgroups reads --cgroup: [CONTROLLER[,CONTROLLER...]:]PATH.
func subCgroups(texts []string) (map[string]string, error) {
	sub := map[string]string{}
	for _, text := range texts {
		controllers, path, named := strings.Cut(text, ":")
		if !named {
			controllers, path = "", text
		}
		for _, c := range strings.Split(controllers, ",") {
			if _, twice := sub[c]; twice || path == "" || named && c == "" {
				return nil, fmt.Errorf("--cgroup %s: [CONTROLLER[,CONTROLLER...]:]PATH is expected, once for each controller", text)
			}
			sub[c] = path
		}
	}
	return sub, nil
}

// execProcess is what --process says, or the container's own process with another command and what the flags change.
func (o *ociSession) execProcess(c *urfave.Context, found *container.Container) (*specs.Process, error) {
	if path := c.String("process"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var p specs.Process
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return &p, nil
	}
	if c.NArg() < 2 {
		return nil, errors.New("exec: the command is missing")
	}
	spec, err := found.Spec()
	if err != nil {
		return nil, err
	}
	p := *spec.Process
	p.Args, p.Terminal = c.Args().Slice()[1:], c.Bool("tty")
	p.Env = slices.Concat(p.Env, c.StringSlice("env"))
	if c.IsSet("no-new-privs") {
		p.NoNewPrivileges = c.Bool("no-new-privs")
	}
	if cwd := c.String("cwd"); cwd != "" {
		p.Cwd = cwd
	}
	if label := c.String("process-label"); label != "" {
		p.SelinuxLabel = label
	}
	if profile := c.String("apparmor"); profile != "" {
		p.ApparmorProfile = profile
	}
	if err := execUser(c, &p); err != nil {
		return nil, err
	}
	if more := c.StringSlice("cap"); len(more) > 0 {
		caps := specs.LinuxCapabilities{}
		if p.Capabilities != nil {
			caps = *p.Capabilities
		}
		sets := []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted}
		if len(caps.Inheritable) > 0 {
			sets = append(sets, &caps.Ambient) // which cannot be without the inheritable one
		}
		for _, set := range sets {
			*set = slices.Concat(*set, more)
		}
		p.Capabilities = &caps
	}
	return &p, nil
}

func execUser(c *urfave.Context, p *specs.Process) error {
	if text := c.String("user"); text != "" {
		user, group, both := strings.Cut(text, ":")
		uid, err := strconv.ParseUint(user, 10, 32)
		if err != nil {
			return fmt.Errorf("user %q is not a number", user)
		}
		p.User.UID = uint32(uid)
		if both {
			gid, err := strconv.ParseUint(group, 10, 32)
			if err != nil {
				return fmt.Errorf("group %q is not a number", group)
			}
			p.User.GID = uint32(gid)
		}
	}
	for _, g := range c.Int64Slice("additional-gids") {
		if g < 0 || g > 1<<32-1 {
			return fmt.Errorf("additional group %d is out of range", g)
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
	}
	return nil
}

// ps shows the container's processes, as ps(1) of the host shows them.
func (o *ociSession) ps(c *urfave.Context) error {
	found, err := o.load(c)
	if err != nil {
		return err
	}
	pids, err := found.Processes()
	if err != nil {
		return err
	}
	switch c.String("format") {
	case "json":
		return json.NewEncoder(o.out).Encode(pids)
	case "table":
	default:
		return fmt.Errorf("invalid format option %q", c.String("format"))
	}
	options := c.Args().Slice()[1:]
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	output, err := exec.Command("ps", options...).Output()
	if err != nil {
		return fmt.Errorf("ps: %w", err)
	}
	lines := strings.Split(strings.TrimRight(string(output), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return errors.New("ps: there is no column PID: choose other options")
	}
	fmt.Fprintln(o.out, lines[0])
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Fprintln(o.out, line)
		}
	}
	return nil
}
