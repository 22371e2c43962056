// Package arch holds the rules of the architecture that a compiler does not check: which package may import which, and
// which file may call into the kernel for what. See docs/architecture.md.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mydocker/mydocker"

// imports says what of ours each package may import. What is not listed may import nothing of ours.
var imports = map[string][]string{
	"":          {"cli", "container", "engine"},                                                                                                                                                                         // main: the command line, or one of the program's other roles
	"cli":       {"world", "doctor", "trace", "lab", "sandbox", "engine", "image", "network", "container", "cgroups", "state", "plan", "lang", "explain", "topology", "why", "step", "cli/remote", "cli/remote/worker"}, // flags and tables; the oci command is the container package's own
	"engine":    {"image", "network", "container", "state", "plan"},                                                                                                                                                     // the story: brings together all that know nothing of each other
	"image":     {"state", "plan", "userns"},                                                                                                                                                                            // knows no container
	"network":   {"state", "plan"},                                                                                                                                                                                      // meets container only in engine, through the OCI spec
	"container": {"cgroups", "container/inherited", "container/seccomp", "state", "plan", "userns"},                                                                                                                     // an OCI runtime that could stand alone
	"cgroups":   {"plan", "userns"},                                                                                                                                                                                     // limits are files
	"state":     {},                                                                                                                                                                                                     // a leaf
	"step":      {"lang", "plan"},                                                                                                                                                                                       // asks before each operation
	"why":       {"lang", "world"},                                                                                                                                                                                      // who made what
	"topology":  {"lang", "world"},                                                                                                                                                                                      // drawings of a world
	"explain":   {"cgroups", "container", "lang", "state", "world"},                                                                                                                                                     // topics, with values of this machine
	"lang":      {},                                                                                                                                                                                                     // a leaf: texts for learners
	"lab":       {"lang", "sandbox", "state", "world"},                                                                                                                                                                  // lessons, judged
	"sandbox":   {"container/seccomp", "lang", "state"},                                                                                                                                                                 // a throw-away world; knows no container
	"world":     {"network", "state"},                                                                                                                                                                                   // what the kernel has, read-only
	"doctor":    {"world", "network", "state", "plan", "lang"},                                                                                                                                                          // faults, named
	"trace":     {"world", "network", "state", "plan", "lang"},                                                                                                                                                          // a packet, followed
	"userns":    {},
	"plan":      {}, // a leaf

	"container/inherited":   {},                    // what Go's own start-up changes, read before it does
	"container/seccomp":     {},                    // a profile, compiled to a filter
	"container/seccomp/gen": {"container/seccomp"}, // writes its tables
	"image/registry":        {"image", "state"},    // HTTP, kept out of all other commands' start-up
	"cli/remote":            {"image", "state"},
	"cli/remote/worker":     {"cli/remote", "image", "image/registry"},
	"cli/remote/helper":     {"cli/remote", "cli/remote/worker", "image"},
}

// libraries says which packages alone may import a module: its types must not spread.
var libraries = map[string][]string{
	"github.com/urfave/cli":                  {"cli"},
	"github.com/vishvananda/netlink":         {"network", "sandbox", "world", "trace", "container"},
	"github.com/vishvananda/netns":           {"network", "world", "trace", "container"},
	"github.com/coreos/go-iptables":          {"network"},
	"github.com/google/nftables":             {"network", "world", "trace"},
	"github.com/sirupsen/logrus":             {"cli", "engine", ""}, // below, errors are returned and nothing is printed
	"github.com/google/go-containerregistry": {"image/registry", "cli/remote/worker"},
	"net/http":                               {"image/registry", "cli/remote/worker"}, // half a millisecond at every start
}

