package lab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/mydocker/mydocker/cli"
	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/lab"
	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/sandbox"
	"github.com/mydocker/mydocker/test/host"
)

// TestMain lets the test program be mydocker: in a sandbox it stands in the PATH under that name. The tests run on a host made
// of namespaces.
func TestMain(m *testing.M) {
	if container.Main(os.Args) {
		return
	}
	if code, mine := engine.Main(os.Args, cli.Watcher); mine {
		os.Exit(code)
	}
	if filepath.Base(os.Args[0]) == "mydocker" || len(os.Args) > 1 && os.Args[1] == "sandbox" {
		os.Exit(cli.Main(os.Args, "test"))
	}
	os.Exit(host.Run(m))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDesk is a student's desk with sandboxes and a notebook of its own.
func newDesk(t testing.TB, dirs ...string) *lab.Desk {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "labs")
	must(t, err)
	d := &lab.Desk{
		Library:  lab.Library{Dirs: dirs, Language: "en"},
		Notebook: lab.Notebook{Dir: filepath.Join(dir, "notebook")},
		Store:    &sandbox.Store{Dir: filepath.Join(dir, strings.ToLower(filepath.Base(dir)))},
	}
	t.Cleanup(func() {
		all, err := d.Store.List()
		must(t, err)
		for _, sb := range all {
			must(t, d.Store.Down(sb.Name))
		}
		must(t, os.RemoveAll(dir))
	})
	return d
}

func courseNames(t testing.TB) []string {
	t.Helper()
	names, err := lab.Library{Language: "en"}.Names()
	must(t, err)
	return names
}

// one is the sandbox of a desk.
func bench(t testing.TB, d *lab.Desk) lab.Bench {
	t.Helper()
	all, err := d.Store.List()
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("there are %d sandboxes", len(all))
	}
	return lab.Bench{Box: all[0]}
}

// do makes what a student would do in a step, wants it to work when mustWork is set, and gives the word to answer with.
func do(t *testing.T, d *lab.Desk, a lab.Answer, mustWork bool) string {
	t.Helper()
	word, out, code, err := bench(t, d).Do(a)
	must(t, err)
	if mustWork && code != 0 {
		t.Fatalf("status %d of\n%s\n%s", code, a.Script, out)
	}
	understood(t, out)
	return word
}

// understood wants a translation of each error that mydocker has told a student.
func understood(t *testing.T, out string) {
	t.Helper()
	zh, err := lang.Open(lang.Chinese)
	must(t, err)
	for line := range strings.Lines(out) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "mydocker: "); ok && zh.Meaning(errors.New(text)) == nil {
			t.Errorf("nobody who reads Chinese only knows what this means: %s", text)
		}
	}
}

// Each lab: every step fails as long as it is untouched, and passes with its solution.
func TestSolutions(t *testing.T) {
	for _, name := range courseNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			l, _, err := d.Start(name)
			must(t, err)
			for i, step := range l.Steps {
				if len(step.Checks) > 0 {
					r, err := d.Check(name, "")
					must(t, err)
					if r.Failed == nil {
						t.Fatalf("step %d (%s) passes untouched", i+1, step.Title)
					}
				}
				word := do(t, d, step.Solution, true)
				drawn(t, d, name, i) // before the check, which prepares the next step
				for _, wrong := range step.Wrong {
					if onlyAnswers(step, wrong) {
						answered(t, d, name, wrong)
					}
				}
				r, err := d.Check(name, word)
				must(t, err)
				if r.Failed != nil {
					t.Fatalf("step %d (%s) fails with its solution: %s\n%s", i+1, step.Title, r.Failed.Fail, r.Evidence)
				}
			}
			if _, err := d.Check(name, ""); !errors.Is(err, lab.ErrFinished) {
				t.Errorf("after the last step: %v", err)
			}
			_, err = d.Reset(name)
			must(t, err)
		})
	}
}

// onlyAnswers says that a mistake is to do the right thing and to draw the wrong conclusion: it needs no sandbox of its own.
func onlyAnswers(step lab.Step, wrong lab.Wrong) bool {
	return wrong.Word != "" && (wrong.Script == step.Solution.Script || strings.TrimSpace(wrong.Script) == "true")
}

