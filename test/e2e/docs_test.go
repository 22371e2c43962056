package e2e

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tour of the README is typed on a fresh host, and what it shows is what comes out. In what it shows, … stands for
// any text, alone on a line for any number of lines; ids, and the names that come from ids, may differ.
func TestReadmeIsTrue(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	define := "mydocker() { " + binary + ` "$@"; }` + "\n"
	for _, step := range console(t, "../../README.md") {
		out, _ := exec.Command("bash", "-c", define+step.command).CombinedOutput() // some are meant to fail
		got := strings.TrimRight(string(out), "\n")
		if !regexp.MustCompile(pattern(step.output)).MatchString(masked(got)) {
			t.Errorf("$ %s\nprints:\n%s\nthe README shows:\n%s", step.command, got, step.output)
		}
	}
}

// The Chinese README shows the same.
func TestReadmesAreInStep(t *testing.T) {
	if !slices.Equal(console(t, "../../README.md"), console(t, "../../README.zh-CN.md")) {
		t.Error("the console blocks of README.md and README.zh-CN.md differ")
	}
}

type step struct{ command, output string }

// console reads the commands and outputs in the ```console blocks of a document.
func console(t testing.TB, file string) (steps []step) {
	t.Helper()
	inside := false
	for line := range strings.Lines(read(t, file)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && strings.HasPrefix(line, "$ "):
			steps = append(steps, step{command: line[2:]})
		case inside:
			last := &steps[len(steps)-1]
			last.output = strings.TrimPrefix(last.output+"\n"+line, "\n")
		}
	}
	if len(steps) == 0 {
		t.Fatalf("no ```console block in %s", file)
	}
	return steps
}

// pattern turns shown output into a regular expression.
func pattern(output string) string {
	var b strings.Builder
	b.WriteString(`\A`)
	for i, line := range strings.Split(output, "\n") {
		if line == "…" {
			b.WriteString(`(\n[^\n]*)*`)
			continue
		}
		if i > 0 {
			b.WriteString(`\n`)
		}
		for j, part := range strings.Split(masked(line), "…") {
			if j > 0 {
				b.WriteString(`[^\n]*?`)
			}
			b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(part), " ", ` +`))
		}
		b.WriteString(` *`)
	}
	return b.String() + `\z`
}

// masked replaces what is different each time, and runs of spaces.
func masked(text string) string {
	for _, r := range []struct{ from, to string }{
		{`\b[0-9a-f]{64}\b`, "ID"}, {`\b[0-9a-f]{12}\b`, "ID"}, {`\bveth[0-9a-f]+`, "VETH"}, {`@if\d+`, "@ifN"},
		{`\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b`, "MAC"}, {` {2,}`, " "},
	} {
		text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
	}
	return text
}
