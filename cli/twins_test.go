package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A document in two languages says the same in both: as many headings and rows of tables, the same blocks of code, and every command,
// option and word that is typed as it stands. What a reader has to put in the place of (COMMAND, NAME) may be called otherwise.
func TestTwinDocuments(t *testing.T) {
	files, err := filepath.Glob("../docs/*.zh-CN.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no document has a Chinese twin")
	}
	for _, file := range append(files, "../README.zh-CN.md") {
		chinese, english := pieces(t, file), pieces(t, strings.Replace(file, ".zh-CN", "", 1))
		if !slices.Equal(chinese.shape, english.shape) {
			t.Errorf("%s: headings and rows are not those of the English document:\n%v\n%v", file, chinese.shape, english.shape)
		}
		if len(chinese.code) != len(english.code) {
			t.Errorf("%s has %d blocks of code, the English document %d", file, len(chinese.code), len(english.code))
		}
		for _, c := range english.code {
			if !slices.Contains(chinese.code, c) {
				t.Errorf("%s lacks this block:\n%s", file, c)
			}
		}
		for _, word := range english.typed {
			if !slices.Contains(chinese.typed, word) {
				t.Errorf("%s does not name %s", file, word)
			}
		}
	}
}

type docPieces struct{ shape, code, typed []string }

// pieces are those of a document that a translation keeps. In code, comments are translated, and so are drawings.
func pieces(t *testing.T, file string) (p docPieces) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^````+\\w*\n.*?^````+$|^```\\w*\n.*?^```$")
	for _, c := range block.FindAllString(string(text), -1) {
		c = regexp.MustCompile(`(?m)\s*# .*$`).ReplaceAllString(c, "")
		if strings.HasPrefix(c, "```text") {
			c = "```text"
		}
		p.code = append(p.code, c)
	}
	prose := block.ReplaceAllString(string(text), "")
	for line := range strings.Lines(prose) {
		if level, _, ok := strings.Cut(line, " "); ok && strings.Trim(level, "#") == "" && level != "" {
			p.shape = append(p.shape, level)
		} else if strings.HasPrefix(line, "|") {
			p.shape = append(p.shape, "|")
		}
	}
	placeholder := regexp.MustCompile(`\b[A-Z]{2,}\b`)
	for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(prose, -1) {
		if !placeholder.MatchString(span) && !strings.Contains(span, ".en.") {
			p.typed = append(p.typed, span)
		}
	}
	return p
}