// answered wants the check of a mistake that was made to say its sentence.
func answered(t *testing.T, d *lab.Desk, name string, wrong lab.Wrong) {
	t.Helper()
	r, err := d.Check(name, wrong.Word)
	must(t, err)
	if r.Failed == nil {
		t.Fatalf("this mistake passes: %s\n%s", wrong.Word, wrong.Script)
	}
	if !strings.Contains(r.Failed.Fail, wrong.Says) {
		t.Errorf("the mistake %s\n%sis answered with %q (%s), and not with %q", wrong.Word, wrong.Script, r.Failed.Fail, r.Evidence, wrong.Says)
	}
}

// Each mistake in the labs is answered with the sentence that it is to be answered with.
func TestMistakes(t *testing.T) {
	for _, name := range courseNames(t) {
		l, err := lab.Library{Language: "en"}.Load(name)
		must(t, err)
		for at, step := range l.Steps {
			for n, wrong := range step.Wrong {
				if onlyAnswers(step, wrong) {
					continue // TestSolutions has it
				}
				t.Run(fmt.Sprintf("%s-%d-%d", name, at+1, n+1), func(t *testing.T) {
					t.Parallel()
					d := newDesk(t)
					_, _, err := d.Start(name)
					must(t, err)
					for _, before := range l.Steps[:at] {
						r, err := d.Check(name, do(t, d, before.Solution, true))
						must(t, err)
						if r.Failed != nil {
							t.Fatalf("on the way, %s: %s\n%s", before.Title, r.Failed.Fail, r.Evidence)
						}
					}
					wrong.Word = do(t, d, wrong.Answer, false)
					answered(t, d, name, wrong)
				})
			}
		}
	}
}

// Every lab can be read in Chinese, whole.
func TestTranslations(t *testing.T) {
	for _, name := range courseNames(t) {
		if _, err := os.Stat("course/" + name + ".zh.md"); err != nil {
			t.Error(err)
		}
		en, err := lab.Library{Language: "en"}.Load(name)
		must(t, err)
		zh, err := lab.Library{Language: "zh"}.Load(name)
		must(t, err)
		chinese := func(what, text string) {
			if !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }) {
				t.Errorf("%s: %s is not Chinese: %q", name, what, text)
			}
		}
		chinese("the title", zh.About)
		chinese("the introduction", zh.Intro)
		for i, step := range zh.Steps {
			chinese("a step", step.Text)
			for _, c := range step.Checks {
				chinese("a sentence", c.Fail)
			}
			for j, h := range step.Hints {
				if h != en.Steps[i].Hints[j] || !strings.HasPrefix(h, "`") { // a command alone is the same in both
					chinese("a hint", h)
				}
			}
			// A choice is offered by the same letters.
			for _, letter := range []string{"a", "b", "c", "d"} {
				if strings.Contains(en.Steps[i].Text, "\n- "+letter+": ") != strings.Contains(step.Text, "\n- "+letter+"：") {
					t.Errorf("%s, step %d: the choice %s is in one language only", name, i+1, letter)
				}
			}
		}
	}
}

func TestStudent(t *testing.T) {
	d := newDesk(t)
	if _, err := d.Check("", ""); err == nil || !strings.Contains(err.Error(), "no lab is going on") {
		t.Error(err)
	}
	if _, _, err := d.Start("cabel"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mydocker lab list") {
		t.Error(err)
	}
	if _, err := d.Check("cable", ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mydocker lab start cable") {
		t.Error(err)
	}
	_, _, err := d.Start("cable")
	must(t, err)
	if _, _, err := d.Start("cable"); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	hint, number, of, err := d.Hint("")
	if err != nil || hint == "" || number != 1 || of != 1 {
		t.Error(hint, number, of, err)
	}
	if _, _, err := d.Solve(""); err != nil {
		t.Error(err)
	}
	// From inside, `mydocker lab check` knows where it is, and writes into the same notebook.
	out, code, err := bench(t, d).Run("mydocker lab check; mydocker lab reset && exit 1; mydocker lab check", "")
	if err != nil || code != 1 || !strings.Contains(out, "Step 1 is passed.") || !strings.Contains(out, "leave this shell first") || !strings.Contains(out, "Not yet: The end v-red is not in red") {
		t.Errorf("%v %d %s", err, code, out)
	}
	p, err := d.Notebook.Read("cable")
	if err != nil || p.Step != 1 || p.Hints[0] != 1 || len(p.Solved) != 1 || p.Tries != 1 {
		t.Errorf("%+v %v", p, err)
	}
	// The sandbox is killed under the student.
	pid, err := bench(t, d).Box.Pid()
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	for {
		alive, err := bench(t, d).Box.Alive()
		must(t, err)
		if !alive {
			break
		}
	}
	if _, err := d.Check("", ""); err == nil || !strings.Contains(err.Error(), "`mydocker lab reset cable`") {
		t.Error(err)
	}
	if name, err := d.Reset(""); name != "cable" || err != nil {
		t.Error(name, err)
	}
	if _, _, err := d.Start("cable"); err != nil {
		t.Error(err)
	}
}

