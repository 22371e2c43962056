package doctor

import (
	"os"
	"testing"

	"github.com/mydocker/mydocker/test/host"
)

// The tests run on a host that is made of namespaces: TestMain starts the program once more in namespaces of its own.
func TestMain(m *testing.M) {
	os.Exit(host.RunOnLAN(m))
}

func must(t testing.TB, script string) {
	t.Helper()
	host.Shell(t, script)
}
