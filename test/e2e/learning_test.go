package e2e

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What docs/learning.md shows is what comes out, and the Chinese document shows the same.
func TestLearningIsTrue(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	steps := console(t, "../../docs/learning.md")
	if !slices.Equal(steps, console(t, "../../docs/learning.zh-CN.md")) {
		t.Error("the console blocks of docs/learning.md and docs/learning.zh-CN.md differ")
	}
	define := "mydocker() { " + binary + ` "$@"; }` + "\n"
	for _, step := range steps {
		out, err := exec.Command("bash", "-c", define+step.command).CombinedOutput()
		got := strings.TrimRight(string(out), "\n")
		if !regexp.MustCompile(pattern(step.output)).MatchString(masked(got)) {
			t.Errorf("$ %s\nprints (%v):\n%s\nthe document shows:\n%s", step.command, err, got, step.output)
		}
	}
}
