package lang

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// use is one place in the product where a text is asked for.
type use struct {
	where string
	// parts are the literal pieces of the key; between two of them stands something that is only known at run time.
	parts []string
	// names are the placeholders that are given; nil where they cannot be seen in the code.
	names []string
}

func (u use) fits(key string) bool {
	if len(u.parts) == 1 {
		return key == u.parts[0]
	}
	last := len(u.parts) - 1
	rest, ok := strings.CutPrefix(key, u.parts[0])
	if !ok || !strings.HasSuffix(rest, u.parts[last]) || len(rest) <= len(u.parts[last]) {
		return false
	}
	for _, p := range u.parts[1:last] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return true
}

// literals are the parts of a key: of "a."+b+".c" it is "a." and ".c".
func literals(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return []string{s}
		}
	case *ast.ParenExpr:
		return literals(e.X)
	case *ast.BinaryExpr:
		left, right := literals(e.X), literals(e.Y)
		n := len(left) - 1
		return append(append(slices.Clone(left[:n]), left[n]+right[0]), right[1:]...)
	}
	return []string{"", ""} // anything
}

// usesIn are the calls of Text, Lookup and Has with a key of ours, and all string literals, in the product's Go files.
func usesIn(t *testing.T, known []string) (uses []use, strs map[string]bool) {
	t.Helper()
	strs = make(map[string]bool)
	set := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					strs[s] = true
				}
			case *ast.CallExpr:
				if u, ok := callOf(n, known); ok {
					u.where = strings.TrimPrefix(set.Position(n.Pos()).String(), "../")
					uses = append(uses, u)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uses, strs
}

func callOf(call *ast.CallExpr, known []string) (use, bool) {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
	case *ast.Ident:
		name = f.Name
	}
	args := call.Args
	if name == "Errorf" && len(args) > 1 { // lang.Errorf(cause, key, placeholders...)
		args = args[1:]
	} else if name != "Text" && name != "Lookup" && name != "Has" && name != "text" || len(args) == 0 {
		return use{}, false
	}
	u := use{parts: literals(args[0])}
	subject, _, ok := strings.Cut(u.parts[0], ".")
	if !ok || !slices.Contains(known, subject) {
		return use{}, false
	}
	if name != "Has" && !call.Ellipsis.IsValid() {
		u.names = []string{}
		for i := 1; i < len(args); i += 2 {
			given := literals(args[i])
			if len(given) != 1 {
				u.names = nil
				break
			}
			u.names = append(u.names, given[0])
		}
		slices.Sort(u.names)
	}
	return u, true
}

// Every key in the code has a text and gets the placeholders that the text has; every text has a use.
func TestKeysInTheCode(t *testing.T) {
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Fatal(err)
	}
	known := subjects(t)
	all := make(map[string]string)
	for _, subject := range known {
		for rest, text := range texts(t, subject, English) {
			all[subject+"."+rest] = text
		}
	}
	uses, strs := usesIn(t, known)
	if len(uses) == 0 {
		t.Fatal("no use of any text found: is this test in the right place?")
	}
	used := make(map[string]bool)
	for _, u := range uses {
		found := false
		for key, text := range all {
			if !u.fits(key) {
				continue
			}
			used[key], found = true, true
			if u.names != nil && len(u.parts) == 1 && !slices.Equal(u.names, placeholders(text)) {
				t.Errorf("%s: %s has the placeholders %v and is given %v", u.where, key, placeholders(text), u.names)
			}
		}
		if !found {
			t.Errorf("%s: there is no text %s", u.where, strings.Join(u.parts, "…"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !used[key] && !strs[key] && !foundByText(key) {
			t.Errorf("nobody uses the text %s", key)
		}
	}
}

// foundByText: the sentences of these subjects are found by their English text. TestSentencesAreOfTheCode and TestReasons compare them with the
// code, and TestHelpIsTranslated in cli.
func foundByText(key string) bool {
	subject, _, _ := strings.Cut(key, ".")
	return subject == "error" || subject == "help" || subject == "reason"
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		parts []string
		key   string
		want  bool
	}{
		{[]string{"a.b"}, "a.b", true},
		{[]string{"a.b"}, "a.bc", false},
		{[]string{"a.", ".c"}, "a.b.c", true},
		{[]string{"a.", ".c"}, "a.c", false},
		{[]string{"a.", ".c"}, "b.b.c", false},
		{[]string{"a.", ".m.", ""}, "a.b.m.c", true},
		{[]string{"a.", ".m.", ""}, "a.b.n.c", false},
	} {
		if got := (use{parts: c.parts}).fits(c.key); got != c.want {
			t.Errorf("%q fits %q: %v", c.parts, c.key, got)
		}
	}
	e, err := parser.ParseExpr(`"a."+("b."+x)+".c"+f(1)`)
	if got := literals(e); err != nil || !slices.Equal(got, []string{"a.b.", ".c", ""}) {
		t.Errorf("literals: %q, %v", got, err)
	}
}
