package explain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/state"
)

// names are the functions, methods and types of a Go file.
func declared(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return nil
	}
	names := map[string]bool{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names[d.Name.Name] = true
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					names[s.Name.Name] = true
				}
			}
		}
	}
	return names
}

// Where a learner is sent to read on, there is something to read.
func TestPlacesExist(t *testing.T) {
	for _, topic := range Topics() {
		if len(topic.Read) == 0 {
			t.Errorf("%s leads nowhere", topic.Name)
		}
		for _, p := range topic.Read {
			names := declared(t, p.File)
			for _, name := range p.Names {
				if !names[name] {
					t.Errorf("%s: there is no %s in %s", topic.Name, name, p.File)
				}
			}
		}
	}
}

func TestTopicsAreWhole(t *testing.T) {
	words, used := map[string]string{}, map[string]bool{}
	values := liveValues()
	for _, topic := range Topics() {
		for _, w := range append([]string{topic.Name}, topic.Aliases...) {
			if other, twice := words[w]; twice {
				t.Errorf("%q means %s and %s", w, other, topic.Name)
			}
			words[w] = topic.Name
			if found, ok := Find(strings.ToUpper(w)); !ok || found.Name != topic.Name {
				t.Errorf("Find(%q): %v", w, found.Name)
			}
		}
		for _, name := range topic.Live {
			if used[name] = true; values[name] == nil {
				t.Errorf("%s shows %s, which nobody reads", topic.Name, name)
			}
		}
		for _, see := range topic.See {
			if found, ok := Find(see); !ok || found.Name != see || see == topic.Name {
				t.Errorf("%s: see also %s", topic.Name, see)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !used[name] {
			t.Errorf("no topic shows %s", name)
		}
	}
	if len(Topics()) < 20 {
		t.Errorf("only %d topics", len(Topics()))
	}
	if _, ok := Find("no-such-topic"); ok {
		t.Error("found what is not there")
	}
}

// One screen: 80 columns, and no more lines than a terminal window has.
func TestScreensFit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test looks at namespaces: run it as root")
	}
	dir := t.TempDir()
	m := &Machine{Root: state.Root{Lib: filepath.Join(dir, "lib"), Run: filepath.Join(dir, "run"), NetNS: filepath.Join(dir, "netns")}}
	for _, language := range lang.Languages() {
		texts, err := lang.Open(language)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range Topics() {
			screen := Screen(topic, texts, m)
			if strings.Contains(screen, "⟪") || strings.Contains(screen, "{") {
				t.Errorf("%s in %s:\n%s", topic.Name, language, screen)
			}
			lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
			if len(lines) > 40 {
				t.Errorf("%s in %s has %d lines", topic.Name, language, len(lines))
			}
			for _, line := range lines {
				if lang.Width(line) > columns {
					t.Errorf("%s in %s: %d columns: %s", topic.Name, language, lang.Width(line), line)
				}
			}
		}
		index := Index(texts)
		for _, topic := range Topics() {
			if !strings.Contains(index, "\n  "+lang.Pad(topic.Name, 14)) {
				t.Errorf("%s is not in the index", topic.Name)
			}
		}
	}
	if _, err := os.Stat(m.Root.Run); err == nil {
		t.Error("looking has made a directory")
	}
}

func TestMasks(t *testing.T) {
	if got, err := capabilityNames("0000000000003001"); err != nil || got != "0000000000003001 = 3: chown net_admin net_raw" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := signalNames("0000000000004002"); err != nil || got != "INT TERM" {
		t.Errorf("%q, %v", got, err)
	}
	for _, read := range []func(string) (string, error){capabilityNames, signalNames} {
		if got, err := read("x"); err == nil {
			t.Errorf("%q", got)
		}
	}
}
