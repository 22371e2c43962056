// Command mydocker runs containers, as Docker does, without a daemon.
//
// The process plays one of several parts. The first process of a container and the monitor beside it are this same program,
// started again; they are recognised here, before anything of the command line is built, because a container's start waits
// for them.
package main

import (
	"os"

	"github.com/mydocker/mydocker/cli"
	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
)

// version is stamped in by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	if container.Main(os.Args) {
		return
	}
	if code, mine := engine.Main(os.Args, cli.Watcher); mine {
		os.Exit(code)
	}
	if cli.IsOCI(os.Args) {
		os.Exit(cli.OCIMain(os.Args, version))
	}
	os.Exit(cli.Main(os.Args, version))
}
