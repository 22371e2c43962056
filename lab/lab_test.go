package lab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mydocker/mydocker/cli"
	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/lab"
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
	return word
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

// A user who is not root does a lab from its beginning to its end, by the command line.
func TestWithoutRoot(t *testing.T) {
	dir, err := os.MkdirTemp("/run", "user")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chown(dir, 1000, 1000))
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	program := filepath.Join(dir, "bin", "mydocker")
	must(t, os.Mkdir(filepath.Dir(program), 0o755))
	must(t, os.WriteFile(program, data, 0o755))
	user := func(args ...string) string {
		cmd := exec.Command(program, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + dir, "XDG_STATE_HOME=" + dir + "/state"}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	// By hand; with containers, and with the runtime alone.
	for _, name := range []string{"cable", "docker-network", "runtime"} {
		if out := user("lab", "start", name); !strings.Contains(out, "WARNING: there is one user id only") || !strings.Contains(out, "WARNING: limits do not work") {
			t.Error(out)
		}
		if out := user("lab", "solve", "--all"); !strings.Contains(out, "checks that failed on the way: 0") {
			t.Error(out)
		}
		user("lab", "reset")
	}
	if out := user("sandbox", "status"); strings.Contains(out, "lab-") {
		t.Error(out)
	}
	inUserSandbox(t, user)
}

// inUserSandbox is what containers can and cannot do in a sandbox that a user has made.
func inUserSandbox(t *testing.T, user func(args ...string) string) {
	user("sandbox", "up", "mine")
	defer user("sandbox", "down", "mine")
	for _, c := range []struct{ script, want string }{
		{"mydocker image bootstrap", "Loaded image"},
		{"mydocker run -d --name c1 -p 8080:80 busybox httpd -f -h /etc", ""},
		{"mydocker run -d -p 8080:80 busybox true", "port is already allocated"},
		{"mydocker exec c1 id", "uid=0(root)"},
		{"mydocker exec -u 3 c1 id", "user 3:3 does not exist here: this is a user namespace with few ids"},
		{"mydocker run --rm -u 7 busybox true", "user 7:0 does not exist here"},
		{"mydocker run --rm -m 64m busybox true", "limits do not work here; leave the limit out"},
		{"mydocker run --rm --pids-limit 9 busybox true", "limits do not work here; leave the limit out"},
		{"mydocker pause c1", "freezer: cgroup controller is not available"},
		{"mydocker top c1", "httpd -f"},
		{"mydocker commit c1 copy", "goes on while it is committed"},
		{"mydocker run --rm copy sh -c 'rm -r /bin/[m-z]*; ls /bin'", "busybox"},
		{"mydocker run --rm busybox ls -l /dev/null", "1,   3"},
		{"mydocker run --rm busybox mknod /x c 1 3", "Operation not permitted"},
		{"script -qc 'mydocker run --rm -it busybox tty' /dev/null", "/dev/pts/0"},
		{"mydocker run --rm --network host busybox hostname", "host"},
		{"mydocker doctor", "No fault found"},
	} {
		if out := user("sandbox", "exec", "-n", "mine", "host", "bash", "-c", "exec 2>&1; "+c.script+" || :"); !strings.Contains(out, c.want) {
			t.Errorf("%s: %s, want %s", c.script, out, c.want)
		}
	}
	if out := user("sandbox", "exec", "-n", "mine", "lan", "curl", "-s", "http://10.99.0.1:8080/hostname"); strings.TrimSpace(out) == "" {
		t.Error("the port that is published does not answer")
	}
}

const head = "---\ntitle: T\nabout: A\n---\n"

func TestTeachersDirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)) }
	write("mine.en.md", head+"Intro.\n```setup\ntouch /tmp/prepared\n```\n## One\nDo it.\n```check\nfail: Not done.\ntest -e /tmp/prepared\ntest -e /tmp/done\n```\n```solution\ntouch /tmp/done\n```\n")
	write("needy.en.md", "---\ntitle: T\nabout: A\nneeds: no-such-program brctl\n---\n## One\n```check\nfail: x\ntrue\n```\n```solution\ntrue\n```\n")
	write("broken.en.md", head+"Intro.\n```setup\necho oops >&2; exit 3\n```\n## One\n```check\nfail: x\ntrue\n```\n```solution\ntrue\n```\n")
	write("cable.en.md", head+"Another cable.\n## One\n```check\nfail: x\nfalse\n```\n```solution\ntrue\n```\n")
	d := newDesk(t, dir)
	names, err := d.Library.Names()
	must(t, err)
	if got := strings.Join(names, " "); !strings.HasSuffix(got, "broken mine needy") || strings.Count(got, "cable") != 1 {
		t.Error(names)
	}
	l, err := d.Library.Load("cable")
	if err != nil || l.Title != "T" {
		t.Errorf("a teacher's lab does not come before the course's: %+v %v", l, err)
	}
	if _, _, err := d.Start("needy"); err == nil || !strings.Contains(err.Error(), "not installed: no-such-program (") {
		t.Error(err)
	}
	if _, _, err := d.Start("broken"); err == nil || !strings.Contains(err.Error(), "status 3: oops") {
		t.Error(err)
	}
	if all, err := d.Store.List(); err != nil || len(all) != 0 {
		t.Error("a failed start leaves a sandbox", all, err)
	}
	_, _, err = d.Start("mine")
	must(t, err)
	r, err := d.Check("", "")
	if err != nil || r.Failed == nil || r.Failed.Fail != "Not done." {
		t.Error(r, err)
	}
	do(t, d, l.Steps[0].Solution, true)
	do(t, d, lab.Answer{Script: "touch /tmp/done"}, true)
	if r, err = d.Check("", ""); err != nil || r.Failed != nil {
		t.Error(r, err)
	}
	if _, err := (lab.Library{Dirs: []string{"/nowhere"}}).Names(); err == nil || !strings.Contains(err.Error(), "/nowhere: there is no such directory") {
		t.Error(err)
	}
}

