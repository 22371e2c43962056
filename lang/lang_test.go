package lang

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// texts reads one file of the catalogue.
func texts(t *testing.T, subject, language string) map[string]string {
	t.Helper()
	data, err := files.ReadFile("catalogue/" + subject + "." + language + ".txt")
	if err != nil {
		t.Errorf("subject %s has no texts in %s: %v", subject, language, err)
		return nil
	}
	messages, err := parse(string(data))
	if err != nil {
		t.Errorf("%s.%s.txt: %v", subject, language, err)
	}
	return messages
}

func subjects(t *testing.T) (list []string) {
	t.Helper()
	entries, err := files.ReadDir("catalogue")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		parts := strings.Split(e.Name(), ".")
		if len(parts) != 3 || parts[2] != "txt" || !slices.Contains(Languages(), parts[1]) {
			t.Errorf("%s is not named SUBJECT.LANGUAGE.txt", e.Name())
			continue
		}
		list = append(list, parts[0])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// No message lacks a translation, no translation a placeholder, and what calls itself Chinese is.
func TestBothLanguagesSayTheSame(t *testing.T) {
	for _, subject := range subjects(t) {
		en, zh := texts(t, subject, English), texts(t, subject, Chinese)
		for _, key := range slices.Sorted(maps.Keys(en)) {
			translated, ok := zh[key]
			if !ok {
				t.Errorf("%s.%s is not in Chinese", subject, key)
				continue
			}
			if a, b := placeholders(en[key]), placeholders(translated); !slices.Equal(a, b) {
				t.Errorf("%s.%s: placeholders %v in English, %v in Chinese", subject, key, a, b)
			}
			if hasChinese(en[key]) {
				t.Errorf("%s.%s: Chinese characters in the English text", subject, key)
			}
			if hasProse(en[key]) && !hasChinese(translated) {
				t.Errorf("%s.%s: not a Chinese character in the Chinese text: %s", subject, key, translated)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(zh)) {
			if _, ok := en[key]; !ok {
				t.Errorf("%s.%s is not in English", subject, key)
			}
		}
	}
}

func hasChinese(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff })
}

// hasProse says whether a text is more than placeholders, a command or a name: several words of which one is an English helper.
func hasProse(text string) bool {
	for _, word := range strings.Fields(strings.ToLower(strings.Join(evenPieces(text), " "))) {
		switch strings.Trim(word, ".,:;") {
		case "the", "a", "is", "are", "of", "not", "no", "and", "this", "that", "it", "by", "with", "has":
			return true
		}
	}
	return false
}

func evenPieces(text string) (list []string) {
	for i, p := range pieces(text) {
		if i%2 == 0 {
			list = append(list, p)
		}
	}
	return list
}

func TestParse(t *testing.T) {
	got, err := parse("a comment\n[a.b-c]\nfirst\n\n  second [x] {y}\n\n\n[d_1]\nonly\n")
	want := map[string]string{"a.b-c": "first\n\n  second [x] {y}", "d_1": "only"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %q", err, got)
	}
	for _, bad := range []string{"[a]\nx\n[a]\ny\n", "[a]\n[b]\nx\n", "[a]\n\n"} {
		if got, err := parse(bad); err == nil {
			t.Errorf("%q: %q and no error", bad, got)
		}
	}
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		text, want, err string
		pairs           []any
	}{
		{"{a} and {a}: {b-c}", "1 and 1: x", "", []any{"a", 1, "b-c", "x"}},
		{"json {{\"a\": 1} {A} {} {", "json {\"a\": 1} {A} {} {", "", nil},
		{"{a}", "{b}", "", []any{"a", "{b}"}},
		{"{a}", "", "no value for {a}", nil},
		{"x", "", "no placeholder {a}", []any{"a", 1}},
		{"{a}", "", "a placeholder without a value: a", []any{"a"}},
	} {
		got, err := fill(c.text, c.pairs)
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%q with %v: %q, %v", c.text, c.pairs, got, err)
		}
	}
}

func TestOpenAndDetect(t *testing.T) {
	for name, want := range map[string]string{"en": "en", "zh": "zh", "zh_CN.UTF-8": "zh", "zh-Hant": "zh", "EN": "en"} {
		if c, err := Open(name); err != nil || c.Language() != want {
			t.Errorf("Open(%q): %v, %v", name, c, err)
		}
	}
	if _, err := Open("fr"); err == nil || err.Error() != `invalid language "fr": en or zh` {
		t.Errorf("Open(fr): %v", err)
	}
	for _, c := range []struct {
		want string
		env  map[string]string
	}{
		{"en", nil},
		{"zh", map[string]string{"LANG": "zh_CN.UTF-8"}},
		{"en", map[string]string{"LANG": "fr_FR.UTF-8"}},
		{"en", map[string]string{"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}},
		{"zh", map[string]string{"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW", "LC_ALL": ""}},
	} {
		if got := Detect(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
	t.Setenv("LC_ALL", "zh_CN.UTF-8")
	if c, err := Open(""); err != nil || c.Language() != Chinese {
		t.Errorf("Open of the environment: %v, %v", c, err)
	}
}

func TestLookup(t *testing.T) {
	c, err := Open(English)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "lang", "lang.", "nobody.knows", "lang.no-such", "../lang.go"} {
		if _, err := c.Lookup(key); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", key, err)
		}
		if c.Has(key) {
			t.Errorf("has %q", key)
		}
	}
	if got := c.Text("lang.no-such"); got != "⟪text lang.no-such in en: file does not exist⟫" {
		t.Errorf("a text that does not exist: %q", got)
	}
	if got := c.Keys("lang"); len(got) == 0 || !strings.HasPrefix(got[0], "lang.") {
		t.Errorf("keys: %q", got)
	}
}

func TestWidthAndWrap(t *testing.T) {
	for text, want := range map[string]int{"": 0, "veth": 4, "网桥 br0": 8, "┌─┐": 3, "é": 1, "e\u0301": 1, "，": 2} {
		if got := Width(text); got != want {
			t.Errorf("Width(%q) = %d, want %d", text, got, want)
		}
	}
	if got := Pad("网桥", 6) + "|" + Clip("网桥网桥", 5) + "|" + Clip("abc", 3); got != "网桥  |网桥…|abc" {
		t.Errorf("Pad and Clip: %q", got)
	}
	for _, c := range []struct {
		text, want string
		columns    int
	}{
		{"one two three", "one two\nthree", 8},
		{"  one two three\nshort", "  one\n  two\n  three\nshort", 8},
		{"网桥就是内核里的交换机。", "网桥就\n是内核\n里的交\n换机。", 6}, // no line begins with a full stop
		{"容器 eth0 的另一端（宿主机侧）", "容器 eth0\n的另一端\n（宿主机\n侧）", 9},
		{"averyveryverylongword x", "averyveryverylongword\nx", 8},
	} {
		if got := Wrap(c.text, c.columns); got != c.want {
			t.Errorf("Wrap(%q, %d):\n%s\nwant\n%s", c.text, c.columns, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[a]\n{b} {{ \n[c.d]\nx")
	f.Fuzz(func(t *testing.T, data string) {
		messages, err := parse(data)
		if err != nil {
			return
		}
		for _, text := range messages {
			var pairs []any
			for _, name := range placeholders(text) {
				pairs = append(pairs, name, "v")
			}
			if _, err := fill(text, pairs); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if strings.ReplaceAll(Wrap(text, 10), "\n", "") == "" && strings.TrimSpace(text) != "" {
				t.Fatalf("%q is wrapped to nothing", text)
			}
		}
	})
}
