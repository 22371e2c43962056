package inherited_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/mydocker/mydocker/container/inherited"
)

// The test is in a package of its own: what it imports must not become an import of package inherited.

// TestBeforeGo starts this program with a low soft limit, and asks it.
func TestBeforeGo(t *testing.T) {
	if os.Getenv("ASK_LIMIT") != "" {
		fmt.Println(inherited.OpenFiles())
		os.Exit(0)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123; ulimit -Hn 500; exec "$0" -test.run TestBeforeGo`, self)
	cmd.Env = append(os.Environ(), "ASK_LIMIT=1")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "123 500\n" {
		t.Fatalf("%v: %s", err, out)
	}
}
