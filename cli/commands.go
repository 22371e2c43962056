package cli

// commands is the whole command line, as a tree. It is built at each start, which costs a few microseconds, because the
// flags of a verb are made only when it is chosen.
func commands() *verb {
	top := group("mydocker", "Containers and their networks, without a daemon",
		attachVerb(), commitVerb(), completionVerb(), cpVerb(), createVerb(), diffVerb(), eventsVerb(), execVerb(), exportVerb(),
		gcVerb(), historyVerb(), imagesVerb(), importVerb(), infoVerb(), inspectVerb(), killVerb(), loadVerb(),
		loginVerb(), logoutVerb(), logsVerb(), pauseVerb(), portVerb(), psVerb(), pullVerb(), pushVerb(), renameVerb(), restartVerb(), rmVerb(), rmiVerb(), runVerb(), saveVerb(), startVerb(),
		statsVerb(), stopVerb(), tagVerb(), topVerb(), unpauseVerb(), versionVerb(), waitVerb(),
		containerGroup(), imageGroup(), networkGroup(), systemGroup(), volumeGroup(),
		completeVerb(), docsVerb(),
	)
	top.passthrough = true // the command's own options are not ours to read
	return top.adopt()
}

func containerGroup() *verb {
	return group("container", "Manage containers",
		attachVerb(), commitVerb(), cpVerb(), createVerb(), diffVerb(), execVerb(), exportVerb(),
		inspectKind("container", "Display detailed information on one or more containers", "CONTAINER [CONTAINER...]", `Examples:
  $ mydocker container inspect -f '{{.State.Status}}' web`),
		killVerb(), logsVerb(), containerPruneVerb(), psVerb().as("ls", "list", "ps"), pauseVerb(), portVerb(), renameVerb(), restartVerb(),
		rmVerb().as("rm", "remove"), runVerb(), startVerb(), statsVerb(), stopVerb(), topVerb(), unpauseVerb(), waitVerb(),
	)
}

func systemGroup() *verb {
	return group("system", "Manage mydocker", dfVerb(), eventsVerb(), gcVerb(), infoVerb(), systemPruneVerb())
}
