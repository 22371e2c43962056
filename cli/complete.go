package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/explain"
)

func completionVerb() *verb {
	return &verb{
		name: "completion", summary: "Generate the autocompletion script for the specified shell", usage: "bash|zsh|fish", min: 1, max: 1,
		complete: "shell",
		about: `Commands, flags, and the names of containers, images, networks and volumes are completed.

Examples:
  $ source <(mydocker completion bash)
  $ mydocker completion bash > /usr/share/bash-completion/completions/mydocker
  $ mydocker completion zsh > "${fpath[1]}/_mydocker"
  $ mydocker completion fish > ~/.config/fish/completions/mydocker.fish`,
		run: func(s *session, c *urfave.Context) error {
			script, ok := completionScripts()[c.Args().First()]
			if !ok {
				return s.bad(fmt.Errorf("unknown shell %q: bash, zsh or fish is expected", c.Args().First()))
			}
			_, err := s.streams.Out.WriteString(script)
			return err
		},
	}
}

// completionScripts are thin: they ask `mydocker __complete` what could stand in the place of the last word, and get lines
// of a word, a tab and a description.
func completionScripts() map[string]string {
	return map[string]string{
		"bash": `# bash completion for mydocker
_mydocker() {
	local line="${COMP_LINE:0:COMP_POINT}" cur="${COMP_WORDS[COMP_CWORD]}" candidate
	local -a words
	read -ra words <<< "$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	# readline breaks words at : and = as well; what stands before the break must not be given back to it.
	local word="${words[${#words[@]}-1]}"
	[[ $cur == : || $cur == = ]] && cur=
	local before="${word%"$cur"}"
	COMPREPLY=()
	while IFS=$'\t' read -r candidate _; do
		COMPREPLY+=("${candidate#"$before"}")
	done < <(mydocker __complete "${words[@]:1}" 2>/dev/null)
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]] && compopt -o nospace
	return 0
}
complete -o nosort -F _mydocker mydocker
`,
		"zsh": `#compdef mydocker
_mydocker() {
	local line
	local -a candidates
	for line in "${(@f)$(mydocker __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		[[ -z $line ]] && continue
		candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	_describe -V mydocker candidates
}
compdef _mydocker mydocker
`,
		"fish": `# fish completion for mydocker
complete -c mydocker -f -k -a '(set -l words (commandline -opc); mydocker __complete $words[2..-1] (commandline -ct) 2>/dev/null)'
`,
	}
}

func completeVerb() *verb {
	return &verb{
		name: "__complete", summary: "What could stand in the place of the last word", usage: "WORD...", max: -1, bare: true, hidden: true,
		run: func(s *session, c *urfave.Context) error {
			w := bufio.NewWriter(s.streams.Out)
			for _, cand := range s.candidates(c.Args().Slice()) {
				fmt.Fprintf(w, "%s\t%s\n", cand.word, cand.about)
			}
			return w.Flush()
		},
	}
}

type candidate struct{ word, about string }

// candidates are the words that could stand where the last of words stands.
func (s *session) candidates(words []string) []candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	v, flag, arguments := walk(commands(), words[:len(words)-1])
	flags := globalFlags()
	if v.parent != nil {
		flags = v.flagList()
	}
	var all []candidate
	switch name, value, given := strings.Cut(last, "="); {
	case flag != nil:
		all = s.values(valueKind(flag), last)
	case given && strings.HasPrefix(name, "--"):
		if f := (&reader{verb: v, flags: flags}).find(name[2:]); f != nil {
			for _, cand := range s.values(valueKind(f), value) {
				all = append(all, candidate{name + "=" + cand.word, cand.about})
			}
		}
	case v.passthrough && v.children == nil && arguments > 0 && v.name != "exec", v.passthrough && arguments > 1:
		all = s.values("file", last) // the command in the container: its words are not ours, but files are often meant
	case strings.HasPrefix(last, "-"):
		all = flagCandidates(flags)
	case v.children != nil:
		for _, c := range v.children {
			if !c.hidden {
				all = append(all, candidate{c.name, c.summary})
			}
		}
	case v.max < 0 || arguments < v.max:
		all = s.values(v.complete, last)
	}
	return slices.DeleteFunc(all, func(c candidate) bool { return !strings.HasPrefix(c.word, last) })
}

// walk goes along the words before the last: to which verb they lead, which flag waits for its value, and how many arguments
// there have been.
func walk(v *verb, words []string) (_ *verb, waiting urfave.Flag, arguments int) {
	flags := globalFlags()
	for _, w := range words {
		switch {
		case waiting != nil:
			waiting = nil
		case v.passthrough && v.children == nil && arguments > 0:
			arguments++
		case strings.HasPrefix(w, "-") && len(w) > 1:
			waiting = waits(v, flags, w)
		case v.children != nil:
			child := v.child(w)
			if child == nil {
				return &verb{max: 0, parent: v}, nil, 0 // no such command: nothing can be said
			}
			v, flags = child, child.flagList()
		default:
			arguments++
		}
	}
	return v, waiting, arguments
}

// waits gives the flag whose value the next word is, if w is such a flag.
func waits(v *verb, flags []urfave.Flag, w string) urfave.Flag {
	r := &reader{verb: v, flags: flags}
	if strings.Contains(w, "=") || w == "--" {
		return nil
	}
	name := strings.TrimLeft(w, "-")
	f := r.find(name)
	if f == nil && !strings.HasPrefix(w, "--") { // -it, -dp: the last letter decides
		f = r.find(name[len(name)-1:])
	}
	if f == nil || isSwitch(f) {
		return nil
	}
	return f
}

func flagCandidates(flags []urfave.Flag) []candidate {
	var all []candidate
	for _, f := range flags {
		usage, _, _ := strings.Cut(flagUsage(f), "\n")
		all = append(all, candidate{"--" + names(f)[0], usage})
	}
	return append(all, candidate{"--help", "Print usage"})
}

// valueKind says what the value of a flag is, in the words that values knows.
func valueKind(f urfave.Flag) string {
	switch name := names(f)[0]; name {
	case "network", "volumes-from", "restart", "pull", "signal", "stop-signal", "log-level", "firewall", "from", "ipc", "pid", "driver", "type":
		return name
	case "env-file", "label-file", "volume", "cidfile", "input", "output", "root", "run-root", "busybox", "device", "workdir":
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
	case "volume":
		return s.volumeNames()
	case "file":
		return fileNames(typed)
	}
	fixed := map[string]string{
		"shell": "bash zsh fish", "topic": strings.Join(explain.Words()[:len(explain.Topics())], " "), "restart": "no always on-failure unless-stopped", "pull": "missing always never",
		"signal": "HUP INT KILL QUIT TERM USR1 USR2", "stop-signal": "HUP INT KILL QUIT TERM USR1 USR2",
		"log-level": "debug info warn error fatal", "firewall": "iptables nftables", "from": "busybox debian", "driver": "bridge", "type": "container image network volume",
	}
	var all []candidate
	for _, word := range strings.Fields(fixed[kind]) {
		all = append(all, candidate{word, ""})
	}
	return all
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
