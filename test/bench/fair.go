package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// All contestants have their rules in the same chains of one host, and who came last stands first: a packet of another's passes his
// rules in vain. So each contestant's rules are moved to the front while it is measured, as on a host of its own.
func ownRulesFirst(contestant string) error {
	marks := map[string]string{"mydocker": "mydocker", "podman": "netavark", "docker": "docker"}
	mark, ok := marks[contestant]
	if !ok {
		return nil
	}
	own := func(rule string) bool {
		rule = strings.ToLower(rule)
		// Docker's rules are those with its name that are not ours.
		return strings.Contains(rule, mark) && (mark == "mydocker" || !strings.Contains(rule, "mydocker"))
	}
	var script strings.Builder
	for _, at := range [][2]string{{"raw", "PREROUTING"}, {"filter", "FORWARD"}, {"nat", "PREROUTING"}, {"nat", "OUTPUT"}, {"nat", "POSTROUTING"}} {
		text, err := output("iptables", "-t", at[0], "-S", at[1])
		if err != nil {
			return err
		}
		rules := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return !strings.HasPrefix(l, "-A ") })
		sorted := slices.Clone(rules)
		slices.SortStableFunc(sorted, func(a, b string) int {
			switch {
			case own(a) == own(b):
				return 0
			case own(a):
				return -1
			}
			return 1
		})
		if !slices.Equal(rules, sorted) {
			fmt.Fprintf(&script, "*%s\n-F %s\n%s\nCOMMIT\n", at[0], at[1], strings.Join(sorted, "\n"))
		}
	}
	if script.Len() == 0 {
		return nil
	}
	cmd := exec.Command("iptables-restore", "--noflush", "--wait")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("move the rules of %s to the front: %w: %s", contestant, err, out)
	}
	return nil
}
