package cli

import urfave "github.com/urfave/cli/v2"

// commands is the whole command line, as a tree. It is built at each start, which costs a few microseconds, because the
// flags of a verb are made only when it is chosen.
func commands() *verb {
	top := group("mydocker", "Containers and their networks, without a daemon",
		attachVerb(), commitVerb(), completionVerb(), cpVerb(), createVerb(), diffVerb(), eventsVerb(), execVerb(), exportVerb(),
		gcVerb(), historyVerb(), imagesVerb(), importVerb(), infoVerb(), inspectVerb(), killVerb(), loadVerb(),
		loginVerb(), logoutVerb(), logsVerb(), pauseVerb(), portVerb(), psVerb(), pullVerb(), pushVerb(), renameVerb(), restartVerb(), rmVerb(), rmiVerb(), runVerb(), saveVerb(), startVerb(),
		statsVerb(), stopVerb(), tagVerb(), topVerb(), unpauseVerb(), updateVerb(), versionVerb(), waitVerb(),
		doctorVerb(), explainVerb(), stepVerb(), topologyVerb(), traceVerb(), whyVerb(),
		containerGroup(), imageGroup(), labGroup(), networkGroup(), sandboxGroup(), systemGroup(), volumeGroup(),
		ociVerb(), completeVerb(), docsVerb(),
	)
	top.about = `Examples:
  $ mydocker image bootstrap
  $ mydocker network create br0
  $ mydocker run -d --name web -net br0 -p 8080:80 busybox httpd -f
  $ mydocker exec -it web sh
  $ mydocker rm -f web`
	top.passthrough = true // the command's own options are not ours to read
	return top.adopt()
}

func containerGroup() *verb {
	return group("container", "Manage containers",
		attachVerb(), commitVerb(), cpVerb(), createVerb(), diffVerb(), execVerb(), exportVerb(),
		inspectKind("container", "Display detailed information on one or more containers", "CONTAINER [CONTAINER...]", `Examples:
  $ mydocker container inspect -f '{{.State.Status}}' web`),
		killVerb(), logsVerb(), containerPruneVerb(), psVerb().as("ls", "list", "ps"), pauseVerb(), portVerb(), renameVerb(), restartVerb(),
		rmVerb().as("rm", "remove"), runVerb(), startVerb(), statsVerb(), stopVerb(), topVerb(), unpauseVerb(), updateVerb(), waitVerb(),
	)
}

func systemGroup() *verb {
	return group("system", "Manage mydocker", bootVerb(), dfVerb(), eventsVerb(), gcVerb(), infoVerb(), installUnitVerb(), systemPruneVerb(), shutdownVerb())
}

// ociVerb is in the tree for --help; main recognises `mydocker oci` before it builds any of this.
func ociVerb() *verb {
	return &verb{
		name: "oci", summary: "Be an OCI runtime, with the command line of runc", usage: "[OPTIONS] COMMAND", bare: true, max: -1,
		about: `A link to mydocker that is called mydocker-runtime does the same; engines such as containerd, Docker and Podman can use it.

Examples:
  $ mydocker oci spec
  $ mydocker oci run --bundle . box`,
		run: func(s *session, c *urfave.Context) error {
			if code := OCIMain(append([]string{"mydocker", "oci"}, c.Args().Slice()...), s.version); code != 0 {
				return exitStatus(code)
			}
			return nil
		},
	}
}
