package sandbox

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enterPlace replaces this process by a command in lan or internet: nsenter --net=/run/sandbox/netns/PLACE PROGRAM ARGS. It is
// started by the keeper in mount and uts namespaces of its own, so that /sys shows the place's links, as with `ip netns exec`.
// args are the program's file and its arguments.
func enterPlace(place string, args []string) int {
	runtime.LockOSThread()
	err := func() error {
		if len(args) < 2 {
			return fmt.Errorf("no command for %s", place)
		}
		ns, err := os.Open(netnsDir + "/" + place)
		if err != nil {
			return err
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			return err
		}
		if err := do("sysfs", "/sys", "sysfs", quiet, ""); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte(place)); err != nil {
			return err
		}
		return unix.Exec(args[0], args[1:], os.Environ())
	}()
	fmt.Fprintf(os.Stderr, "mydocker: run a command on %s: %v\n", place, err)
	return 126
}
