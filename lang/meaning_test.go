package lang

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMeaning(t *testing.T) {
	zh, err := Open(Chinese)
	if err != nil {
		t.Fatal(err)
	}
	for english, want := range map[string][]string{
		"attach w to network bridge: publish 0.0.0.0:8080->80/tcp: port is already allocated to container web: stop that container, or choose another host port": {"已经发布给容器 web"},
		"--network container:nobody: no such container: nobody (mydocker ps -a lists them)":                                                                      {"没有容器 nobody：`mydocker ps -a` 列出所有容器，停着的也在内"},
		"network nonet not found: see `mydocker network ls`, or make it with `mydocker network create nonet`":                                                    {"`mydocker network create nonet` 建它"},
		"image busybox is used by container web: remove it first (mydocker rm web), or take only the image's names with --force":                                 {"镜像 busybox 被容器 web 用着"},
		"no such container: a (mydocker ps -a lists them)\nno such container: b (mydocker ps -a lists them)\nno such container: b (mydocker ps -a lists them)":   {"没有容器 a：", "没有容器 b："},
		"open /x: permission denied": {"没有权限"},
		"a sentence of nobody":       nil,
	} {
		got := zh.Meaning(errors.New(english))
		if len(got) != len(want) {
			t.Errorf("%s: %q", english, got)
			continue
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) || strings.ContainsAny(got[i], "⟪{") {
				t.Errorf("%s: %q, want %q", english, got, want)
			}
		}
	}
	wrapped := fmt.Errorf("up: %w", Errorf(fs.ErrNotExist, "sandbox.error-none", "name", "x"))
	if got := zh.Meaning(wrapped); len(got) != 1 || !strings.HasPrefix(got[0], "没有沙箱 x") {
		t.Errorf("%q", got)
	}
	en, err := Open(English)
	if err != nil {
		t.Fatal(err)
	}
	if got := en.Meaning(wrapped); got != nil {
		t.Errorf("in English: %q", got)
	}
}

// gap is what stands for a value, in a text of ours and in a format of the code.
const gap = "\x00"

// bare takes the quotes off values: one place writes %q, the other "{name}".
func bare(text string) string {
	return regexp.MustCompile(`["']`+gap+`["']`).ReplaceAllString(text, gap)
}

// The English sentences are those of the code, or of the kernel: one that is changed there and not here would never be found again.
func TestSentencesAreOfTheCode(t *testing.T) {
	verbs := regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)
	var code []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if _, sum := n.(*ast.BinaryExpr); ok && !sum {
				_, ok = n.(*ast.BasicLit)
			}
			if ok {
				code = append(code, bare(verbs.ReplaceAllString(strings.Join(literals(e), gap), gap)))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	labs, err := filepath.Glob("../lab/course/*.en.md") // their scripts say something, too
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range labs {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, string(data))
	}
	for rest, text := range texts(t, "error", English) {
		if name, ok := strings.CutPrefix(rest, "errno-"); ok {
			number := syscall.Errno(1)
			for number < 200 && !strings.EqualFold(unix.ErrnoName(number), name) {
				number++
			}
			if number.Error() != text {
				t.Errorf("%s is not what the kernel's error is called: %q", rest, text)
			}
			continue
		}
		parts := pieces(text)
		for i := 1; i < len(parts); i += 2 {
			parts[i] = gap
		}
		want := bare(strings.Join(parts, ""))
		if !slices.ContainsFunc(code, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nothing in the code says what error.%s says: %q", rest, text)
		}
	}
}
