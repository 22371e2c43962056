// Command compare does the same things with Docker and with mydocker and compares what a user or a script would see: exit
// statuses, the columns of tables, lines, the keys of JSON. It is run by `make compare` on a host made of namespaces
// (../in-namespace.sh), starts a Docker daemon of its own there, and fails on each difference that
// cli/differences.md does not explain. That file is a part of docs/docker-compat.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type options struct {
	mydocker    string
	differences string
	only        string
	verbose     bool
}

func main() {
	var o options
	flag.StringVar(&o.mydocker, "mydocker", "./mydocker", "the binary to compare")
	flag.StringVar(&o.differences, "differences", "cli/differences.md", "the list of differences that are meant to be")
	flag.StringVar(&o.only, "only", "", "report only the steps whose name contains this")
	flag.BoolVar(&o.verbose, "v", false, "show what both said at each step that differs")
	flag.Parse()
	n, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(2)
	}
	if n > 0 {
		fmt.Printf("%d differences are not explained in %s\n", n, o.differences)
		os.Exit(1)
	}
}

func run(o options) (unexplained int, err error) {
	if os.Getenv("FAKE_HOST") == "" {
		return 0, errors.New("this wants a host of its own: ../in-namespace.sh compare (or make compare)")
	}
	if o.mydocker, err = filepath.Abs(o.mydocker); err != nil {
		return 0, err
	}
	known, err := readDifferences(o.differences)
	if err != nil {
		return 0, err
	}
	scratch, err := os.MkdirTemp(os.Getenv("FAKE_HOST_SCRATCH"), "compare")
	if err != nil {
		return 0, err
	}
	docker, stop, err := startDocker(scratch)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return 0, err
	}
	if err := sameImage(o.mydocker, docker, scratch); err != nil {
		return 0, err
	}
	both := []*contestant{{name: "docker", program: docker}, {name: "mydocker", program: []string{o.mydocker}}}
	all := steps(scratch)
	for _, c := range both {
		c.do(all)
	}
	compared, used := 0, map[string]bool{}
	for i, s := range all {
		if s.compare == nothing || !strings.Contains(s.name, o.only) {
			continue
		}
		compared++
		var left []string
		for _, d := range differences(s, both[0].results[i], both[1].results[i]) {
			reason, ok := known.explain(s.name, d)
			if ok {
				used[reason] = true
				continue
			}
			left = append(left, d)
		}
		if len(left) == 0 {
			continue
		}
		unexplained += len(left)
		fmt.Printf("%s:  %s\n", s.name, strings.Join(s.args, " "))
		for _, d := range left {
			fmt.Println("    " + d)
		}
		if o.verbose {
			for k, c := range both {
				r := both[k].results[i]
				fmt.Printf("  %s (exit status %d)\n%s%s\n", c.name, r.code, r.out, r.err)
			}
		}
	}
	fmt.Printf("%d steps compared, %d kinds of differences are explained\n", compared, len(used))
	for _, line := range known {
		if !used[line.pattern] && o.only == "" {
			fmt.Printf("not seen: %s\n", line.pattern)
		}
	}
	return unexplained, nil
}

// explained is one row of the list of differences: "step: difference", where * stands for anything.
type explained []struct{ pattern, step, difference string }

// readDifferences reads the rows of the table whose first cell is in backquotes: | `step: difference` | why |
func readDifferences(file string) (explained, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all explained
	for line := range strings.Lines(string(text)) {
		cell, ok := strings.CutPrefix(strings.TrimSpace(line), "| `")
		if !ok {
			continue
		}
		pattern, _, _ := strings.Cut(cell, "` |")
		step, difference, ok := strings.Cut(pattern, ": ")
		if !ok {
			return nil, fmt.Errorf("%s: %q is not STEP: DIFFERENCE", file, pattern)
		}
		all = append(all, struct{ pattern, step, difference string }{pattern, step, difference})
	}
	return all, nil
}

func (e explained) explain(step, difference string) (pattern string, ok bool) {
	i := slices.IndexFunc(e, func(row struct{ pattern, step, difference string }) bool {
		return like(row.step, step) && like(row.difference, difference)
	})
	if i < 0 {
		return "", false
	}
	return e[i].pattern, true
}

// like matches a text against a pattern in which * is any text.
func like(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for i := 0; i <= len(text); i++ {
		if like(rest, text[i:]) {
			return true
		}
	}
	return false
}
