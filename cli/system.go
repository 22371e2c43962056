package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

func gcVerb() *verb {
	return &verb{
		name: "gc", summary: "Remove what a crash left behind", usage: "[OPTIONS]",
		about: `Namespaces, links, rules, addresses, ports, mounts and cgroups that belong to no living container are removed, and
what killed sandboxes have left. It is never needed after an orderly end, and safe at any time.

Examples:
  $ mydocker gc`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{yes("quiet,q", "Do not list what was removed")}
		},
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			removed, err := e.GC(context.Background())
			swept, sweepErr := s.sweepSandboxes()
			removed, err = append(removed, swept...), errors.Join(err, sweepErr)
			if !c.Bool("quiet") {
				for _, line := range removed {
					if _, err := fmt.Fprintln(s.streams.Out, line); err != nil {
						return err
					}
				}
			}
			return err
		},
	}
}

func portVerb() *verb {
	return &verb{
		name: "port", summary: "List port mappings or a specific mapping for the container",
		usage: "CONTAINER [PRIVATE_PORT[/PROTO]]", min: 1, max: 2, complete: "container port",
		about: `Examples:
  $ mydocker port web
  $ mydocker port web 80/tcp`,
		run: func(s *session, c *urfave.Context) error {
			want := c.Args().Get(1)
			if want != "" {
				ports, err := parseExpose(want)
				if err != nil || len(ports) != 1 {
					return &usageError{s.verb, fmt.Sprintf("invalid port '%s': PORT[/tcp|udp|sctp] is expected", want), 1}
				}
				want = ports[0]
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			ports, err := e.Port(context.Background(), c.Args().First())
			if err != nil {
				return err
			}
			found := false
			for _, p := range ports {
				for i := range max(p.Count, 1) {
					host := "0.0.0.0"
					if p.HostIP.IsValid() {
						host = p.HostIP.String()
					}
					if strings.Contains(host, ":") {
						host = "[" + host + "]"
					}
					inside := fmt.Sprintf("%d/%s", p.ContainerPort+i, p.Proto)
					line := fmt.Sprintf("%s:%d", host, p.HostPort+i)
					if want == "" {
						line = inside + " -> " + line
					} else if inside != want {
						continue
					}
					found = true
					if _, err := fmt.Fprintln(s.streams.Out, line); err != nil {
						return err
					}
				}
			}
			if want != "" && !found {
				return fmt.Errorf("no public port '%s' published for %s", want, c.Args().First())
			}
			return nil
		},
	}
}

func topVerb() *verb {
	return &verb{
		name: "top", summary: "Display the running processes of a container",
		usage: "CONTAINER [ps OPTIONS]", min: 1, max: -1, passthrough: true, complete: "container",
		about: `The host's ps(1) is asked about the container's processes; the pids are those of the host.

Examples:
  $ mydocker top web
  $ mydocker top web -o pid,rss,args`,
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			pids, err := e.Top(context.Background(), c.Args().First())
			if err != nil {
				return err
			}
			if err := s.psOf(pids, c.Args().Tail()); err != nil {
				return err
			}
			if d, err := e.Find(c.Args().First()); err == nil { // else it was removed at once
				e.ContainerEvent(d, "top")
			}
			return nil
		},
	}
}

// psOf runs ps(1) with the user's options over all processes, and keeps the lines of the container's: ps cannot both take
// options such as aux and a list of pids. Without a PID column that cannot be done.
func (s *session) psOf(pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.Command("ps", options...).Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		said, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return fmt.Errorf("ps %s: %w: %s: see ps(1) for its options", strings.Join(options, " "), err, said)
	case err != nil:
		return fmt.Errorf("ps %s: %w (top needs the host's ps, of package procps)", strings.Join(options, " "), err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	column := -1
	for i, title := range strings.Fields(lines[0]) {
		if title == "PID" {
			column = i
			break
		}
	}
	if column < 0 {
		return fmt.Errorf("couldn't find the PID column in the output of ps %s", strings.Join(options, " "))
	}
	mine := make(map[string]bool, len(pids))
	for _, pid := range pids {
		mine[strconv.Itoa(pid)] = true
	}
	// Docker's table: each column at least 20 wide; the last one is the rest of the line.
	titles := strings.Fields(lines[0])
	var table strings.Builder
	fmt.Fprintln(&table, strings.Join(titles, "\t"))
	for _, line := range lines[1:] {
		if fields := strings.Fields(line); len(fields) > column && mine[fields[column]] {
			if last := len(titles) - 1; len(fields) > last {
				fields = append(fields[:last], strings.Join(fields[last:], " "))
			}
			fmt.Fprintln(&table, strings.Join(fields, "\t"))
		}
	}
	_, err = s.streams.Out.Write(inColumns(table.String(), 20))
	return err
}