// The doctor, asked in the sandbox, names what a student has to mend; and finds nothing where nothing is wrong.
func TestDoctorAgrees(t *testing.T) {
	d := newDesk(t)
	l, _, err := d.Start("nat-out")
	must(t, err)
	want := []string{"No fault found.", "ip-forward-off", "masquerade-missing", "forward-policy", "No fault found."}
	for i, step := range l.Steps[:5] {
		out, _, err := bench(t, d).Run("mydocker doctor || true", "")
		must(t, err)
		if !strings.HasPrefix(out, want[i]) {
			t.Errorf("before step %d (%s): %s", i+1, step.Title, out)
		}
		r, err := d.Check("", do(t, d, step.Solution, true))
		must(t, err)
		if r.Failed != nil {
			t.Fatal(r.Failed.Fail)
		}
	}
}

// What a killed sandbox has left goes with gc.
func TestGCRemovesKilledSandboxes(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mydocker")
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, program))
	run := func(args ...string) string {
		out, err := exec.Command(program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("sandbox", "up", "killed")
	first := regexp.MustCompile(`(?m)^killed .* (\d+)$`).FindStringSubmatch(run("sandbox", "status", "killed"))
	if first == nil {
		t.Fatal("the status names no first process")
	}
	out, err := exec.Command("kill", "-9", first[1]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for try := 0; !strings.Contains(run("gc"), "sandbox killed\n"); try++ { // it takes the kernel a moment to end all of it
		if try > 100 {
			t.Fatal("gc does not remove it")
		}
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/mydocker-sandbox-killed-*"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// BenchmarkCheck is what a student waits for.
func BenchmarkCheck(b *testing.B) {
	d := newDesk(b)
	_, _, err := d.Start("cable")
	must(b, err)
	for b.Loop() {
		if r, err := d.Check("", ""); err != nil || r.Failed == nil {
			b.Fatal(r, err)
		}
	}
}

// Help that helps nobody is not counted: a solution that fails, and one that the check does not take.
func TestSolvedIsWhatHelped(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "odd.en.md"), []byte("---\ntitle: T\nabout: A\n---\n## One\n```check\nfail: Not done.\ntest -e /tmp/done\n```\n```solution\ntest -e /tmp/ready\ntest ! -e /tmp/good || touch /tmp/done\n```\n"), 0o644))
	d := newDesk(t, dir)
	_, _, err := d.Start("odd")
	must(t, err)
	solved := func() int {
		p, err := d.Notebook.Read("odd")
		must(t, err)
		return len(p.Solved)
	}
	if _, _, err := d.Solve(""); err == nil || !strings.Contains(err.Error(), "the solution ends with status 1") || solved() != 0 {
		t.Error(err, solved())
	}
	do(t, d, lab.Answer{Script: "touch /tmp/ready"}, true)
	_, _, err = d.Solve("")
	must(t, err)
	if r, err := d.Check("", ""); err != nil || r.Failed == nil || solved() != 0 {
		t.Error(r, err, solved())
	}
	do(t, d, lab.Answer{Script: "touch /tmp/good"}, true)
	_, _, err = d.Solve("")
	must(t, err)
	if r, err := d.Check("", ""); err != nil || r.Failed != nil || solved() != 1 {
		t.Error(r, err, solved())
	}
}
