package cli

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
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
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:] ]] && compopt -o nospace
	return 0
}
complete -o nosort -F _mydocker mydocker
`,
		// In a directory of fpath the file is the body of the function at its first call; `source` runs it outside of any.
		"zsh": `#compdef mydocker
_mydocker() {
	local line
	local -a candidates open
	for line in "${(@f)$(mydocker __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		case ${line%%$'\t'*} in
		'') ;;
		*[/=:]) open+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
		*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
		esac
	done
	_describe -V mydocker candidates -- open -S ''
}
if [[ ${funcstack[1]} == _mydocker ]]; then
	_mydocker "$@"
else
	compdef _mydocker mydocker
fi
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
	if words[0] == "step" || words[0] == "help" { // a command follows
		if at := slices.IndexFunc(words[1:], func(w string) bool { return !strings.HasPrefix(w, "-") }); at >= 0 {
			return s.candidates(words[1+at:])
		}
	}
	v, flag, arguments := walk(commands(), words[:len(words)-1])
	flags := globalFlags()
	if v.parent != nil {
		flags = v.flagList()
	}
	var all []candidate
	switch name, value, given := strings.Cut(last, "="); {
	case flag != nil:
		all = s.flagValues(v, flag, last)
	case given && strings.HasPrefix(name, "--"):
		if f := (&reader{verb: v, flags: flags}).find(name[2:]); f != nil {
			for _, cand := range s.flagValues(v, f, value) {
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
		all = s.values(v.argumentKind(arguments), last)
	}
	return slices.DeleteFunc(all, func(c candidate) bool { return !strings.HasPrefix(c.word, last) })
}

// argumentKind is the kind of the argument at an index.
func (v *verb) argumentKind(i int) string {
	kinds := strings.Fields(v.complete)
	if len(kinds) == 0 {
		return ""
	}
	return kinds[min(i, len(kinds)-1)]
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
