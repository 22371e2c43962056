package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/explain"
	"github.com/mydocker/mydocker/lab"
)

// valueKind says what the value of a flag is, in the words that values knows.
func valueKind(f urfave.Flag) string {
	switch name := names(f)[0]; name {
	case "network", "volumes-from", "restart", "pull", "signal", "stop-signal", "log-level", "log-driver", "firewall", "from", "ipc", "pid", "driver", "type",
		"cgroupns", "lang", "cap-add", "cap-drop", "mount", "security-opt", "log-opt":
		return name
	case "uts", "userns":
		return "hostonly"
	case "link":
		return "container"
	case "volume":
		return "bind"
	case "config", "env-file", "label-file", "cidfile", "input", "output", "root", "run-root", "busybox", "device", "workdir":
		return "file"
	}
	if kind := flagKind(f); kind == "file" || kind == "dir" {
		return "file"
	}
	return ""
}

// values are the candidates of a kind. What cannot be read, for want of permission say, gives none.
func (s *session) values(kind, typed string) []candidate {
	switch kind {
	case "container", "volumes-from":
		return s.containerNames("")
	case "pid", "ipc":
		return append([]candidate{{"host", "the host's"}}, s.containerNames("container:")...)
	case "image":
		return s.imageNames()
	case "network":
		return s.networkNames()
	case "object": // inspect takes any
		return slices.Concat(s.containerNames(""), s.imageNames(), s.networkNames(), s.volumeNames())
	case "volume":
		return s.volumeNames()
	case "file":
		return fileNames(typed)
	case "bind": // the source of -v, which is a volume or a path
		return append(s.volumeNames(), fileNames(typed)...)
	case "place": // an end of cp
		return append(s.containerPlaces(), fileNames(typed)...)
	case "lab":
		return labNames()
	case "sandbox":
		return s.sandboxNames()
	}
	capabilities := "ALL " + strings.Join(container.CapabilityNames(), " ")
	fixed := map[string]string{
		"cap-add": capabilities, "cap-drop": capabilities,
		"shell": "bash zsh fish", "topic": strings.Join(explain.Words()[:len(explain.Topics())], " "), "restart": "no always on-failure unless-stopped", "pull": "missing always never",
		"signal": "HUP INT KILL QUIT TERM USR1 USR2", "stop-signal": "HUP INT KILL QUIT TERM USR1 USR2",
		"cgroupns": "host private", "hostonly": "host", "lang": "en zh", "log-driver": "json-file journald none",
		"host": "host host2 lan internet", "log-level": "debug info warn error fatal", "firewall": "iptables nftables", "from": "busybox debian", "driver": "bridge ipvlan macvlan",
		"mount": "type=bind type=tmpfs type=volume", "security-opt": "apparmor= label= no-new-privileges seccomp= systempaths=unconfined",
		"log-opt": "max-size= max-file= labels= labels-regex= env= env-regex= tag=", "type": "container image network volume",
	}
	return words(fixed[kind])
}

func (s *session) containerNames(prefix string) (all []candidate) {
	e, err := s.engine()
	if err != nil {
		return nil
	}
	list, err := e.Containers(context.Background())
	if err != nil {
		return nil
	}
	for _, sum := range list {
		for _, name := range sum.Names {
			all = append(all, candidate{prefix + name, sum.Image + ", " + sum.Status})
		}
	}
	return all
}

// containerPlaces are the beginnings of CONTAINER:PATH.
func (s *session) containerPlaces() []candidate {
	all := s.containerNames("")
	for i := range all {
		all[i].word += ":"
	}
	return all
}

func labNames() (all []candidate) {
	library := lab.Library{Language: "en"}
	names, err := library.Names()
	if err != nil {
		return nil
	}
	for _, name := range names {
		if l, err := library.Load(name); err == nil {
			all = append(all, candidate{name, l.Title})
		}
	}
	return all
}

func (s *session) sandboxNames() (all []candidate) {
	store, err := s.sandboxes()
	if err != nil {
		return nil
	}
	list, err := store.List()
	if err != nil {
		return nil
	}
	for _, sb := range list {
		all = append(all, candidate{sb.Name, ""})
	}
	return all
}

func (s *session) imageNames() (all []candidate) {
	store, err := s.images()
	if err != nil {
		return nil
	}
	list, err := store.List()
	if err != nil {
		return nil
	}
	for _, img := range list {
		for _, name := range img.RepoTags {
			all = append(all, candidate{name, shortID(string(img.ID))})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].word < all[j].word })
	return all
}

func (s *session) networkNames() (all []candidate) {
	e, err := s.engine()
	if err != nil {
		return nil
	}
	list, err := e.Networks().Networks()
	if err != nil {
		return nil
	}
	for _, n := range list {
		all = append(all, candidate{n.Name, n.Driver})
	}
	return all
}

func (s *session) volumeNames() (all []candidate) {
	e, err := s.engine()
	if err != nil {
		return nil
	}
	list, err := e.Volumes()
	if err != nil {
		return nil
	}
	for _, v := range list {
		all = append(all, candidate{v.Name, v.Mountpoint})
	}
	return all
}

// fileNames are the files whose path begins with what was typed; a directory ends in a slash.
func fileNames(typed string) (all []candidate) {
	dir, base := filepath.Split(typed)
	entries, err := os.ReadDir(filepath.Join(".", dir))
	if filepath.IsAbs(typed) {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, base) || strings.HasPrefix(name, ".") && !strings.HasPrefix(base, ".") {
			continue
		}
		if entry.IsDir() {
			name += "/"
		}
		all = append(all, candidate{dir + name, ""})
	}
	return all
}
