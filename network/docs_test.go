package network

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The rules that docs/packets.md shows are those that the kernel has.
func TestPacketsDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/packets.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```iptables\n")
	shown, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/packets.md shows no rules")
	}
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.18.0.0/16"})
	web := start(t, m, "web", "br0", "8080:80")
	var b strings.Builder
	for _, table := range []string{"raw", "filter", "nat"} {
		b.WriteString("*" + table + "\n")
		saved := run(t, "iptables-save", "-t", table)
		var builtin, own []string
		for _, l := range strings.Split(saved, "\n") {
			switch {
			case strings.HasPrefix(l, "-A MYDOCKER"):
				own = append(own, l)
			case strings.HasPrefix(l, "-A "):
				builtin = append(builtin, l)
			}
		}
		b.WriteString(strings.Join(append(builtin, own...), "\n") + "\n")
	}
	got := regexp.MustCompile(short(web.Endpoint.ID)).ReplaceAllString(b.String(), "ENDPOINT")
	if sortedBlock(got) != sortedBlock(shown) {
		t.Errorf("docs/packets.md shows other rules than the kernel has:\n%s\nThe kernel:\n%s", lineDiff(shown, got), got)
	}
}

// sortedBlock keeps the order within each chain, which matters, and forgets that between chains, which does not.
func sortedBlock(text string) string {
	chains := map[string]string{}
	var order []string
	table := ""
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(l, "*") {
			table = l
			continue
		}
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		key := table + " " + f[1]
		if chains[key] == "" {
			order = append(order, key)
		}
		chains[key] += l + "\n"
	}
	slices.Sort(order)
	var b strings.Builder
	for _, k := range order {
		b.WriteString(k + "\n" + chains[k])
	}
	return b.String()
}

// The tests that docs/network-cases.md names are there.
func TestCasesDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/network-cases.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 80 {
		t.Errorf("%d tests are named", len(named))
	}
	for _, n := range named {
		files, err := filepath.Glob("../" + n[1] + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(files, func(file string) bool {
			source, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(source), "\nfunc "+n[2]+"(t *testing.T)")
		})
		if !found && n[2] != "TestX" {
			t.Errorf("%s has no test %s", n[1], n[2])
		}
	}
}