func TestBadFiles(t *testing.T) {
	step := "## S\n"
	check := "```check\nfail: f\ntrue\n```\n```solution\ntrue\n```\n"
	for text, want := range map[string]string{
		"":                                       "line 1: a lab begins with a line ---",
		"---\ntitle: x\n":                        "the second line --- is missing",
		"---\nnonsense\n---\n":                   `line 2: "nonsense" is not "key: value"`,
		"---\ntitle: a\ntitle: b\n---\n":         "line 3: title is there twice",
		"---\ncolour: red\n---\n" + step + check: `unknown key "colour"`,
		"---\ntitle: x\n---\n" + step + check:    "title and about are needed",
		head:                                     "there is no step",
		head + step:                              "no step has a check",
		head + step + "```chekc\n```\n":          `line 6: unknown kind of block "chekc": check, hint, setup, sh, solution, wrong`,
		head + step + "```check\nfail: f\ntrue\n":                     "line 6: the block check has no end",
		head + step + "```check\ntrue\n```\n":                         "a check begins with \"fail: \"",
		head + step + "```check\nfail: f\n\n```\n":                    "would always pass",
		head + step + "```check\nfail: f\ntrue\n```\n":                "has checks and no solution",
		head + step + check + "```wrong\nfalse\n```\n":                "a mistake begins with \"says: \"",
		head + step + "```wrong\nsays: x\nfalse\n```\n":               "has mistakes and no check",
		head + step + check + "```solution\ntrue\n```\n":              "has two solutions",
		head + "```check\nfail: f\ntrue\n```\n" + step + check:        "a block check belongs to a step",
		"---\ntitle: x\nabout: y\nhosts: 9\n---\n" + step + check:     `hosts is "9"`,
		"---\ntitle: x\nabout: y\nimage: mysql\n---\n" + step + check: `image is "mysql"`,
		"---\ntitle: x\nabout: y\nneeds: a;b\n---\n" + step + check:   "needs lists the names of programs",
		head + step + check + "\x00":                                  "it is no text",
	} {
		_, err := lab.Parse("x.en.md", "x", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "lab file x.en.md, line ") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	l, err := lab.Parse("x.en.md", "x", []byte(head+step+check+step+check))
	must(t, err)
	for text, want := range map[string]string{
		head + step:                     "this translation has 1 steps, the lab has 2",
		head + step + step:              "has 0 hints and 0 sentences of checks; the lab has 0 and 1",
		head + step + "```check\n```\n": `unknown kind of block "check": fail, hint`,
		"---\nneeds: ip\n---\n":         `unknown key "needs" in a translation`,
	} {
		if _, err := l.Translate("x.zh.md", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range courseNames(f) {
		data, err := os.ReadFile("course/" + name + ".en.md")
		must(f, err)
		f.Add(string(data))
	}
	f.Add(head + "## S\n```check\nfail: f\ntrue\n```\n```solution\nanswer: a\n```\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := lab.Parse("x.en.md", "x", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "lab file x.en.md, line ") {
				t.Errorf("this error does not say where: %v", err)
			}
			return
		}
		if len(l.Steps) == 0 || l.Title == "" || l.Hosts < 1 {
			t.Errorf("%+v", l)
		}
		if _, err := l.Translate("x.zh.md", []byte(text)); err == nil && len(l.Steps[0].Checks)+len(l.Steps[0].Hints) > 0 && strings.Contains(text, "```check") {
			t.Errorf("a lab is taken for its own translation")
		}
	})
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
	status := strings.Fields(run("sandbox", "status", "killed"))
	out, err := exec.Command("kill", "-9", status[len(status)-1]).CombinedOutput()
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

// What docs/labs.md says to teachers is so: its example is a lab, and its words for checks are those that there are.
func TestTeachersManual(t *testing.T) {
	data, err := os.ReadFile("../docs/labs.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(data), "````markdown\n")
	example, _, ends := strings.Cut(rest, "\n````")
	if !ok || !ends {
		t.Fatal("docs/labs.md has no example of a lab")
	}
	l, err := lab.Parse("docs/labs.md", "example", []byte(example))
	must(t, err)
	if len(l.Steps) != 1 || len(l.Steps[0].Wrong) != 1 || len(l.Steps[0].Hints) != 1 || l.Setup == "" {
		t.Errorf("%+v", l)
	}
	prelude, err := os.ReadFile("prelude.sh")
	must(t, err)
	for line := range strings.Lines(string(prelude)) {
		word, _, is := strings.Cut(line, "()")
		if is && word != "inns" && !strings.Contains(string(data), "`"+word+" ") && !strings.Contains(string(data), "`"+word+"`") {
			t.Errorf("docs/labs.md does not speak of %s", word)
		}
	}
	_, table, _ := strings.Cut(string(data), "| word | is so when |")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		words, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for i, part := range strings.Split(words, "`") {
			if word, _, _ := strings.Cut(part, " "); i%2 == 1 && !strings.Contains(string(prelude), "\n"+word+"()") {
				t.Errorf("prelude.sh has no %s", word)
			}
		}
	}
	zh, err := os.ReadFile("../docs/labs.zh-CN.md")
	must(t, err)
	for _, name := range courseNames(t) {
		if !strings.Contains(string(data), name) || !strings.Contains(string(zh), name) {
			t.Errorf("the manual does not name the lab %s", name)
		}
	}
}
