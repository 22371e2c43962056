package cli

import (
	"strings"
	"testing"

	"github.com/mydocker/mydocker/lang"
)

// sentences are all that --help of a command and of those below it says.
func sentences(v *verb, list map[string]string) {
	add := func(where, text string) {
		if text = strings.TrimSpace(text); text != "" {
			list[text] = v.path() + where
		}
	}
	add("", v.summary)
	for _, paragraph := range strings.Split(strings.TrimSpace(v.about), "\n\n") {
		if !strings.HasPrefix(paragraph, examples) {
			add("", paragraph)
		}
	}
	flags := v.flagList()
	if v.parent == nil {
		flags = globalFlags()
	}
	for _, f := range flags {
		add(" --"+names(f)[0], f.(interface{ GetUsage() string }).GetUsage())
	}
	for _, c := range v.children {
		if !c.hidden {
			sentences(c, list)
		}
	}
}

// The catalogue has what the commands say, and nothing else; what is in it has a translation (package lang).
func TestHelpIsTranslated(t *testing.T) {
	list, english := map[string]string{}, map[string]bool{}
	sentences(commands(), list)
	en, err := lang.Open(lang.English)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range en.Keys("help") {
		if strings.HasPrefix(key, "help.head.") {
			continue
		}
		text := en.Text(key)
		english[text] = true
		if list[text] == "" {
			t.Errorf("no command says %s: %q", key, text)
		}
	}
	for text, where := range list {
		if !english[text] {
			t.Errorf("%s: lang/catalogue/help.en.txt and help.zh.txt do not have %q", where, text)
		}
	}
}

// Where the language stands on the command line does not matter; commands, flags and examples are the same in each.
func TestHelpInChinese(t *testing.T) {
	for _, line := range []string{"--lang zh doctor --help", "doctor --help --lang zh", "doctor --lang=zh -h", "--lang zh help doctor"} {
		out, errs, code := called(t, strings.Fields(line)...)
		for _, want := range []string{"用法：  mydocker doctor [OPTIONS]", "指出这台主机的网络哪里有毛病\n", "没有毛病时退出状态是 0", "例子：\n  $ mydocker doctor\n", "选项：\n      --fix           显示修复的命令"} {
			if code != 0 || errs != "" || !strings.Contains(out, want) {
				t.Errorf("mydocker %s: status %d, %q, no %q in\n%s", line, code, errs, want, out)
			}
		}
	}
	var visit func(v *verb)
	visit = func(v *verb) {
		for _, c := range v.children {
			visit(c)
		}
		if v.hidden {
			return
		}
		out, _, code := called(t, append([]string{"--lang", "zh", "help"}, strings.Fields(v.words())...)...)
		for l := range strings.Lines(out) {
			l = strings.TrimSpace(l)
			words := strings.Fields(strings.TrimLeft(l, "-"))
			if code != 0 || strings.Contains(l, "⟪") || len(words) > 5 && !strings.HasPrefix(l, "$") && !strings.HasPrefix(l, "mydocker ") && !strings.ContainsFunc(l, func(r rune) bool { return r > 0x3000 }) && !strings.HasPrefix(l, "用法") {
				t.Errorf("%s: status %d: %s", v.path(), code, l)
			}
		}
	}
	visit(commands())
	refused(t, 125, `invalid language "fr"`, "--help", "--lang", "fr")
}
