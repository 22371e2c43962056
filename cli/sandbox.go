package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/sandbox"
)

// defaultSandbox is the one that is meant when there is none.
const defaultSandbox = "world"

func sandboxGroup() *verb {
	g := group("sandbox", "Work in a throw-away world: a host, its neighbour and an internet, made of namespaces",
		inWords(sandboxUpVerb()), inWords(sandboxEnterVerb()), inWords(sandboxExecVerb()), inWords(sandboxStatusVerb()), inWords(sandboxResetVerb()), inWords(sandboxDownVerb()),
		sandboxRole("launch"), sandboxRole("keeper"), sandboxRole("host2"), sandboxRole("place"), sandboxRole("oneuser"))
	return g
}

// inWords has a verb's errors said in the user's language.
func inWords(v *verb) *verb {
	run := v.run
	v.run = func(s *session, c *urfave.Context) error {
		texts, err := s.texts(c)
		if err != nil {
			return err
		}
		return texts.Error(run(s, c))
	}
	return v
}

// sandboxRole is one of the processes that a sandbox is made of; no user starts it.
func sandboxRole(name string) *verb {
	return &verb{name: name, summary: "Be a part of a sandbox", hidden: true, bare: true, max: -1, run: func(_ *session, c *urfave.Context) error {
		code, mine := sandbox.Main(append([]string{name}, c.Args().Slice()...))
		if !mine {
			return fmt.Errorf("sandbox %s is not for users", name)
		}
		return status(code, nil)
	}}
}

func sandboxUpVerb() *verb {
	return &verb{
		name: "up", summary: "Make a sandbox", usage: "[OPTIONS] [NAME]", max: 1,
		about: `A sandbox is a machine to play on: its links, routes, firewall rules, network settings, mounts, containers and files are its own,
and nothing that is done in it reaches this machine or any real network. Its name is ` + defaultSandbox + ` unless another is given.

  host      10.99.0.1, fd99::1: where containers are run (mydocker sandbox enter)
  lan       10.99.0.2, fd99::2: the neighbour, and the router to the internet
  internet  203.0.113.80, 2001:db8:113::80 www.example.com, a web server; 203.0.113.53, 2001:db8:113::53, a name server
  host2     10.99.0.3, fd99::3: a second host, with --hosts 2

It works without root too, where users may make user namespaces.

Examples:
  $ mydocker sandbox up
  $ mydocker sandbox enter
  $ mydocker sandbox exec lan ping -c 1 10.99.0.1
  $ mydocker sandbox down`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				numberDefault("hosts", 1, "Hosts that run containers: 1 or 2"),
				yes("quiet,q", "Do not say what cannot work"),
				langFlag(),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			texts, err := s.texts(c)
			if err != nil {
				return err
			}
			store, err := s.sandboxes()
			if err != nil {
				return err
			}
			name := c.Args().First()
			if name == "" {
				name = defaultSandbox
			}
			sb, err := store.Up(sandbox.Options{Name: name, Hosts: int(c.Int64("hosts"))})
			if err != nil {
				return err
			}
			if !c.Bool("quiet") {
				s.warn(sandboxNotes(texts, sb))
			}
			_, err = fmt.Fprintln(s.streams.Out, sb.Name)
			return err
		},
	}
}

// sandboxes opens the records, and removes what dead sandboxes have left.
func (s *session) sandboxes() (*sandbox.Store, error) {
	store, err := sandbox.Open(s.root.Run)
	if err != nil {
		return nil, err
	}
	_, err = store.Sweep()
	return store, err
}

// sweepSandboxes removes what killed sandboxes have left, and tells which they were.
func (s *session) sweepSandboxes() (removed []string, err error) {
	store, err := sandbox.Open(s.root.Run)
	if err != nil {
		return nil, err
	}
	names, err := store.Sweep()
	for _, name := range names {
		removed = append(removed, "sandbox "+name)
	}
	return removed, err
}

