package lang

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What operations are for is written in the code: as the field Reason, what is assigned to it, what a method Why returns, and the last
// argument of those who write into cgroup files.
func reasonsIn(f *ast.File, add func(ast.Expr)) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if k, ok := n.Key.(*ast.Ident); ok && strings.EqualFold(k.Name, "reason") {
				add(n.Value)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if name := lastName(left); (name == "reason" || name == "Reason") && len(n.Rhs) == len(n.Lhs) {
					add(n.Rhs[i])
				}
			}
		case *ast.CallExpr:
			writes := []string{"add", "number", "write", "each", "freezer", "limit", "containerHook"}
			if len(n.Args) > 1 && slices.Contains(writes, lastName(n.Fun)) {
				if l, ok := n.Args[len(n.Args)-1].(*ast.BasicLit); ok && strings.Contains(l.Value, " ") && l.Value[1] != '-' { // a rule of a firewall
					add(l)
				}
			}
		case *ast.FuncDecl:
			if n.Name.Name == "Why" || strings.HasSuffix(n.Name.Name, "Reason") {
				ast.Inspect(n, func(m ast.Node) bool {
					if r, ok := m.(*ast.ReturnStmt); ok {
						for _, e := range r.Results {
							add(e)
						}
					}
					return true
				})
			}
		}
		return true
	})
}

func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// The catalogue has every reason that an operation can have, and no other.
func TestReasons(t *testing.T) {
	inCode := map[string]string{}
	for _, dir := range []string{"cgroups", "container", "engine", "image", "network"} {
		files, err := filepath.Glob("../" + dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			reasonsIn(f, func(e ast.Expr) {
				if text := strings.Join(literals(e), gap); strings.Trim(text, gap) != "" {
					inCode[text] = strings.TrimPrefix(set.Position(e.Pos()).String(), "../")
				}
			})
		}
	}
	known := map[string]bool{}
	for key, text := range texts(t, "reason", English) {
		parts := pieces(text)
		for i := 1; i < len(parts); i += 2 {
			parts[i] = gap
		}
		text = strings.Join(parts, "")
		known[text] = true
		if inCode[text] == "" {
			t.Errorf("no operation says reason.%s: %q", key, text)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(inCode)) {
		if !known[text] {
			t.Errorf("%s: catalogue/reason.en.txt and reason.zh.txt do not have %q", inCode[text], text)
		}
	}
}

func TestTranslated(t *testing.T) {
	zh, err := Open(Chinese)
	if err != nil {
		t.Fatal(err)
	}
	for sentence, want := range map[string]string{
		"the container's address":                                         "容器的地址",
		"a limit of the rate: what the container sends passes here":       "限制速率：容器发出的都经过这里",
		"one more network card on the wire of eth0":                       "eth0 那条线上又多一块网卡",
		"what nobody has said before, and the container's address":        "what nobody has said before, and the container's address",
		"questions to 127.0.0.11 go to the monitor's sockets; port 53 ok": "questions to 127.0.0.11 go to the monitor's sockets; port 53 ok",
		"": "",
	} {
		if got := zh.Translated("reason", sentence); got != want {
			t.Errorf("%q: %q, want %q", sentence, got, want)
		}
	}
	en, err := Open(English)
	if err != nil {
		t.Fatal(err)
	}
	if got := en.Translated("reason", "the container's address"); got != "the container's address" {
		t.Errorf("in English: %q", got)
	}
	if got := zh.Translated("no-such-subject", "x"); got != "x" {
		t.Errorf("%q", got)
	}
}
