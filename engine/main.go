package engine

import (
	"os"

	"github.com/mydocker/mydocker/plan"
)

// Main does the work of those of our processes that no user starts. It says whether args were for one of them.
//
//	monitor     stands over one container: waits, logs, serves attach, restarts, releases
//	reap        the slow half of a foreground container's release
//	exec-child  the parent of a command of `exec -d` or `exec -t`
//
// watcher makes the watcher of one whose command is watched: MonitorMain.
func Main(args []string, watcher func(remote *os.File) (plan.Watcher, error)) (code int, mine bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[1] {
	case "monitor", "reap", "exec-child":
		// Started as /proc/self/exe, it would be called "exe" in ps. A name is not worth failing for.
		_ = os.WriteFile("/proc/self/comm", []byte("mydocker"), 0)
	}
	switch args[1] {
	case "monitor":
		return MonitorMain(args[2:], watcher), true
	case "reap":
		return ReapMain(), true
	case "exec-child":
		return ExecChildMain(watcher), true
	}
	return 0, false
}