// findSandbox is the one that is meant: by its name; or the one that we are in; or the only one.
func (s *session) findSandbox(name string) (*sandbox.Sandbox, error) {
	if in, inside := sandbox.Inside(); in != nil && (name == "" || name == inside) {
		return in, nil
	}
	store, err := s.sandboxes()
	if err != nil {
		return nil, err
	}
	if name != "" {
		return store.Find(name)
	}
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	if len(all) == 1 {
		return all[0], nil
	}
	sb, err := store.Find(defaultSandbox)
	if errors.Is(err, fs.ErrNotExist) && len(all) > 1 {
		return nil, lang.Errorf(nil, "sandbox.error-several", "names", strings.Join(sandboxNames(all), ", "))
	}
	return sb, err
}

func sandboxNames(all []*sandbox.Sandbox) (list []string) {
	for _, sb := range all {
		list = append(list, sb.Name)
	}
	return list
}

func sandboxFlag() urfave.Flag {
	return str("name,n", "string", "Which sandbox (default: the one this shell is in, or the only one)")
}

func sandboxEnterVerb() *verb {
	return &verb{
		name: "enter", summary: "Open a shell in a sandbox", usage: "[OPTIONS] [host|host2|lan|internet]", max: 1, complete: "host",
		about: `In that shell you are root on that machine. What is written to /etc, /var, /tmp and home directories goes to memory, and is gone
with the sandbox; everything else is read-only.

Examples:
  $ mydocker sandbox enter
  $ mydocker sandbox enter lan`,
		flags: func() []urfave.Flag { return []urfave.Flag{sandboxFlag()} },
		run: func(s *session, c *urfave.Context) error {
			place := c.Args().First()
			if place == "" {
				place = sandbox.Host
			}
			sb, err := s.findSandbox(c.String("name"))
			if err != nil {
				return err
			}
			return s.inSandbox(sb, place, shellOf(sb.Name, place))
		},
	}
}

// shellOf is bash with a prompt that says where it is, or sh where there is no bash.
func shellOf(name, place string) []string {
	prompt := fmt.Sprintf("[%s %s] \\w# ", name, place)
	script := `if command -v bash >/dev/null; then exec bash --rcfile <(:) -i; else exec sh -i; fi`
	if _, err := os.Stat("/bin/bash"); err == nil {
		return []string{"/bin/bash", "--norc", "-c", "export PS1='" + prompt + "'; exec /bin/bash --norc -i"}
	}
	return []string{"/bin/sh", "-c", "export PS1='" + prompt + "'; " + strings.ReplaceAll(script, "bash --rcfile <(:) -i", "bash --norc -i")}
}

func sandboxExecVerb() *verb {
	return &verb{
		name: "exec", summary: "Run a command in a sandbox", usage: "[OPTIONS] host|host2|lan|internet COMMAND [ARG...]", min: 2, max: -1, passthrough: true, complete: "host",
		about: `The command's exit status is ours.

Examples:
  $ mydocker sandbox exec host ip -br addr
  $ mydocker sandbox exec internet cat /run/sandbox/internet.log`,
		flags: func() []urfave.Flag { return []urfave.Flag{sandboxFlag()} },
		run: func(s *session, c *urfave.Context) error {
			sb, err := s.findSandbox(c.String("name"))
			if err != nil {
				return err
			}
			return s.inSandbox(sb, c.Args().First(), c.Args().Tail())
		},
	}
}

func (s *session) inSandbox(sb *sandbox.Sandbox, place string, args []string) error {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	code, err := sb.Exec(sandbox.Command{
		Place: place, Args: args, Env: os.Environ(), Dir: dir,
		In: s.streams.In, Out: s.streams.Out, Err: s.streams.Err,
		Terminal: isTerminal(s.streams.In) && isTerminal(s.streams.Out),
	})
	if err != nil {
		s.sayError(err)
		return exitStatus(code)
	}
	return status(code, nil)
}

