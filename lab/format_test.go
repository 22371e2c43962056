package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/lab"
	"github.com/mydocker/mydocker/lang"
)

const head = "---\ntitle: T\nabout: A\n---\n"

func TestTeachersDirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)) }
	write("mine.en.md", head+"Intro.\n```setup\ntouch /tmp/prepared\n```\n## One\nDo it.\n```check\nfail: Not done.\ntest -e /tmp/prepared\ntest -e /tmp/done\n```\n```solution\ntouch /tmp/done\n```\n")
	write("needy.en.md", "---\ntitle: T\nabout: A\nneeds: no-such-program brctl\n---\n## One\n```check\nfail: x\ntrue\n```\n```solution\ntrue\n```\n")
	write("broken.en.md", head+"Intro.\n```setup\necho oops >&2; exit 3\n```\n## One\n```check\nfail: x\ntrue\n```\n```solution\ntrue\n```\n")
	write("cable.en.md", head+"Another cable.\n## One\n```check\nfail: x\nfalse\n```\n```solution\ntrue\n```\n")
	write("typo.en.md", head+"## One\nDo it.\n```check\nfail: x\nif true\n```\n```solution\ntrue\n```\n")
	write("alone.zh.md", head+"## 一\n")
	write("Big Name.en.md", head+"## One\n")
	d := newDesk(t, dir)
	zh, err := lang.Open(lang.Chinese)
	must(t, err)
	for name, want := range map[string]string{
		"typo":     "typo.en.md, line 7: this is no script for bash: line 2: syntax error",
		"alone":    "alone.zh.md, line 1: this is a translation without a lab: " + dir + "/alone.en.md, which has the commands, is not there",
		"Big Name": "a lab is called by a-z 0-9 _ . -",
	} {
		if _, _, err := d.Start(name); err == nil || !strings.Contains(err.Error(), want) || zh.Meaning(err) == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	names, err := d.Library.Names()
	must(t, err)
	if got := strings.Join(names, " "); !strings.HasSuffix(got, "Big Name alone broken mine needy typo") || strings.Count(got, "cable") != 1 {
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
	// Who has started it need not name the directory again, neither here nor in the sandbox.
	d.Library.Dirs = nil
	if r, err = d.Check("", ""); err != nil || r.Failed == nil {
		t.Error(r, err)
	}
	if out, code, err := bench(t, d).Run("mydocker lab check", ""); err != nil || code != 1 || !strings.Contains(out, "Not done.") {
		t.Error(out, code, err)
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
	zh, err := lang.Open(lang.Chinese)
	must(t, err)
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
		head + step + "```chekc\n```\n":          `line 6: unknown kind of block "chekc": check, hint, right, setup, sh, solution, wrong`,
		head + step + "```check\nfail: f\ntrue\n":                     "line 6: the block check has no end",
		head + step + "```check\ntrue\n```\n":                         "a check begins with \"fail: \"",
		head + step + "```check\nfail: f\n\n```\n":                    "would always pass",
		head + step + "```check\nfail: f\ntrue\n```\n":                "has checks and no solution",
		head + step + check + "```wrong\nfalse\n```\n":                "a mistake begins with \"says: \"",
		head + step + "```wrong\nsays: x\nfalse\n```\n":               "has mistakes or other ways and no check",
		head + step + check + "```solution\ntrue\n```\n":              "has two solutions",
		head + "```check\nfail: f\ntrue\n```\n" + step + check:        "a block check belongs to a step",
		"---\ntitle: x\nabout: y\nhosts: 9\n---\n" + step + check:     `hosts is "9"`,
		"---\ntitle: x\nabout: y\nimage: mysql\n---\n" + step + check: `image is "mysql"`,
		"---\ntitle: x\nabout: y\nneeds: a;b\n---\n" + step + check:   "needs lists the names of programs",
		head + step + check + "\x00":                                  "it is no text",
	} {
		_, err := lab.Parse("x.en.md", "x", []byte(text))
		if err != nil && zh.Meaning(err) == nil {
			t.Errorf("not in Chinese: %v", err)
		}
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
		if _, err := l.Translate("x.zh.md", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || zh.Meaning(err) == nil {
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
