package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/lab"
)

// After each step of the five texts the drawing of the sandbox is the text's picture: testdata/pictures/LAB/STEP.txt, which were
// looked at. After a change of the drawing, UPDATE_PICTURES=1 go test ./lab -run 'TestSolutions/(s|b|n|d|c)' writes them anew, to be
// looked at once more.

// nameless are what is another number each time, with the same width.
func nameless() map[*regexp.Regexp]string {
	return map[*regexp.Regexp]string{
		regexp.MustCompile(`\bveth[0-9a-f]{11}\b`):              "vethXXXXXXXXXXX",
		regexp.MustCompile(`\*:(3[2-9]|[45][0-9])[0-9]{3}/tcp`): "*:RANDM/tcp",
		regexp.MustCompile(`\bnet:\[[0-9]{10}\]`):               "net:[NUMBERNUMB]",
		regexp.MustCompile(`fe80:[0-9a-f:]+/64`):                "fe80::/64",
	}
}

func drawn(t *testing.T, d *lab.Desk, name string, step int) {
	t.Helper()
	if !slices.Contains([]string{s0, s1, s2, s3, s4}, name) {
		return
	}
	file := filepath.Join("testdata", "pictures", name, fmt.Sprintf("%02d.txt", step+1))
	if os.Getenv("UPDATE_PICTURES") != "" {
		time.Sleep(time.Second)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(draw(t, d)+"\n"), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	must(t, err)
	got := draw(t, d)
	for try := 0; try < 600 && got != strings.TrimSpace(string(want)); try++ { // a container that was killed is there again in a moment
		time.Sleep(100 * time.Millisecond)
		got = draw(t, d)
	}
	if got != strings.TrimSpace(string(want)) {
		t.Fatalf("after step %d the drawing is\n%s\nand the picture\n%s", step+1, got, want)
	}
}

// draw is the topology, without what is another number each time.
func draw(t *testing.T, d *lab.Desk) string {
	t.Helper()
	got, code, err := bench(t, d).Run("COLUMNS=100 mydocker topology --faults=false", "")
	must(t, err)
	if code != 0 {
		t.Fatalf("mydocker topology: status %d: %s", code, got)
	}
	for number, word := range nameless() {
		got = number.ReplaceAllString(got, word)
	}
	return strings.TrimSpace(got)
}
