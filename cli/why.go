package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/why"
)

func whyVerb() *verb {
	return &verb{
		name: "why", summary: "Tell what made a thing in the kernel, and what it is for", usage: "[OPTIONS] RULE|LINK|ROUTE|MOUNT|CGROUP|NAMESPACE", min: 1, max: -1, bare: true, // a rule begins with a dash
		about: `A rule is given as iptables-save shows it, as the command that made it, or as a part of its text; a route by its destination; a mount
and a cgroup by their path; a namespace by name or as /proc/PID/ns shows it. NAMESPACE:LINK, NAMESPACE:ROUTE and CONTAINER:PATH
look in there. What others made is told, too: Docker, Podman, Kubernetes and so on are known by the names that they use.

Examples:
  $ mydocker why br0
  $ mydocker why '-A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE'
  $ mydocker why DOCKER-USER
  $ mydocker why default
  $ mydocker why web:/etc/hosts
  $ mydocker why /sys/fs/cgroup/mydocker
  $ mydocker why 'net:[4026532545]'`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				str("kind", "string", `Look for one kind only ("link", "namespace", "rule", "route", "mount", "cgroup")`),
				langFlag(),
			}
		},
		run: runWhy,
	}
}

func runWhy(s *session, c *urfave.Context) error {
	given, words, err := leadingOptions(c.Args().Slice(), "kind", "lang")
	if err != nil {
		return s.refuse(err)
	}
	if given["lang"] != "" {
		s.lang = given["lang"]
	}
	texts, err := s.texts(c)
	if err != nil {
		return err
	}
	kind := given["kind"]
	if kind != "" && !slices.Contains(why.Kinds(), kind) {
		return s.refuse(fmt.Errorf("invalid --kind %q: %s", kind, strings.Join(why.Kinds(), ", ")))
	}
	ctx := context.Background()
	w, err := s.readWorld(ctx)
	if err != nil {
		return err
	}
	answers, err := why.Ask(ctx, why.Question{World: w, Texts: texts, Kind: kind, Thing: strings.Join(words, " ")})
	if errors.Is(err, why.ErrUnknown) {
		return fmt.Errorf("%w; quote rules, and see 'mydocker why --help' for how things are named", err)
	}
	if err != nil {
		return err
	}
	_, err = s.streams.Out.WriteString(why.Text(answers, texts, min(s.columns(0), 120)))
	return err
}

// leadingOptions takes --name VALUE and --name=VALUE off the front of a bare command's arguments.
func leadingOptions(words []string, names ...string) (given map[string]string, rest []string, err error) {
	given = make(map[string]string)
	for len(words) > 0 {
		name, value, attached := strings.Cut(strings.TrimPrefix(words[0], "--"), "=")
		if !strings.HasPrefix(words[0], "--") || !slices.Contains(names, name) {
			break
		}
		words = words[1:]
		if !attached {
			if len(words) == 0 {
				return nil, nil, fmt.Errorf("flag needs an argument: --%s", name)
			}
			value, words = words[0], words[1:]
		}
		given[name] = value
	}
	return given, words, nil
}