// kernel says which files alone may make a system call. One file owns each kind of kernel resource; that is where to
// look for how it is made and unmade.
var kernel = []struct {
	calls string // functions of package unix or syscall
	files []string
	why   string
}{
	{`Mount|Unmount|PivotRoot|MoveMount|OpenTree|MountSetattr|Fsopen|Fsconfig.*|Fsmount|Fspick`,
		[]string{"container/rootfs.go", "container/masks.go", "container/terminal.go", "container/hostmounts.go", "container/idmap.go", "image/snapshot.go", "image/attach.go", "image/fallback.go", "network/sandbox.go", "sandbox/mounts.go", "sandbox/mounts_kernel.go", "sandbox/place.go"},
		"a root file system, its console, an overlay, a pinned namespace, the file systems of a sandbox"},
	{`Setns`, []string{"network/sandbox.go", "container/process.go", "container/direct.go", "sandbox/links.go", "sandbox/place.go"}, "threads do not change namespaces anywhere else"},
	{`Unshare`, []string{"network/sandbox.go", "network/parent.go", "network/shape.go", "container/process.go", "container/direct.go", "container/init.go", "container/timens.go", "image/snapshot.go", "image/attach.go", "sandbox/links.go", "sandbox/keeper.go"}, "new namespaces"},
	{`Flock`, []string{"state/lock.go", "network/ipam.go"}, "locks, and the bitmap that is its own lock file"},
	{`PidfdSendSignal|Kill`, []string{"container/signal.go", "container/lifecycle.go", "container/process.go", "container/execstart.go", "container/execprocess.go", "container/joinuser.go", "container/reaper.go", "cgroups/file.go", "sandbox/children.go", "sandbox/launch.go"},
		"a pid is not an identity: a signal goes through a pidfd that was compared, to a child that was not waited for, or to the members of a cgroup"},
}

// file is one parsed Go file of the product (no tests).
type file struct {
	path, pkg string
	syntax    *ast.File
}

func product(t *testing.T) (files []file, set *token.FileSet) {
	t.Helper()
	set = token.NewFileSet()
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || p == "test" || d.Name() == "testdata" || p == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(set, filepath.Join("../..", p), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := path.Dir(p)
		if pkg == "." {
			pkg = ""
		}
		files = append(files, file{p, pkg, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files found: is this test in the right place?", len(files))
	}
	return files, set
}

func TestImportsGoOneWay(t *testing.T) {
	files, _ := product(t)
	for _, f := range files {
		if _, known := imports[f.pkg]; !known {
			t.Errorf("%s: package %q is not in the table of imports", f.path, f.pkg)
		}
		for _, spec := range f.syntax.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if ours, ok := strings.CutPrefix(name, module+"/"); ok && !slices.Contains(imports[f.pkg], ours) {
				t.Errorf("%s imports %s: package %q may import %v", f.path, ours, f.pkg, imports[f.pkg])
			}
			for library, owners := range libraries {
				if (name == library || strings.HasPrefix(name, library+"/")) && !slices.Contains(owners, f.pkg) {
					t.Errorf("%s imports %s: that is for %q alone", f.path, name, owners)
				}
			}
			if name == "C" {
				t.Errorf("%s imports %q", f.path, name)
			}
		}
	}
}

// One owner for each kind of kernel resource.
func TestKernelResourcesHaveOneOwner(t *testing.T) {
	files, set := product(t)
	seen := map[string]bool{}
	for _, rule := range kernel {
		calls := regexp.MustCompile("^(" + rule.calls + ")$")
		for _, f := range files {
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				selector, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				pkg, ok := selector.X.(*ast.Ident)
				if !ok || pkg.Name != "unix" && pkg.Name != "syscall" || !calls.MatchString(selector.Sel.Name) {
					return true
				}
				seen[rule.calls] = true
				if !slices.Contains(rule.files, f.path) {
					t.Errorf("%s: %s.%s is for %v alone (%s)", strings.TrimPrefix(set.Position(n.Pos()).String(), "../../"), pkg.Name, selector.Sel.Name, rule.files, rule.why)
				}
				return true
			})
		}
		if !seen[rule.calls] {
			t.Errorf("nobody calls %s: the rule is out of date", rule.calls)
		}
	}
}

// exits is where os.Exit may stand: programs of their own, and the first process of a container.
var exits = []string{"main.go", "cli/remote/helper/main.go", "container/init.go", "container/seccomp/gen/main.go"}

// No init functions, so that "go to definition" always arrives and start-up costs nothing; only main exits.
func TestNoHiddenStartUp(t *testing.T) {
	files, set := product(t)
	for _, f := range files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init", set.Position(fn.Pos()))
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok || selector.Sel.Name != "Exit" {
				return true
			}
			if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "os" && !slices.Contains(exits, f.path) {
				t.Errorf("%s: os.Exit outside of main", set.Position(n.Pos()))
			}
			return true
		})
	}
}
