package image

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/test/host"
)

// TestMain runs the tests in a mount namespace of their own: what they mount is on nobody's machine, and nobody else's copy of a mount
// namespace keeps a file system of theirs alive.
func TestMain(m *testing.M) {
	const inside = "MYDOCKER_TEST_MOUNTS"
	if os.Getenv(inside) != "" || os.Geteuid() != 0 || slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run())
	}
	os.Exit(host.Again(inside+"=1", unix.CLONE_NEWNS))
}
