package cli

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// docker28 is the commands and flags of Docker's command line, version 28, one command a line:
//
//	network rm: force,f=bool
//
// The line of "-" holds the global flags. It is read when a user is refused something, and when the compatibility table
// is written: never on the way of a command that works.
//
//go:embed docker28.txt
var docker28 string

// dockerFlag is one flag of a Docker command.
type dockerFlag struct {
	names []string // the long one first
	kind  string
}

// dockerCommand finds a command of Docker's by its words ("network create"; "" for the global flags).
func dockerCommand(words string) (flags []dockerFlag, found bool) {
	if words == "" {
		words = "-"
	}
	for line := range strings.Lines(docker28) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != words {
			continue
		}
		for _, field := range strings.Fields(rest) {
			names, kind, _ := strings.Cut(field, "=")
			flags = append(flags, dockerFlag{strings.Split(names, ","), kind})
		}
		return flags, true
	}
	return nil, false
}

// refusal says why a flag that Docker has is not to be had here; "" when Docker has no such flag either, or spells it
// the same and we do not know it for another reason.
func refusal(v *verb, name string) string {
	flags, _ := dockerCommand(v.words())
	for _, f := range flags {
		for _, n := range f.names {
			if n == name {
				return fmt.Sprintf("--%s is not supported: %s", f.names[0], flagReason(v.words(), f.names[0]))
			}
		}
	}
	if v.parent != nil {
		for _, f := range globalFlags() {
			for _, n := range names(f) {
				if n == name && len(n) > 1 {
					return fmt.Sprintf("--%s is a global option and stands before the command: mydocker --%s %s …", n, n, v.words())
				}
			}
		}
	}
	return ""
}

// onlyValue is the one value with which a flag of Docker's is taken that is otherwise refused: scripts give it to say what goes without
// saying here. "" when the command has no such flag.
func onlyValue(v *verb, name string) string {
	values := map[string]string{"disable-content-trust": "true", "volume-driver": "local", "ipam-driver": "default", "isolation": "default"}
	flags, _ := dockerCommand(v.words())
	if slices.ContainsFunc(flags, func(f dockerFlag) bool { return f.names[0] == name }) {
		return values[name]
	}
	return ""
}

// flagReason is the second half of the sentence that refuses a flag of Docker's.
func flagReason(command, flag string) string {
	for _, words := range []string{command, sameAs(command)} {
		if reason, ok := flagReasons()[words+" --"+flag]; ok {
			return reason
		}
	}
	if reason, ok := flagReasons()["--"+flag]; ok {
		return reason
	}
	return "mydocker does not implement it"
}

// flagReasons are the reasons, by flag, or by command and flag where one flag has two meanings.
func flagReasons() map[string]string {
	const (
		noDaemon    = "there is no daemon to talk to; mydocker works on this machine, as root"
		windows     = "it is for Windows containers"
		swarmOnly   = "it is for Swarm, and mydocker works on one machine"
		trust       = "only true, Docker's own default, is taken, as content trust (Notary) is not implemented; name the image by its digest instead: IMAGE@sha256:…"
		swarmVolume = "it is for Swarm's cluster volumes, and mydocker works on one machine"
	)
	return map[string]string{
		"--host": noDaemon, "--context": noDaemon, "--tls": noDaemon, "--tlscacert": noDaemon, "--tlscert": noDaemon,
		"--tlskey": noDaemon, "--tlsverify": noDaemon, "--use-api-socket": noDaemon,
		"--cpu-count":             windows,
		"--cpu-percent":           windows,
		"--isolation":             "only default is taken; the others are for Windows containers",
		"--io-maxbandwidth":       windows,
		"--io-maxiops":            windows,
		"--disable-content-trust": trust,
		"--gpus":                  "GPUs need the vendor's hook; give the devices with --device instead",
		"--kernel-memory":         "the kernel dropped that limit in Linux 5.16; use --memory",
		"--runtime":               "mydocker is its own runtime",
		"--storage-opt":           "overlay keeps no quota for a container; put --root on a file system with project quotas",
		"--volume-driver":         "only local is taken; volumes are local directories; mount other storage on the host and bind it with -v",
		"--link":                  "links are lines in /etc/hosts, which go with the container; use `network disconnect` for networks",
		"--ipam-driver":           "only default is taken; addresses are given by mydocker itself",
		"--availability":          swarmVolume,
		"--group":                 swarmVolume,
		"--limit-bytes":           swarmVolume,
		"--required-bytes":        swarmVolume,
		"--secret":                swarmVolume,
		"--sharing":               swarmVolume,
		"--topology-preferred":    swarmVolume,
		"--topology-required":     swarmVolume,
		"volume create --type":    swarmVolume,
		"--ipam-opt":              "addresses are given by mydocker itself",
		"--tree":                  "use `history`, or --format",
		"--checkpoint":            "checkpoints need CRIU, which mydocker does not use",
		"--checkpoint-dir":        "checkpoints need CRIU, which mydocker does not use",
		"--config-from":           swarmOnly,
		"--config-only":           swarmOnly,
		"--ingress":               swarmOnly,
		"--scope":                 swarmOnly,
		"--cluster":               swarmOnly,
	}
}

// refusedCommand says why a command that Docker has is not to be had here; "" when Docker has none of that name.
func refusedCommand(words string) string {
	if _, ok := dockerCommand(words); !ok && words != "compose" && words != "buildx" && words != "scout" {
		return ""
	}
	return fmt.Sprintf("'%s' is a command of Docker's that mydocker does not have: %s", words, commandReason(words))
}

func commandReason(words string) string {
	first, _, _ := strings.Cut(words, " ")
	switch first {
	case "swarm", "node", "service", "stack", "config", "secret":
		return "it is for Swarm, and mydocker works on one machine"
	case "build", "builder", "buildx", "bake":
		return "build images with buildah, and `mydocker load` them"
	case "compose":
		return "it is a program of its own, which talks to Docker's daemon; write the `mydocker network create` and `run` lines into a script"
	case "scout":
		return commandReason("plugin")
	case "context":
		return "there is no daemon that a context could point to"
	case "plugin":
		return "there are no plugins"
	case "trust":
		return "content trust (Notary) is not implemented; name images by their digest"
	case "manifest":
		return "use skopeo or `buildah manifest`"
	case "search":
		return "it asks Docker Hub's own service; use its web site"
	case "checkpoint":
		return "checkpoints need CRIU, which mydocker does not use"
	}
	switch words {
	case "image build":
		return commandReason("build")
	case "system dial-stdio":
		return "there is no daemon to dial"
	case "volume update":
		return commandReason("swarm")
	}
	return "it is not implemented"
}