func sandboxStatusVerb() *verb {
	return &verb{
		name: "status", summary: "Show the sandboxes", usage: "[OPTIONS] [NAME]", max: 1, complete: "sandbox",
		about: `Of one sandbox, the addresses in it are shown too, and what cannot work in it.

Examples:
  $ mydocker sandbox status`,
		flags: func() []urfave.Flag { return []urfave.Flag{langFlag()} },
		run: func(s *session, c *urfave.Context) error {
			texts, err := s.texts(c)
			if err != nil {
				return err
			}
			store, err := s.sandboxes()
			if err != nil {
				return err
			}
			all, err := store.List()
			if err != nil {
				return err
			}
			if name := c.Args().First(); name != "" {
				sb, err := store.Find(name)
				if err != nil {
					return err
				}
				all = []*sandbox.Sandbox{sb}
			}
			rows := [][]string{strings.Split(texts.Text("sandbox.head"), "\t")}
			for _, sb := range all {
				rows = append(rows, sandboxRow(texts, sb))
			}
			if err := lang.Table(s.streams.Out, rows); err != nil {
				return err
			}
			if len(all) == 1 {
				return s.sandboxDetails(texts, all[0])
			}
			return nil
		},
	}
}

// sandboxDetails are the addresses in one sandbox, and what cannot work there.
func (s *session) sandboxDetails(texts *lang.Catalogue, sb *sandbox.Sandbox) error {
	rows := [][]string{strings.Split(texts.Text("sandbox.places"), "\t")}
	for _, a := range sb.Addresses() {
		rows = append(rows, []string{a.Place, a.IPv4, a.IPv6, a.Name})
	}
	if _, err := fmt.Fprintln(s.streams.Out); err != nil {
		return err
	}
	if err := lang.Table(s.streams.Out, rows); err != nil {
		return err
	}
	for _, note := range sandboxNotes(texts, sb) {
		if _, err := fmt.Fprintln(s.streams.Out, texts.Text("sandbox.note", "note", note)); err != nil {
			return err
		}
	}
	return nil
}

func sandboxRow(texts *lang.Catalogue, sb *sandbox.Sandbox) []string {
	pid := "-"
	if n, err := sb.Pid(); err == nil {
		pid = fmt.Sprint(n)
	}
	kind := texts.Text("sandbox.root-real")
	if sb.Rootless {
		kind = texts.Text("sandbox.root-user")
	}
	return []string{sb.Name, texts.Text("sandbox.up", "time", time.Since(sb.Created).Round(time.Second)), fmt.Sprint(sb.Hosts), kind, pid}
}

// sandboxNotes are what cannot work in a sandbox, in words.
func sandboxNotes(texts *lang.Catalogue, sb *sandbox.Sandbox) (list []string) {
	for _, key := range sb.Notes {
		list = append(list, texts.Text("sandbox."+key))
	}
	return list
}

func sandboxResetVerb() *verb {
	return &verb{
		name: "reset", summary: "Make a sandbox anew, as it was at first", usage: "[NAME]", max: 1, complete: "sandbox",
		about: `Examples:
  $ mydocker sandbox reset`,
		run: func(s *session, c *urfave.Context) error {
			store, err := s.sandboxes()
			if err != nil {
				return err
			}
			name := c.Args().First()
			if name == "" {
				sb, err := s.findSandbox("")
				if err != nil {
					return err
				}
				name = sb.Name
			}
			sb, err := store.Reset(name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.streams.Out, sb.Name)
			return err
		},
	}
}

func sandboxDownVerb() *verb {
	return &verb{
		name: "down", summary: "End sandboxes and remove all of them", usage: "[OPTIONS] [NAME...]", max: -1, complete: "sandbox",
		about: `Examples:
  $ mydocker sandbox down
  $ mydocker sandbox down --all`,
		flags: func() []urfave.Flag { return []urfave.Flag{yes("all,a", "All sandboxes of this user")} },
		run: func(s *session, c *urfave.Context) error {
			store, err := sandbox.Open(s.root.Run)
			if err != nil {
				return err
			}
			which := c.Args().Slice()
			all, err := store.List()
			if err != nil {
				return err
			}
			switch {
			case c.Bool("all") && len(which) > 0:
				return usagef(s.verb, "--all and names exclude each other")
			case c.Bool("all"):
				which = sandboxNames(all)
			case len(which) == 0 && len(all) == 1:
				which = sandboxNames(all)
			case len(which) == 0:
				which = []string{defaultSandbox}
			}
			return s.eachPrinted(which, store.Down)
		},
	}
}
